// What the operator may change about the reboot, in [plugins.NAME.config]:
// delay_seconds, property (dots nest) and report (what stands beside the time).

#pragma once

#include <expected>
#include <string>
#include <string_view>
#include <vector>

// A text, or the reason why there is none.
template <typename T> using Result = std::expected<T, std::string>;

struct Settings {
    double delay_seconds = 20;
    // Keys from the outermost to the one that holds the time; never empty.
    std::vector<std::string> property = {"rebootTime"};
    std::string report = "{}";

    // Reads them; an error names the one that is wrong.
    static Result<Settings> read();

    // What to report: `report`, with the time in it where `property` says.
    Result<std::string> patch(std::string_view time) const;

  private:
    Result<void> set(std::string_view key, std::string_view value);
};

// A number of seconds from 0 to 300, or what was found instead.
Result<double> seconds(std::string_view value);
