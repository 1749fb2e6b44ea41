// The simulated reboot of the tutorial: waits, reports the time and answers. It behaves
// like guest-reboot, which is written in Rust.
//
// `behaviour build` generates gen/behaviour.h from wit/.

#include "behaviour.h"
#include "json.h"
#include "settings.h"

typedef exports_device_behaviour_methods_response_t response_t;
typedef exports_device_behaviour_methods_method_error_t refusal_t;

static const char answer[] = "{\"Response\": \"This is the response from the device\"}";

static text_t of(behaviour_string_t string) {
    return (text_t){(const char *)string.ptr, string.len};
}

static behaviour_string_t lent(text_t text) {
    return (behaviour_string_t){(uint8_t *)text.at, text.len};
}

static bool refused(refusal_t *refusal, uint8_t tag, text_t reason) {
    refusal->tag = tag;
    behaviour_string_dup_n(&refusal->val.failed, reason.at, reason.len);
    return false;
}

static bool failed(refusal_t *refusal, buffer_t reason) {
    return refused(refusal, DEVICE_BEHAVIOUR_TYPES_METHOD_ERROR_FAILED, buffer_text(reason));
}

static void log_info(const char *message) {
    behaviour_string_t line = lent(text(message));
    behaviour_list_tuple2_string_string_t no_fields = {NULL, 0};
    device_behaviour_log_write(DEVICE_BEHAVIOUR_LOG_LEVEL_INFO, &line, &no_fields);
}

// Returns a description of the host's error, with `what` as a prefix.
static buffer_t describe(const char *what, const device_behaviour_types_error_t *error) {
    buffer_t reason = {0};
    buffer_add(&reason, text(what));
    switch (error->tag) {
    case DEVICE_BEHAVIOUR_TYPES_ERROR_OFFLINE:
        buffer_add(&reason, text("the device is offline"));
        break;
    case DEVICE_BEHAVIOUR_TYPES_ERROR_TIMEOUT:
        buffer_add(&reason, text("no answer in time"));
        break;
    case DEVICE_BEHAVIOUR_TYPES_ERROR_THROTTLED:
        buffer_add(&reason, text("throttled by the hub"));
        break;
    default:
        // The payload of all other cases is a string.
        buffer_add(&reason, of(error->val.other));
    }
    return reason;
}

// Returns the delay in the payload, if any. Payloads that are not objects have none.
static bool requested_delay(text_t payload, double *seconds, buffer_t *reason) {
    text_t requested = {NULL, 0};
    if (json_is_object(payload)) {
        requested = json_get(payload, text("delaySeconds"));
    }
    buffer_add(reason, text("delaySeconds: "));
    return !requested.at || settings_seconds(requested, seconds, reason);
}

// Reports the patch, and returns the log message about the result.
static const char *report(text_t patch, device_behaviour_types_error_t *error) {
    behaviour_string_t body = lent(patch);
    uint64_t version;
    if (device_behaviour_twin_report_and_wait(&body, 5000, &version, error)) {
        return "Device twins updated with latest rebootTime";
    }
    if (error->tag == DEVICE_BEHAVIOUR_TYPES_ERROR_OFFLINE ||
        error->tag == DEVICE_BEHAVIOUR_TYPES_ERROR_TIMEOUT) {
        return "Device twins will be updated when the hub answers again";
    }
    return NULL;
}

bool exports_device_behaviour_methods_invoke(behaviour_string_t *name, behaviour_string_t *payload,
                                             response_t *response, refusal_t *refusal) {
    if (!text_is(of(*name), text("rebootDevice"))) {
        refusal->tag = DEVICE_BEHAVIOUR_TYPES_METHOD_ERROR_UNKNOWN_METHOD;
        return false;
    }
    settings_t settings;
    buffer_t reason = {0};
    if (!settings_read(&settings, &reason)) {
        return failed(refusal, reason);
    }
    reason.len = 0;
    if (!requested_delay(of(*payload), &settings.delay_seconds, &reason)) {
        return refused(refusal, DEVICE_BEHAVIOUR_TYPES_METHOD_ERROR_INVALID_PAYLOAD, buffer_text(reason));
    }

    device_behaviour_types_error_t error;
    log_info("Rebooting device");
    if (!device_behaviour_clock_sleep_ms((uint32_t)(settings.delay_seconds * 1000), &error)) {
        return failed(refusal, describe("reboot: ", &error));
    }
    log_info("Device rebooted");

    behaviour_string_t now;
    device_behaviour_clock_now_rfc3339(&now);
    buffer_t patch = {0};
    settings_patch(&settings, of(now), &patch, &reason);
    const char *line = report(buffer_text(patch), &error);
    if (!line) {
        return failed(refusal, describe("reported properties: ", &error));
    }
    log_info(line);

    response->status = 200;
    response->payload.is_some = true;
    behaviour_string_dup(&response->payload.val, answer);
    return true;
}
