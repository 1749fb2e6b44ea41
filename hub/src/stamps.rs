//! Timestamps and tracking ids in the formats of IoT Hub.

/// Returns the current time in the format of IoT Hub: UTC with seven decimals.
pub(crate) fn now() -> String {
    format!("{:.7}", jiff::Timestamp::now())
}

/// Returns the current time in Unix seconds.
pub(crate) fn now_unix() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default()
}

/// Returns a random tracking id for a response.
pub(crate) fn tracking_id() -> String {
    let mut bytes = [0; 16];
    // The id only helps with debugging, so zeros are acceptable if this fails.
    let _ = getrandom::fill(&mut bytes);
    format!("{:032x}-G:0", u128::from_be_bytes(bytes))
}
