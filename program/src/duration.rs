//! The grammar of durations in options and configuration files.
//!
//! A duration is one or more numbers, each with a unit: `500ms`, `20s`, `1.5s`,
//! `1m 30s`, `1h`, `2d`. A day has 24 hours. Units can be written in full (`2 minutes`),
//! and ISO 8601 (`PT1M30S`) is accepted too. The parser is that of
//! [`jiff`](https://docs.rs/jiff/latest/jiff/fmt/friendly/). A number without a unit is an
//! error, except where seconds are documented as the default unit: see
//! [`parse_or_seconds`].
//!
//! The grammar is in this crate because every program already depends on it. It needs no
//! outside crate but `jiff`, which all programs use anyway.

use std::fmt;
use std::time::Duration;

use jiff::{SignedDuration, Span, SpanRelativeTo};

/// The error for a string that is not a valid duration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid duration `{text}`: expected a value such as {EXAMPLES}",
    text = json::readable(text)
)]
pub struct DurationError {
    /// The invalid string.
    pub text: String,
}

/// Examples of valid durations, for messages and help texts.
pub const EXAMPLES: &str = "20s, 500ms or 1h 30m";

/// Parses a duration in which every number has a unit.
///
/// # Errors
///
/// Returns an error if the string does not match the [module's grammar](self), or if the
/// duration is negative or too long.
pub fn parse(text: &str) -> Result<Duration, DurationError> {
    let signed = text.parse::<SignedDuration>().or_else(|_| {
        // `SignedDuration` rejects days, because calendar days differ in length.
        text.parse::<Span>()?.to_duration(SpanRelativeTo::days_are_24_hours())
    });
    let unsigned = signed.ok().and_then(|signed| Duration::try_from(signed).ok());
    unsigned.ok_or_else(|| DurationError { text: text.to_owned() })
}

/// Parses a duration. A whole number without a unit is a number of seconds.
///
/// # Errors
///
/// Same as [`parse`].
pub fn parse_or_seconds(text: &str) -> Result<Duration, DurationError> {
    text.parse().map(Duration::from_secs).or_else(|_| parse(text))
}

/// Formats a duration such as `1m 30s`.
///
/// [`parse`] accepts the result if the duration is at most [`i64::MAX`] seconds. A longer
/// duration is written as a whole number of seconds, which [`parse`] rejects.
pub fn display(duration: Duration) -> impl fmt::Display {
    DisplayedDuration(duration)
}

struct DisplayedDuration(Duration);

impl fmt::Display for DisplayedDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match SignedDuration::try_from(self.0) {
            Ok(signed) => write!(f, "{signed:#}"),
            Err(_) => write!(f, "{}s", self.0.as_secs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_duration_consists_of_numbers_with_units() {
        for (text, milliseconds) in [
            ("0s", 0),
            ("500ms", 500),
            ("1.5s", 1_500),
            ("20s", 20_000),
            ("30 seconds", 30_000),
            ("2m", 120_000),
            ("1m 30s", 90_000),
            ("1m30s", 90_000),
            ("1h", 3_600_000),
            ("PT1M30S", 90_000),
            ("2d", 172_800_000),
            ("1d 12h", 129_600_000),
        ] {
            assert_eq!(parse(text), Ok(Duration::from_millis(milliseconds)), "{text}");
            assert_eq!(parse_or_seconds(text), parse(text), "{text}");
        }
    }

    #[test]
    fn an_error_quotes_the_value_and_shows_valid_forms() {
        for text in
            ["", "30", "s", "soon", "-5", "-5s", "5 parsecs", "1 month", "9999999999999999999999s"]
        {
            let error = parse(text).unwrap_err().to_string();
            assert_eq!(
                error,
                format!("invalid duration `{text}`: expected a value such as 20s, 500ms or 1h 30m")
            );
        }
        let error = parse("20\u{1}s").unwrap_err().to_string();
        assert_eq!(
            error,
            "invalid duration `20\\u{1}s`: expected a value such as 20s, 500ms or 1h 30m"
        );
    }

    #[test]
    fn a_bare_number_counts_seconds_where_that_is_documented() {
        assert_eq!(parse_or_seconds("30"), Ok(Duration::from_secs(30)));
        for text in ["", "-5", "1.5"] {
            assert_eq!(parse_or_seconds(text), parse(text), "{text}");
        }
    }

    #[test]
    fn the_examples_in_messages_are_valid() {
        for text in EXAMPLES.replace(" or ", ", ").split(", ") {
            assert!(parse(text).is_ok(), "{text}");
        }
    }

    #[test]
    fn parsing_a_displayed_duration_returns_the_same_duration() {
        for (text, duration) in [
            ("0s", Duration::ZERO),
            ("250ms", Duration::from_millis(250)),
            ("1s 500ms", Duration::from_millis(1_500)),
            ("1m 30s", Duration::from_secs(90)),
            ("1h", Duration::from_secs(3_600)),
            ("36h", Duration::from_secs(129_600)),
        ] {
            assert_eq!(display(duration).to_string(), text);
            assert_eq!(parse(text), Ok(duration), "{text}");
        }
    }

    #[test]
    fn a_displayed_duration_is_parsed_up_to_the_limit_of_seconds() {
        let longest = Duration::from_secs(i64::MAX.unsigned_abs());
        assert_eq!(parse(&display(longest).to_string()), Ok(longest));
        let longer = display(longest + Duration::from_secs(1)).to_string();
        assert_eq!(longer, "9223372036854775808s");
        assert!(parse(&longer).is_err());
        assert_eq!(display(Duration::MAX).to_string(), format!("{}s", u64::MAX));
    }
}
