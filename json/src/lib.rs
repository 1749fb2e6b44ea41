//! JSON text that is validated and passed on unchanged.
//!
//! Parsing and printing changes a payload: it loses digits, sorts keys and removes
//! duplicates. [`Json`] keeps the text. Every program validates it by the same rules: it is
//! JSON, nested at most [`MAX_DEPTH`] levels deep, and contains no lone surrogate in an
//! escape.
//!
//! ```
//! use behaviour_json::{Json, value};
//!
//! let json: Json = r#" {"b": 1.10, "a": 12345678901234567890123} "#.parse().unwrap();
//! assert_eq!(json.get(), r#"{"b": 1.10, "a": 12345678901234567890123}"#);
//!
//! let error = r#""\ud83d""#.parse::<Json>().unwrap_err();
//! assert_eq!(error.to_string(), "has half of a surrogate pair");
//! assert_eq!(
//!     value("[18446744073709551616]").unwrap_err().to_string(),
//!     "has the integer 18446744073709551616, which does not fit in 64 bits"
//! );
//! ```
//!
//! `cargo run -p behaviour-json --example check` validates and formats standard input.
//!
//! # Layout
//!
//! * `check`: validation without building a value.
//! * `layout`: removal and insertion of white space between tokens.
//! * `numbers`: integers that a parsed value would change.
//! * [`placeholder`]: placeholders in the expected values of a test case.
//! * `readable`: escaping of untrusted text for logs, answers and terminals.
//!
//! The crate depends on no other crate of the workspace.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a panic fails the test"))]

use std::fmt;
use std::str::FromStr;

use serde::de::{Deserialize, Deserializer, Error as _};
use serde::ser::{Error as _, Serialize, Serializer};
use serde_json::Value;
use serde_json::value::RawValue;

mod check;
mod layout;
mod numbers;
pub mod placeholder;
mod readable;

pub use check::check;
pub use readable::{affects_display, escape, excerpt, push_escaped, readable, readable_url};

/// Maximum nesting depth of arrays and objects. `serde_json` parses 127 levels, so text of
/// this depth can also be parsed inside other objects.
pub const MAX_DEPTH: usize = 100;

/// Reason why a text is not accepted as JSON. The message is a predicate, such as "is not JSON:
/// …", that follows the subject.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// Invalid JSON.
    #[error("is not JSON: {0}")]
    Syntax(serde_json::Error),
    /// More than [`MAX_DEPTH`] levels.
    #[error("is nested too deep: more than {MAX_DEPTH} levels")]
    TooDeep,
    /// Half of a surrogate pair in an escape.
    #[error("has half of a surrogate pair")]
    Surrogate,
    /// Integer that does not fit in 64 bits.
    #[error("has the integer {0}, which does not fit in 64 bits")]
    Integer(String),
}

/// A JSON value as text, without surrounding white space.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json(String);

impl Json {
    /// Validates `text`.
    pub fn new(mut text: String) -> Result<Json, JsonError> {
        check(&text)?;
        let trimmed = text.trim_matches([' ', '\t', '\r', '\n']);
        if trimmed.len() < text.len() {
            text = trimmed.to_owned();
        }
        Ok(Json(text))
    }

    /// Returns the text.
    #[must_use]
    pub fn get(&self) -> &str {
        &self.0
    }

    /// Converts the value to its text.
    #[must_use]
    pub fn into_text(self) -> String {
        self.0
    }

    /// Parses the value. Loses digits beyond 64 bits, duplicate keys and the order of keys.
    #[must_use]
    pub fn to_value(&self) -> Value {
        // Parsing fails only for a number such as 1e400, which is JSON but not a `Value`.
        serde_json::from_str(&self.0).unwrap_or(Value::Null)
    }

    /// Returns the text on one line, without white space between tokens.
    #[must_use]
    pub fn compact(&self) -> String {
        layout::compact(&self.0)
    }

    /// Returns the text with one member per line. Escapes characters that affect a terminal.
    #[must_use]
    pub fn pretty(&self) -> String {
        layout::pretty(&self.0)
    }
}

impl Default for Json {
    /// Returns `null`.
    fn default() -> Json {
        Json("null".to_owned())
    }
}

impl fmt::Display for Json {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for Json {
    type Err = JsonError;

    fn from_str(text: &str) -> Result<Json, JsonError> {
        Json::new(text.to_owned())
    }
}

/// Converts a trusted value. Its depth is not checked.
impl From<Value> for Json {
    fn from(value: Value) -> Json {
        Json(value.to_string())
    }
}

impl PartialEq<Value> for Json {
    fn eq(&self, value: &Value) -> bool {
        self.to_value() == *value
    }
}

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let raw: &RawValue = serde_json::from_str(&self.0).map_err(S::Error::custom)?;
        raw.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Json, D::Error> {
        let raw = Box::<RawValue>::deserialize(deserializer)?;
        Json::new(raw.get().to_owned()).map_err(D::Error::custom)
    }
}

/// Parses a value, such as a twin, without changing its numbers. Returns an error for an
/// integer that would become a floating-point number.
pub fn value(text: &str) -> Result<Value, JsonError> {
    check(text)?;
    let text = numbers::plain(text)?;
    serde_json::from_str(&text).map_err(JsonError::Syntax)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn surrounding_white_space_is_removed() {
        assert_eq!(Json::new("\n {\"a\": 1} ".to_owned()).unwrap().get(), r#"{"a": 1}"#);
        assert!(Json::new("no".to_owned()).is_err());
    }

    #[test]
    fn embedded_json_is_unchanged() {
        let text = r#"{"status":200,"payload":{"b":1.10,"a":1e2,"b":12345678901234567890123}}"#;
        #[derive(serde::Serialize, serde::Deserialize)]
        struct Answer {
            status: i32,
            payload: Json,
        }
        let answer: Answer = serde_json::from_str(text).unwrap();
        assert_eq!(answer.payload.get(), r#"{"b":1.10,"a":1e2,"b":12345678901234567890123}"#);
        assert_eq!(serde_json::to_string(&answer).unwrap(), text);
    }

    #[test]
    fn an_error_in_embedded_json_is_reported() {
        let error = serde_json::from_str::<Vec<Json>>(r#"["\udc00"]"#).map(drop).unwrap_err();
        assert!(error.to_string().starts_with("has half of a surrogate pair"), "{error}");
    }

    #[test]
    fn a_value_becomes_text_and_equals_it() {
        let value = json!({"a": [1, null]});
        let json = Json::from(value.clone());
        assert_eq!(json.get(), r#"{"a":[1,null]}"#);
        assert_eq!(json, value);
        assert_eq!(Json::default(), Value::Null);
    }
}
