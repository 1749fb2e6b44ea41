// Answers the method `greet` with its payload, and reports the time to the twin.
//
// `behaviour build` generates gen/behaviour_cpp.h from wit/.

#include <string>

#include "behaviour_cpp.h"

namespace methods = exports::device::behaviour::methods;
using namespace device::behaviour;
using types::MethodError;

// `payload` is JSON text. To refuse the call, return a case of MethodError.
std::expected<types::Response, MethodError> methods::Invoke(wit::string name, wit::string payload) {
    if (name.get_view() != "greet") {
        return std::unexpected(MethodError{MethodError::UnknownMethod{}});
    }
    std::tuple<std::string_view, std::string_view> fields[] = {{"with", payload.get_view()}};
    log::Write(log::Level::kInfo, "greeted", fields);

    std::string patch = "{\"lastGreeted\":\"" + clock::NowRfc3339().to_string() + "\"}";
    if (!twin::Report(patch)) {
        auto why = wit::string::from_view("the report was refused");
        return std::unexpected(MethodError{MethodError::Failed{std::move(why)}});
    }

    std::string answer = "{\"hello\":" + payload.to_string() + "}";
    return types::Response{200, wit::string::from_view(answer)};
}
