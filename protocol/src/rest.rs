//! Paths and headers of the REST API.
//!
//! A path is written once, as a pattern with `{device}` and `{module}`: the hub
//! routes by the pattern, the service fills it in.

use crate::id::{DeviceId, ModuleId};
use crate::percent;

/// The API version that the product's own service end speaks.
pub const API_VERSION: &str = "2021-04-12";

/// A method of a device: POST.
pub const METHODS: &str = "/twins/{device}/methods";
/// A device's twin: GET, PATCH, PUT.
pub const TWIN: &str = "/twins/{device}";
/// A method of a module: POST.
pub const MODULE_METHODS: &str = "/twins/{device}/modules/{module}/methods";
/// A module's twin: GET, PATCH, PUT.
pub const MODULE_TWIN: &str = "/twins/{device}/modules/{module}";
/// The devices: GET lists, POST changes many.
pub const DEVICES: &str = "/devices";
/// A query over the twins: POST.
pub const QUERY: &str = "/devices/query";
/// A device's identity: GET, PUT, DELETE.
pub const DEVICE: &str = "/devices/{device}";
/// A device's modules: GET.
pub const MODULES: &str = "/devices/{device}/modules";
/// A module's identity: GET, PUT, DELETE.
pub const MODULE: &str = "/devices/{device}/modules/{module}";
/// How many devices there are: GET.
pub const DEVICE_STATISTICS: &str = "/statistics/devices";
/// How many devices are connected: GET.
pub const SERVICE_STATISTICS: &str = "/statistics/service";

/// The name of the error, on every answer that is one.
pub const HEADER_ERROR_CODE: &str = "iothub-errorcode";
/// Where the next page begins; absent on the last one, never empty.
pub const HEADER_CONTINUATION: &str = "x-ms-continuation";
/// How many items a page may have.
pub const HEADER_MAX_ITEM_COUNT: &str = "x-ms-max-item-count";
/// What a query's items are: `Twin` or `Raw`; case matters to clients.
pub const HEADER_ITEM_TYPE: &str = "x-ms-item-type";

/// The longest query text, in characters.
pub const MAX_QUERY_CHARACTERS: usize = 8192;

/// `pattern` with this device in it.
#[must_use]
pub fn of_device(pattern: &str, device: &DeviceId) -> String {
    pattern.replace("{device}", &percent::encode(device.as_str()).to_string())
}

/// `pattern` with this module of this device in it.
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
