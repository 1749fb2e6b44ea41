// The settings in [plugins.NAME.config]: delay_seconds, property (a dotted path) and
// report (an object with additional properties).

#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

// A value, or the reason why it is missing.
template <typename T> using Result = std::expected<T, std::string>;

struct Settings {
    double delay_seconds = 20;
    // The path of the time, from the outermost key. It is never empty.
    std::vector<std::string> property = {"rebootTime"};
    std::string report = "{}";

    // Reads the settings. An error names the invalid setting.
    static Result<Settings> read();

    // Returns a copy of `report` with the time at the path `property`.
    Result<std::string> patch(std::string_view time) const;

  private:
    Result<void> set(std::string_view key, std::string_view value);
};

// Parses a number of seconds from 0 to 300. An error contains the value.
Result<double> seconds(std::string_view value);
