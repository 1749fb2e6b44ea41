// Answers the method `fetch` with the response to a GET request to the URL in its payload.
//
// `behaviour build` generates gen/plugin.h from wit/.

#include <string.h>

#include "plugin.h"

static bool is(plugin_string_t text, const char *other) {
    return text.len == strlen(other) && memcmp(text.ptr, other, text.len) == 0;
}

// `payload` is JSON text. To refuse the call, set `err` and return false.
bool exports_device_behaviour_methods_invoke(plugin_string_t *name, plugin_string_t *payload,
                                             exports_device_behaviour_methods_response_t *ret,
                                             exports_device_behaviour_methods_method_error_t *err) {
    if (!is(*name, "fetch")) {
        err->tag = DEVICE_BEHAVIOUR_TYPES_METHOD_ERROR_UNKNOWN_METHOD;
        return false;
    }
    if (payload->len < 2 || payload->ptr[0] != '"') {
        err->tag = DEVICE_BEHAVIOUR_TYPES_METHOD_ERROR_INVALID_PAYLOAD;
        plugin_string_dup(&err->val.invalid_payload, "expected a URL in quotes");
        return false;
    }

    plugin_tuple2_string_string_t accept;
    plugin_string_set(&accept.f0, "accept");
    plugin_string_set(&accept.f1, "application/json");
    device_behaviour_http_request_t request = {
        .url = {payload->ptr + 1, payload->len - 2},
        .headers = {&accept, 1},
    };
    plugin_string_set(&request.method, "GET");

    device_behaviour_http_response_t response;
    device_behaviour_http_request_error_t error;
    if (!device_behaviour_http_send(&request, &response, &error)) {
        err->tag = DEVICE_BEHAVIOUR_TYPES_METHOD_ERROR_FAILED;
        err->val.failed = error.val.other; // Each case of the error has a message.
        return false;
    }
    // The body must be JSON, since it is the answer's payload.
    ret->status = response.status;
    ret->payload.is_some = true;
    ret->payload.val = (plugin_string_t){response.body.ptr, response.body.len};
    return true;
}
