// A minimal JSON library, which finds and inserts values in the text of an object. It
// does not parse other values and accepts any depth.

#pragma once

#include <optional>
#include <string>
#include <string_view>

namespace json {

// Returns true if the text is a single object.
bool is_object(std::string_view value);

// Returns the value of a key in an object, or the last value if the key is repeated. Keys
// are compared without resolving escapes.
std::optional<std::string_view> get(std::string_view object, std::string_view key);

// Parses the text as a number. Returns nothing if it is not a number.
std::optional<double> number(std::string_view value);

// Returns the text as a JSON string.
std::string string(std::string_view text);

} // namespace json
