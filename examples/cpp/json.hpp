// Just enough JSON: to find a value in an object, and to put one in. The text is
// never unpacked, and what is not asked for is passed over, however deep it is.

#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace json {

// Whether the text is one object and nothing else.
bool is_object(std::string_view value);

// The value of a key in an object, the last one if there are several. Keys are
// compared as they are written, without escapes.
std::optional<std::string_view> get(std::string_view object, std::string_view key);

// The number that the text is, if it is one.
std::optional<double> number(std::string_view value);

// The text as a JSON string.
std::string string(std::string_view text);

} // namespace json
