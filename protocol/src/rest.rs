//! Paths and headers of the REST API.
//!
//! Each path is a pattern with the placeholders `{device}` and `{module}`. The hub
//! routes requests by the pattern, the service replaces the placeholders.

use crate::id::{DeviceId, ModuleId};
use crate::percent;

/// The API version of this product's service.
pub const API_VERSION: &str = "2021-04-12";

/// The path of a device's methods: POST.
pub const METHODS: &str = "/twins/{device}/methods";
/// The path of a device's twin: GET, PATCH, PUT.
pub const TWIN: &str = "/twins/{device}";
/// The path of a module's methods: POST.
pub const MODULE_METHODS: &str = "/twins/{device}/modules/{module}/methods";
/// The path of a module's twin: GET, PATCH, PUT.
pub const MODULE_TWIN: &str = "/twins/{device}/modules/{module}";
/// The path of all devices: GET lists them, POST changes several at once.
pub const DEVICES: &str = "/devices";
/// The path of queries over twins: POST.
pub const QUERY: &str = "/devices/query";
/// The path of a device's identity: GET, PUT, DELETE.
pub const DEVICE: &str = "/devices/{device}";
/// The path of a device's modules: GET.
pub const MODULES: &str = "/devices/{device}/modules";
/// The path of a module's identity: GET, PUT, DELETE.
pub const MODULE: &str = "/devices/{device}/modules/{module}";
/// The path of the number of devices: GET.
pub const DEVICE_STATISTICS: &str = "/statistics/devices";
/// The path of the number of connected devices: GET.
pub const SERVICE_STATISTICS: &str = "/statistics/service";

/// The path of all configurations: GET.
pub const CONFIGURATIONS: &str = "/configurations";
/// The path of a configuration: GET, PUT, DELETE.
pub const CONFIGURATION: &str = "/configurations/{id}";
/// The path of the check of a configuration's queries: POST.
pub const CONFIGURATION_QUERIES: &str = "/configurations/testQueries";
/// The path of the content for one IoT Edge device: POST.
pub const DEVICE_CONFIGURATION: &str = "/devices/{device}/applyConfigurationContent";
/// The path of the list of jobs: GET.
pub const JOBS: &str = "/jobs/v2/query";
/// The path of a job: GET, PUT.
pub const JOB: &str = "/jobs/v2/{id}";
/// The path that cancels a job: POST.
pub const JOB_CANCEL: &str = "/jobs/v2/{id}/cancel";

/// The path of a device's queue of cloud-to-device messages: DELETE purges it.
pub const COMMANDS: &str = "/devices/{device}/commands";
/// The path to which services send cloud-to-device messages to the device in `iothub-to`: POST.
/// Azure IoT Hub accepts them by AMQP only.
pub const DEVICE_BOUND: &str = "/messages/devicebound";
/// The path of a device's cloud-to-device messages: a service sends them with POST.
pub const DEVICE_MESSAGES: &str = "/devices/{device}/messages/devicebound";
/// The path of a cloud-to-device message that a device has received: DELETE completes it, or
/// rejects it with the query `reject`.
pub const DEVICE_MESSAGE: &str = "/devices/{device}/messages/devicebound/{lock}";
/// The path that returns a received cloud-to-device message to the queue: POST.
pub const DEVICE_MESSAGE_ABANDON: &str = "/devices/{device}/messages/devicebound/{lock}/abandon";
/// The path of a device's telemetry: POST.
pub const DEVICE_EVENTS: &str = "/devices/{device}/messages/events";
/// The path of a module's telemetry: POST.
pub const MODULE_EVENTS: &str = "/devices/{device}/modules/{module}/messages/events";
/// The path of the feedback to cloud-to-device messages: GET.
pub const FEEDBACK: &str = "/messages/servicebound/feedback";
/// The path of feedback that a service has received: DELETE completes it.
pub const FEEDBACK_LOCK: &str = "/messages/servicebound/feedback/{lock}";
/// The path that returns received feedback to the queue: POST.
pub const FEEDBACK_ABANDON: &str = "/messages/servicebound/feedback/{lock}/abandon";

/// The path of the stream of device-to-cloud messages: GET. Azure IoT Hub has no such path.
pub const MESSAGES: &str = "/$messages";
/// The name of an event of the stream of messages with one message.
pub const MESSAGE_EVENT: &str = "message";
/// The name of an event of the stream of messages with the number of lost messages.
pub const MESSAGES_LOST_EVENT: &str = "lost";
/// The path of the stream of the hub's events: GET. Azure IoT Hub has no such path.
pub const EVENTS: &str = "/$events";
/// The name of an event of the stream of events with the number of dropped events.
pub const EVENTS_DROPPED_EVENT: &str = "dropped";

/// The header with the name of the error code, present in every error response.
pub const HEADER_ERROR_CODE: &str = "iothub-errorcode";
/// The header with the continuation token of the next page; absent on the last page.
pub const HEADER_CONTINUATION: &str = "x-ms-continuation";
/// The header with the maximum number of items on a page.
pub const HEADER_MAX_ITEM_COUNT: &str = "x-ms-max-item-count";
/// The header with the type of a list's items: `Twin`, `DeviceJob`, `JobResponse` or `Raw`, in
/// this spelling.
pub const HEADER_ITEM_TYPE: &str = "x-ms-item-type";

/// Maximum length of a query, in characters.
pub const MAX_QUERY_CHARACTERS: usize = 8192;

/// Returns the percent-encoded id of a device, as in a path or a query.
#[must_use]
pub fn encoded(device: &DeviceId) -> String {
    percent::encode(device.as_str()).to_string()
}

/// Returns a segment of a path without percent-encoding; `None` if it is not UTF-8.
#[must_use]
pub fn decoded(segment: &str) -> Option<String> {
    percent::decode(segment).map(Into::into)
}

/// Replaces `{device}` in a pattern with the encoded id.
#[must_use]
pub fn of_device(pattern: &str, device: &DeviceId) -> String {
    pattern.replace("{device}", &encoded(device))
}

/// Replaces `{id}` in a pattern with the encoded id of a configuration or job.
#[must_use]
pub fn of_id(pattern: &str, id: &str) -> String {
    pattern.replace("{id}", &percent::encode(id).to_string())
}

/// Replaces `{lock}` in a pattern with the encoded lock of a message or of feedback.
#[must_use]
pub fn of_lock(pattern: &str, lock: &str) -> String {
    pattern.replace("{lock}", &percent::encode(lock).to_string())
}

/// Replaces `{device}` and `{module}` in a pattern with the encoded ids.
#[must_use]
pub fn of_module(pattern: &str, device: &DeviceId, module: &ModuleId) -> String {
    of_device(pattern, device).replace("{module}", &percent::encode(module.as_str()).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_in_a_path_is_encoded() {
        let device = "a#b?%d".parse().unwrap();
        assert_eq!(of_device(METHODS, &device), "/twins/a%23b%3F%25d/methods");
        let module = "m*".parse().unwrap();
        assert_eq!(of_module(MODULE_TWIN, &device, &module), "/twins/a%23b%3F%25d/modules/m%2A");
    }
}
