// Answers the method `fetch` with the response to a GET request to the URL in its payload.
//
// `behaviour build` generates gen/plugin_cpp.h from wit/.

#include <string>

#include "plugin_cpp.h"

namespace methods = exports::device::behaviour::methods;
using namespace device::behaviour;
using types::MethodError;

// `payload` is JSON text. To refuse the call, return a case of MethodError.
std::expected<types::Response, MethodError> methods::Invoke(wit::string name, wit::string payload) {
    if (name.get_view() != "fetch") {
        return std::unexpected(MethodError{MethodError::UnknownMethod{}});
    }
    std::string_view text = payload.get_view();
    if (text.size() < 2 || text.front() != '"') {
        auto reason = wit::string::from_view("expected a URL in quotes");
        return std::unexpected(MethodError{MethodError::InvalidPayload{std::move(reason)}});
    }

    using wit::string;
    auto headers = wit::vector<std::tuple<string, string>>::allocate(1);
    headers.initialize(0, {string::from_view("accept"), string::from_view("application/json")});
    auto url = string::from_view(text.substr(1, text.size() - 2));
    http::Request request{string::from_view("GET"), std::move(url), std::move(headers), {}, {}};
    auto response = http::Send(std::move(request));
    if (!response) {
        auto message = [](auto &cause) { return std::move(cause.value); };
        auto reason = std::visit(message, response.error().variants);
        return std::unexpected(MethodError{MethodError::Failed{std::move(reason)}});
    }
    // The body must be JSON, since it is the answer's payload.
    auto body = response->body.get_view();
    std::string_view json{reinterpret_cast<const char *>(body.data()), body.size()};
    return types::Response{response->status, wit::string::from_view(json)};
}
