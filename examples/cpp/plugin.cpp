// The simulated reboot of the tutorial: waits, reports the time and answers. It behaves
// like guest-reboot, which is written in Rust.
//
// `behaviour build` generates gen/behaviour_cpp.h from wit/.

#include <string>

#include "behaviour_cpp.h"
#include "json.hpp"
#include "settings.hpp"

namespace methods = exports::device::behaviour::methods;
using namespace device::behaviour;
using types::Error;
using types::MethodError;

namespace {

constexpr auto answer = R"({"Response": "This is the response from the device"})";

std::unexpected<MethodError> failed(std::string_view reason) {
    return std::unexpected(MethodError{MethodError::Failed{wit::string::from_view(reason)}});
}

// Returns a description of the host's error, with `what` as a prefix.
std::unexpected<MethodError> failed(std::string what, const Error &error) {
    auto said = [&](auto &&reason) -> std::string {
        if constexpr (requires { reason.value.get_view(); }) {
            return reason.value.to_string();
        } else {
            return "not now";
        }
    };
    return failed(what + ": " + std::visit(said, error.variants));
}

// Returns the delay in the payload, if any. Payloads that are not objects have none.
Result<double> requested_delay(std::string_view payload, double otherwise) {
    auto requested = json::is_object(payload) ? json::get(payload, "delaySeconds") : std::nullopt;
    return requested ? seconds(*requested) : otherwise;
}

void log_info(std::string_view message) {
    log::Write(log::Level::kInfo, message, {});
}

} // namespace

std::expected<types::Response, MethodError> methods::Invoke(wit::string name, wit::string payload) {
    if (name.get_view() != "rebootDevice") {
        return std::unexpected(MethodError{MethodError::UnknownMethod{}});
    }
    auto settings = Settings::read();
    if (!settings) {
        return failed(settings.error());
    }
    auto delay = requested_delay(payload.get_view(), settings->delay_seconds);
    if (!delay) {
        auto reason = wit::string::from_view("delaySeconds: " + delay.error());
        return std::unexpected(MethodError{MethodError::InvalidPayload{std::move(reason)}});
    }

    log_info("Rebooting device");
    if (auto slept = clock::SleepMs(static_cast<uint32_t>(*delay * 1000)); !slept) {
        return failed("reboot", slept.error());
    }
    log_info("Device rebooted");

    auto patch = settings->patch(clock::NowRfc3339().get_view());
    auto reported = twin::ReportAndWait(*patch, 5000);
    if (reported) {
        log_info("Device twins updated with latest rebootTime");
    } else if (std::holds_alternative<Error::Offline>(reported.error().variants) ||
               std::holds_alternative<Error::Timeout>(reported.error().variants)) {
        log_info("Device twins will be updated when the hub answers again");
    } else {
        return failed("reported properties", reported.error());
    }
    return types::Response{200, wit::string::from_view(answer)};
}
