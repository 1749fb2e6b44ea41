// Answers the method `greet` with its payload, and reports the time to the twin.
//
// `behaviour build` generates gen/behaviour.h from wit/.

#include <stdlib.h>
#include <string.h>

#include "behaviour.h"

static const char hello[] = "{\"hello\":", reported[] = "{\"lastGreeted\":\"";

// Returns a new string: `before`, `text` and `after`. The host frees an answer.
static behaviour_string_t joined(const char *before, behaviour_string_t text, const char *after) {
    size_t head = strlen(before), tail = strlen(after);
    behaviour_string_t whole = {malloc(head + text.len + tail), head + text.len + tail};
    memcpy(whole.ptr, before, head);
    memcpy(whole.ptr + head, text.ptr, text.len);
    memcpy(whole.ptr + head + text.len, after, tail);
    return whole;
}

static bool is(behaviour_string_t text, const char *other) {
    return text.len == strlen(other) && memcmp(text.ptr, other, text.len) == 0;
}

// `payload` is JSON text. To refuse the call, set `err` and return false.
bool exports_device_behaviour_methods_invoke(behaviour_string_t *name, behaviour_string_t *payload,
                                             exports_device_behaviour_methods_response_t *ret,
                                             exports_device_behaviour_methods_method_error_t *err) {
    if (!is(*name, "greet")) {
        err->tag = DEVICE_BEHAVIOUR_TYPES_METHOD_ERROR_UNKNOWN_METHOD;
        return false;
    }

    behaviour_string_t message;
    behaviour_string_set(&message, "greeted");
    behaviour_tuple2_string_string_t with = {.f1 = *payload};
    behaviour_string_set(&with.f0, "with");
    behaviour_list_tuple2_string_string_t fields = {&with, 1};
    device_behaviour_log_write(DEVICE_BEHAVIOUR_LOG_LEVEL_INFO, &message, &fields);

    behaviour_string_t now;
    device_behaviour_clock_now_rfc3339(&now);
    behaviour_string_t patch = joined(reported, now, "\"}");
    device_behaviour_twin_error_t refusal;
    if (!device_behaviour_twin_report(&patch, &refusal)) {
        err->tag = DEVICE_BEHAVIOUR_TYPES_METHOD_ERROR_FAILED;
        behaviour_string_dup(&err->val.failed, "the report was refused");
        return false;
    }

    ret->status = 200;
    ret->payload.is_some = true;
    ret->payload.val = joined(hello, *payload, "}");
    return true;
}
