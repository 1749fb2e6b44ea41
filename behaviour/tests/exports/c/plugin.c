// Uses every interface and has every optional export, as ../cases expects.

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "everything.h"

typedef everything_string_t string_t;
typedef everything_list_u8_t bytes_t;
typedef everything_tuple2_string_string_t pair_t;
typedef device_behaviour_types_error_t error_t;

static string_t text(const char *text) {
    return (string_t){(uint8_t *)text, strlen(text)};
}

static bytes_t bytes(const char *text) {
    return (bytes_t){(uint8_t *)text, strlen(text)};
}

static bool is(const string_t *text, const char *other) {
    return text->len == strlen(other) && memcmp(text->ptr, other, text->len) == 0;
}

// Returns a new string, which the host frees.
static string_t printed(const char *format, ...) {
    char *whole = NULL;
    va_list values;
    va_start(values, format);
    int length = vasprintf(&whole, format, values);
    va_end(values);
    return (string_t){(uint8_t *)whole, (size_t)length};
}

#define STRING(value) (int)(value).len, (const char *)(value).ptr

static void write_log(uint8_t level, string_t message, pair_t *pairs, size_t count) {
    everything_list_tuple2_string_string_t fields = {pairs, count};
    device_behaviour_log_write(level, &message, &fields);
}

// Returns the case and the text of an error of the host.
static string_t described(const error_t *error) {
    switch (error->tag) {
    case DEVICE_BEHAVIOUR_TYPES_ERROR_INVALID:
        return printed("invalid: %.*s", STRING(error->val.invalid));
    case DEVICE_BEHAVIOUR_TYPES_ERROR_QUOTA_EXCEEDED:
        return printed("quota exceeded: %.*s", STRING(error->val.quota_exceeded));
    default:
        return printed("case %d", error->tag);
    }
}

static char lines[2048];

static void line(const char *format, ...) {
    va_list values;
    va_start(values, format);
    size_t end = strlen(lines);
    vsnprintf(lines + end, sizeof lines - end, format, values);
    va_end(values);
    strncat(lines, "\n", sizeof lines - strlen(lines) - 1);
}

static string_t value(const char *key) {
    string_t name = text(key);
    everything_option_list_u8_t found;
    error_t error;
    if (!device_behaviour_state_get(&name, &found, &error)) {
        return text("an error");
    }
    return found.is_some ? (string_t){found.val.ptr, found.val.len} : text("null");
}

static const char *swapped(const char *key, const char *expected, const char *value) {
    string_t name = text(key);
    bytes_t before = bytes(expected ? expected : ""), after = bytes(value ? value : "");
    bool done;
    error_t error;
    if (!device_behaviour_state_swap(&name, expected ? &before : NULL, value ? &after : NULL, &done, &error)) {
        return "an error";
    }
    return done ? "true" : "false";
}

static const char *cancelled(string_t job) {
    bool done;
    error_t error;
    return device_behaviour_jobs_cancel(&job, &done, &error) && done ? "true" : "false";
}

// Writes one line about each answer of the host.
static void host(string_t *payload) {
    error_t error;
    pair_t fields[] = {{text("b"), text("c")}, {text("ü"), text("")}};
    write_log(DEVICE_BEHAVIOUR_LOG_LEVEL_ERROR, text("a"), fields, 2);
    string_t plugin, device, call, now, found, job, name;
    device_behaviour_context_plugin_name(&plugin);
    device_behaviour_context_device_id(&device);
    device_behaviour_context_call_id(&call);
    line("%.*s %.*s %.*s %" PRIu32 " %" PRIu32, STRING(plugin), STRING(device), STRING(call),
         device_behaviour_context_remaining_ms(), device_behaviour_context_attempt());
    device_behaviour_clock_sleep_ms(1500, &error);
    device_behaviour_clock_now_rfc3339(&now);
    line("%.*s %" PRIu64, STRING(now), device_behaviour_clock_now_ms());
    name = text("text");
    bool is_set = device_behaviour_config_get(&name, &found);
    name = text("missing");
    string_t missing;
    bool is_missing_set = device_behaviour_config_get(&name, &missing);
    line("%.*s %s", STRING(is_set ? found : text("null")), is_missing_set ? "set" : "null");
    everything_list_tuple2_string_string_t entries;
    device_behaviour_config_entries(&entries);
    for (size_t i = 0; i < entries.len; i++) {
        line("%.*s=%.*s", STRING(entries.ptr[i].f0), STRING(entries.ptr[i].f1));
    }
    string_t patch = text("{\"a\":1}");
    uint64_t version = 0;
    device_behaviour_twin_report_and_wait(&patch, 1000, &version, &error);
    line("%" PRIu64, version);
    device_behaviour_twin_document_t wanted, reported;
    device_behaviour_twin_desired(&wanted, &error);
    device_behaviour_twin_reported(&reported, &error);
    line("%.*s %" PRIu64 " %.*s %" PRIu64, STRING(wanted.body), wanted.version, STRING(reported.body), reported.version);
    bytes_t body = {payload->ptr, payload->len};
    string_t kind = text("application/json");
    pair_t property = {text("x"), text("y")};
    everything_list_tuple2_string_string_t properties = {&property, 1};
    device_behaviour_telemetry_send(&body, &kind, &properties, &error);
    string_t k1 = text("k1"), k2 = text("k2");
    bytes_t one = bytes("one"), nothing = bytes("");
    device_behaviour_state_set(&k1, &one, &error);
    device_behaviour_state_set(&k2, &nothing, &error);
    line("%.*s %.*s %.*s", STRING(value("k1")), STRING(value("k2")), STRING(value("k3")));
    const char *first = swapped("k1", "two", NULL);
    line("%s %s", first, swapped("k1", "one", "1"));
    first = swapped("k3", NULL, "three");
    line("%s %s", first, swapped("k2", "", NULL));
    string_t prefix = text("k");
    everything_list_string_t keys = {0};
    device_behaviour_state_keys(&prefix, 9, &keys, &error);
    line("%.*s %.*s %zu", STRING(keys.ptr[0]), STRING(keys.ptr[1]), keys.len);
    device_behaviour_state_delete(&k1, &error);
    string_t number = text("1"), other;
    name = text("first");
    device_behaviour_jobs_after_delay(&name, &number, 2000, &job, &error);
    name = text("second"), number = text("2");
    device_behaviour_jobs_after_boot(&name, &number, 60000, &other, &error);
    name = text("third"), number = text("3");
    device_behaviour_jobs_after_response(&name, &number, &other, &error);
    first = cancelled(text("none"));
    line("%.*s %s %s", STRING(job), first, cancelled(job));
    string_t reason = text("because");
    line("%s", device_behaviour_power_request_reboot(10, &reason, &error) ? "ok" : "an error");
    reason = text("again");
    if (!device_behaviour_power_request_reboot(10, &reason, &error)) {
        line("%.*s", STRING(described(&error)));
    }
    string_t opened = text("opened"), heat = text("heat"), wait = text("wait_seconds"), trace;
    pair_t door = {text("door"), text("front")};
    everything_list_tuple2_string_string_t labels = {&door, 1}, none = {NULL, 0};
    double upper[] = {0.5, 1};
    everything_list_f64_t bounds = {upper, 2};
    device_behaviour_metrics_add(&opened, 2, &labels);
    device_behaviour_metrics_add(&opened, 0.5, &labels);
    device_behaviour_metrics_set(&heat, -1.5, &none);
    device_behaviour_metrics_set_bounds(&wait, &bounds);
    device_behaviour_metrics_observe(&wait, 0.25, &none);
    bool has_trace = device_behaviour_context_trace_parent(&trace);
    line("%.*s", STRING(has_trace ? trace : text("null")));
}

// Returns the lines as a JSON string.
static string_t quoted(void) {
    char *whole = malloc(2 * strlen(lines) + 2), *end = whole;
    *end++ = '"';
    for (const char *at = lines; *at; at++) {
        if (*at == '"' || *at == '\\' || *at == '\n') {
            *end++ = '\\';
        }
        *end++ = *at == '\n' ? 'n' : *at;
    }
    *end++ = '"';
    return (string_t){(uint8_t *)whole, (size_t)(end - whole)};
}

bool exports_device_behaviour_methods_invoke(string_t *name, string_t *payload,
                                             exports_device_behaviour_methods_response_t *ret,
                                             exports_device_behaviour_methods_method_error_t *err) {
    if (is(name, "host")) {
        host(payload);
        ret->status = 200;
        ret->payload.is_some = true;
        ret->payload.val = quoted();
        return true;
    }
    if (is(name, "nothing")) {
        ret->status = 204;
        ret->payload.is_some = false;
        return true;
    }
    err->tag = DEVICE_BEHAVIOUR_TYPES_METHOD_ERROR_UNKNOWN_METHOD;
    if (is(name, "invalid")) {
        err->tag = DEVICE_BEHAVIOUR_TYPES_METHOD_ERROR_INVALID_PAYLOAD;
        err->val.invalid_payload = printed("%.*s", STRING(*payload));
    } else if (is(name, "busy")) {
        err->tag = DEVICE_BEHAVIOUR_TYPES_METHOD_ERROR_BUSY;
        err->val.busy = (everything_option_u32_t){true, 7};
    } else if (is(name, "failed")) {
        string_t patch = text("[]");
        error_t error;
        err->tag = DEVICE_BEHAVIOUR_TYPES_METHOD_ERROR_FAILED;
        bool done = device_behaviour_twin_report(&patch, &error);
        err->val.failed = done ? printed("not refused") : described(&error);
    } else if (is(name, "other")) {
        err->tag = DEVICE_BEHAVIOUR_TYPES_METHOD_ERROR_OTHER;
        err->val.other = printed("%s", "");
    }
    return false;
}

bool exports_device_behaviour_deferred_run(string_t *name, string_t *payload,
                                           exports_device_behaviour_deferred_job_error_t *err) {
    if (is(name, "later") || is(name, "some-time")) {
        err->tag = DEVICE_BEHAVIOUR_TYPES_JOB_ERROR_RETRY;
        err->val.retry = (everything_option_u32_t){is(name, "later"), 5000};
        return false;
    }
    if (is(name, "never")) {
        err->tag = DEVICE_BEHAVIOUR_TYPES_JOB_ERROR_REJECT;
        err->val.reject = printed("%.*s", STRING(*payload));
        return false;
    }
    if (is(name, "odd")) {
        err->tag = DEVICE_BEHAVIOUR_TYPES_JOB_ERROR_OTHER;
        err->val.other = printed("odd");
        return false;
    }
    pair_t fields = {*payload, printed("%d %" PRIu32, device_behaviour_jobs_boot_outcome_of_current(),
                                       device_behaviour_context_attempt())};
    write_log(DEVICE_BEHAVIOUR_LOG_LEVEL_DEBUG, *name, &fields, 1);
    return true;
}

bool exports_device_behaviour_desired_changed(string_t *patch, uint64_t version,
                                              exports_device_behaviour_desired_job_error_t *err) {
    (void)err;
    pair_t fields = {text("version"), printed("%" PRIu64, version)};
    write_log(DEVICE_BEHAVIOUR_LOG_LEVEL_INFO, *patch, &fields, 1);
    return true;
}

bool exports_device_behaviour_lifecycle_start(string_t *previous, string_t *err) {
    if (previous) {
        *err = printed("not after %.*s", STRING(*previous));
    }
    return !previous;
}

void exports_device_behaviour_lifecycle_stop(void) {
    write_log(DEVICE_BEHAVIOUR_LOG_LEVEL_WARN, text("stopped"), NULL, 0);
}
