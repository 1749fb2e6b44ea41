//! Time stamps in the form of IoT Hub.

/// Returns the current time as IoT Hub writes it: UTC, seven decimals.
pub(super) fn now() -> String {
    format!("{:.7}", jiff::Timestamp::now())
}
