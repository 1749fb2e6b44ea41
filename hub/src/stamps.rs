//! Timestamps and tracking ids in the formats of IoT Hub.

/// Returns the current time in the format of IoT Hub: UTC with seven decimals.
pub(crate) fn now() -> String {
    format!("{:.7}", jiff::Timestamp::now())
}

/// Returns the current time in Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_millisecond()).unwrap_or_default()
}

/// Returns a time in Unix milliseconds in the format of IoT Hub.
pub(crate) fn timestamp(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    format!("{:.7}", time.unwrap_or(jiff::Timestamp::MAX))
}

/// Returns the current time in Unix seconds.
pub(crate) fn now_unix() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default()
}

/// Returns a random tracking id for a response.
pub(crate) fn tracking_id() -> String {
    format!("{:032x}-G:0", random())
}

/// Returns a random id for a response, in the format of a GUID.
pub(crate) fn guid() -> String {
    let digits = format!("{:032x}", random());
    let parts = [&digits[..8], &digits[8..12], &digits[12..16], &digits[16..20], &digits[20..]];
    parts.join("-")
}

fn random() -> u128 {
    let mut bytes = [0; 16];
    // The ids only help with debugging, so zeros are acceptable if this fails.
    let _ = getrandom::fill(&mut bytes);
    u128::from_be_bytes(bytes)
}
