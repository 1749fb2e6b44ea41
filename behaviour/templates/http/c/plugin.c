// Answers the method `fetch` with the response to a GET request to the URL in its payload.
//
// `behaviour build` generates gen/plugin.h from wit/.

#include <string.h>

#include "http.h"
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

    plugin_string_t url = {payload->ptr + 1, payload->len - 2}, reason;
    http_response_t response;
    if (!http_send(WASI_HTTP_TYPES_METHOD_GET, url, NULL, &response, &reason)) {
        err->tag = DEVICE_BEHAVIOUR_TYPES_METHOD_ERROR_FAILED;
        err->val.failed = reason;
        return false;
    }
    // The body must be JSON, since it is the answer's payload.
    ret->status = response.status;
    ret->payload.is_some = true;
    ret->payload.val = response.body;
    return true;
}
