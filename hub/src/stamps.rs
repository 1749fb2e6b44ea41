//! Time stamps and tracking ids in the form of IoT Hub.

/// Returns the current time as IoT Hub writes it: UTC with seven decimals.
pub(crate) fn now() -> String {
    format!("{:.7}", jiff::Timestamp::now())
}

/// Returns the current time in Unix seconds.
pub(crate) fn now_unix() -> u64 {
    u64::try_from(jiff::Timestamp::now().as_second()).unwrap_or_default()
}

/// Returns a random id for an answer.
pub(crate) fn tracking_id() -> String {
    let mut bytes = [0; 16];
    // Without random bytes the answer is sent with an id of zeros.
    let _ = getrandom::fill(&mut bytes);
    format!("{:032x}-G:0", u128::from_be_bytes(bytes))
}
