//! Placeholders in expected values.
//!
//! A string such as `$any` stands for a kind of value, and `...` stands for the members of
//! an object, the elements of an array or the lines of a log that are not listed. One more
//! `$` in front makes a placeholder literal.

use jiff::Timestamp;
use json::placeholder::{self, unescape};
use serde_json::Value;

/// The maximum length of an id.
const MAX_ID_BYTES: usize = 128;

/// An expected string: a placeholder or a literal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Pattern<'a> {
    /// `$any`: any value, including `null`.
    Any,
    /// `$string`: any string.
    String,
    /// `$number`: any number.
    Number,
    /// `$time`: a timestamp in RFC 3339 format.
    Time,
    /// `$id`: the id of a call or job, a UUID, or a similar string.
    Id,
    /// Any other string, which a value must equal.
    Literal(&'a str),
}

impl Pattern<'_> {
    /// Parses an expected string.
    pub(super) fn parse(text: &str) -> Pattern<'_> {
        parse_placeholder(text).unwrap_or_else(|| Pattern::Literal(unescape(text)))
    }

    /// Returns `true` if a value matches.
    pub(super) fn matches(self, found: &Value) -> bool {
        match (self, found) {
            (Pattern::Any, _)
            | (Pattern::String, Value::String(_))
            | (Pattern::Number, Value::Number(_)) => true,
            (Pattern::Time, Value::String(text)) => text.parse::<Timestamp>().is_ok(),
            (Pattern::Id, Value::String(text)) => is_id(text),
            (Pattern::Literal(expected), found) => found == expected,
            _ => false,
        }
    }
}

fn parse_placeholder(text: &str) -> Option<Pattern<'static>> {
    Some(match text {
        placeholder::ANY => Pattern::Any,
        placeholder::STRING => Pattern::String,
        placeholder::NUMBER => Pattern::Number,
        placeholder::TIME => Pattern::Time,
        placeholder::ID => Pattern::Id,
        _ => return None,
    })
}

fn is_id(text: &str) -> bool {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.' | ':');
    (1..=MAX_ID_BYTES).contains(&text.len()) && text.chars().all(allowed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn each_placeholder_matches_its_kind_of_value() {
        let values = [
            json!(null),
            json!(1.5),
            json!("text with spaces"),
            json!("2026-01-01T00:00:05.000Z"),
            json!("9f3c21ab-1"),
            json!({}),
        ];
        for (placeholder, matching) in [
            ("$any", [true; 6]),
            ("$string", [false, false, true, true, true, false]),
            ("$number", [false, true, false, false, false, false]),
            ("$time", [false, false, false, true, false, false]),
            ("$id", [false, false, false, true, true, false]),
        ] {
            let found = values.each_ref().map(|value| Pattern::parse(placeholder).matches(value));
            assert_eq!(found, matching, "{placeholder}");
        }
    }

    #[test]
    fn a_string_that_is_not_exactly_a_placeholder_is_literal() {
        for (text, literal) in [("$$any", "$any"), ("$5", "$5"), ("$Any", "$Any"), ("...", "...")] {
            assert_eq!(Pattern::parse(text), Pattern::Literal(literal));
        }
    }
}
