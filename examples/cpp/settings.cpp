#include "settings.hpp"

#include <algorithm>

#include "behaviour_cpp.h"
#include "json.hpp"

namespace {

Result<std::vector<std::string>> path(std::string_view text) {
    std::vector<std::string> keys(1);
    for (char c : text) {
        if (c == '.') {
            keys.emplace_back();
        } else {
            keys.back() += c;
        }
    }
    auto is_key = [](const std::string &key) {
        auto unfit = [](unsigned char c) { return c <= ' ' || c == 0x7f || c == '$'; };
        return !key.empty() && std::ranges::none_of(key, unfit);
    };
    if (!std::ranges::all_of(keys, is_key)) {
        return std::unexpected(std::string(text) + " is not a list of keys separated by dots");
    }
    return keys;
}

std::string object_with(std::string_view key, std::string_view value) {
    return "{" + json::string(key) + ":" + std::string(value) + "}";
}

} // namespace

Result<Settings> Settings::read() {
    Settings settings;
    for (auto &[key, value] : device::behaviour::config::Entries().get_view()) {
        if (auto set = settings.set(key.get_view(), value.get_view()); !set) {
            return std::unexpected("configuration: " + std::string(key.get_view()) + ": " + set.error());
        }
    }
    if (auto patch = settings.patch("now"); !patch) {
        return std::unexpected("configuration: report: " + patch.error());
    }
    return settings;
}

Result<void> Settings::set(std::string_view key, std::string_view value) {
    if (key == "delay_seconds") {
        return seconds(value).transform([&](double found) { delay_seconds = found; });
    }
    if (key == "property") {
        return path(value).transform([&](auto &&keys) { property = keys; });
    }
    if (key != "report") {
        return std::unexpected("unknown setting; expected delay_seconds, property or report");
    }
    report = value;
    if (!json::is_object(report)) {
        return std::unexpected(report + " is not a JSON object");
    }
    return {};
}

Result<std::string> Settings::patch(std::string_view time) const {
    // Find the innermost object of the report that the path leads to.
    std::string_view object = report;
    auto key = property.begin(), last = property.end() - 1;
    auto there = json::get(object, *key);
    for (; there && key != last && json::is_object(*there); there = json::get(object, *++key)) {
        object = *there;
    }
    if (there) {
        return std::unexpected(*key + " conflicts with property");
    }

    // Insert the remaining keys as the first member of that object.
    auto member = json::string(time);
    for (auto inner = last; inner != key; inner--) {
        member = object_with(*inner, member);
    }
    member = json::string(*key) + ":" + member;
    auto inside = object.find('{') + 1;
    if (object[object.find_first_not_of(" \t\r\n", inside)] != '}') {
        member += ",";
    }
    auto patch = report;
    return patch.insert(object.data() + inside - report.data(), member);
}

Result<double> seconds(std::string_view value) {
    auto found = json::number(value);
    if (found && *found >= 0 && *found <= 300) {
        return *found;
    }
    auto shown = value.size() <= 40 ? std::string(value) : "a value of " + std::to_string(value.size()) + " bytes";
    return std::unexpected(shown + " is not a number from 0 to 300");
}
