//! JSON arguments and timeouts.

use std::ops::RangeInclusive;
use std::time::Duration;

use behaviour_service::{Json, JsonError};
use program::duration::{self, DurationError};
use program::{chain, text};
use protocol::method::{CONNECT_TIMEOUT_SECONDS, RESPONSE_TIMEOUT_SECONDS};
use serde_json::Value;

use crate::command_error::{CommandError, usage};

/// Validates a JSON argument and keeps it byte for byte. `@FILE` reads a file, `-` standard
/// input.
pub(super) fn json(name: &str, text: &str) -> Result<Json, CommandError> {
    Json::new(read(name, text)?).map_err(|error| refused(name, error))
}

/// Parses a JSON argument. `@FILE` reads a file, `-` standard input.
pub(super) fn value(name: &str, text: &str) -> Result<Value, CommandError> {
    json::value(&read(name, text)?).map_err(|error| refused(name, error))
}

/// Parses the time that a device has to answer a method.
pub(super) fn response_timeout(text: &str) -> Result<Duration, String> {
    within(duration::parse_or_seconds(text), RESPONSE_TIMEOUT_SECONDS)
}

/// Parses the time that a device has to connect.
pub(super) fn connect_timeout(text: &str) -> Result<Duration, String> {
    within(duration::parse_or_seconds(text), CONNECT_TIMEOUT_SECONDS)
}

/// Parses the time between two requests, which must not overload the hub.
pub(super) fn interval(text: &str) -> Result<Duration, String> {
    let every = duration::parse_or_seconds(text).map_err(|error| error.to_string())?;
    match every < Duration::from_millis(100) {
        true => Err("must be at least 100ms".to_owned()),
        false => Ok(every),
    }
}

/// Checks that a timeout is within the range of IoT Hub.
fn within(
    time: Result<Duration, DurationError>,
    seconds: RangeInclusive<u64>,
) -> Result<Duration, String> {
    let time = time.map_err(|error| error.to_string())?;
    let (min, max) = seconds.into_inner();
    if time < Duration::from_secs(min) || time > Duration::from_secs(max) {
        return Err(format!("IoT Hub allows {min}s to {max}s"));
    }
    Ok(time)
}

fn read(name: &str, argument: &str) -> Result<String, CommandError> {
    text::argument(argument).map_err(|error| usage(format!("{name}: {}", chain(&error))))
}

fn refused(name: &str, error: JsonError) -> CommandError {
    match error {
        JsonError::Syntax(cause) => usage(format!(
            "{name} is not JSON (a string needs its own quotes: '\"text\"'): {cause}"
        )),
        rule => usage(format!("{name} {rule}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_timeout_outside_the_range_of_iot_hub_is_refused() {
        assert_eq!(response_timeout("2s").unwrap_err(), "IoT Hub allows 5s to 300s");
        assert_eq!(response_timeout("301").unwrap_err(), "IoT Hub allows 5s to 300s");
        assert_eq!(connect_timeout("6m").unwrap_err(), "IoT Hub allows 0s to 300s");
        assert_eq!(response_timeout("5").unwrap(), Duration::from_secs(5));
        assert_eq!(connect_timeout("5m").unwrap(), Duration::from_secs(300));
    }

    #[test]
    fn an_interval_that_would_overload_the_hub_is_refused() {
        assert_eq!(interval("0s").unwrap_err(), "must be at least 100ms");
        assert_eq!(interval("1").unwrap(), Duration::from_secs(1));
    }
}
