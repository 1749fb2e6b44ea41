#include "json.hpp"

#include <cstdlib>

namespace json {
namespace {

using std::string_view;
constexpr auto space = " \t\r\n";

string_view trimmed(string_view value) {
    auto first = value.find_first_not_of(space);
    if (first == string_view::npos) {
        return {};
    }
    return value.substr(first, value.find_last_not_of(space) - first + 1);
}

// Returns the end of the string that starts at `at`.
size_t after_string(string_view text, size_t at) {
    for (at++; at < text.size() && text[at] != '"'; at++) {
        at += text[at] == '\\';
    }
    return std::min(at + 1, text.size());
}

// Returns the end of a value, which is followed by a comma, a bracket or the end.
size_t after_value(string_view text, size_t at) {
    for (size_t depth = 0; at < text.size();) {
        auto c = text[at];
        if (c == '"') {
            at = after_string(text, at);
            continue;
        }
        if (depth == 0 && (c == ',' || c == '}' || c == ']')) {
            break;
        }
        depth += c == '{' || c == '[';
        depth -= c == '}' || c == ']';
        at++;
    }
    return at;
}

} // namespace

bool is_object(string_view value) {
    value = trimmed(value);
    return value.starts_with('{') && value.ends_with('}') && after_value(value, 0) == value.size();
}

std::optional<string_view> get(string_view object, string_view key) {
    object = trimmed(object);
    object.remove_suffix(1);
    std::optional<string_view> found;
    for (auto at = object.find('"'); at != string_view::npos; at = object.find('"', at)) {
        auto after = after_string(object, at);
        auto name = object.substr(at + 1, after - at - 2);
        auto value = object.find(':', after) + 1;
        at = after_value(object, value);
        if (name == key) {
            found = trimmed(object.substr(value, at - value));
        }
    }
    return found;
}

std::optional<double> number(string_view value) {
    // strtod also accepts hexadecimal digits, `inf` and a leading `+`, unlike JSON.
    if (value.empty() || value.starts_with('+') ||
        value.find_first_not_of("0123456789+-.eE") != string_view::npos) {
        return {};
    }
    std::string digits(value);
    char *end;
    double found = std::strtod(digits.c_str(), &end);
    return end == digits.c_str() + digits.size() ? std::optional(found) : std::nullopt;
}

std::string string(string_view text) {
    constexpr auto hex = "0123456789abcdef";
    std::string quoted = "\"";
    for (unsigned char c : text) {
        if (c < 0x20) {
            quoted += {'\\', 'u', '0', '0', hex[c >> 4], hex[c & 15]};
            continue;
        }
        if (c == '"' || c == '\\') {
            quoted += '\\';
        }
        quoted += static_cast<char>(c);
    }
    return quoted + '"';
}

} // namespace json
