//! Comparison of JSON values, with a path for each difference.

use std::fmt;

use serde::Serialize;
use serde_json::Value;

use super::LogDiff;

/// A difference between an expectation and the outcome.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Difference {
    /// A difference at one location in a JSON value.
    Value {
        /// The path of the location, such as `answer.items[2].name`.
        at: String,
        /// The expected value; `None` if nothing was expected.
        #[serde(skip_serializing_if = "Option::is_none")]
        expected: Option<Value>,
        /// The value found; `None` if nothing was found.
        #[serde(skip_serializing_if = "Option::is_none")]
        found: Option<Value>,
    },
    /// A difference in the log.
    Log {
        /// The path of the log: always `log`.
        at: &'static str,
        /// The lines of both logs.
        lines: LogDiff,
    },
}

/// Formats the difference on one line, or on several for a log.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Difference::Value { at, expected, found } => {
                write!(f, "{at}: expected {}, found {}", preview(expected), preview(found))
            }
            Difference::Log { at, lines } => write!(f, "{at}:\n{lines}"),
        }
    }
}

/// Formats a value on one line. A long value is truncated.
fn preview(value: &Option<Value>) -> String {
    const MAX_CHARACTERS: usize = 400;
    let Some(value) = value else { return "nothing".to_owned() };
    let text = value.to_string();
    if text.chars().count() <= MAX_CHARACTERS {
        return text;
    }
    let start: String = text.chars().take(MAX_CHARACTERS).collect();
    format!("{start}… ({} bytes)", text.len())
}

/// Compares two values and adds a difference for each path at which they differ.
pub(super) fn compare(at: &str, expected: &Value, found: &Value, into: &mut Vec<Difference>) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            for (key, value) in expected {
                match found.get(key) {
                    Some(found) => compare(&below(at, key), value, found, into),
                    None => into.push(difference(&below(at, key), Some(value), None)),
                }
            }
            for (key, value) in found.iter().filter(|(key, _)| !expected.contains_key(*key)) {
                into.push(difference(&below(at, key), None, Some(value)));
            }
        }
        (Value::Array(expected), Value::Array(found)) => {
            for index in 0..expected.len().max(found.len()) {
                let at = format!("{at}[{index}]");
                match (expected.get(index), found.get(index)) {
                    (Some(expected), Some(found)) => compare(&at, expected, found, into),
                    (expected, found) => into.push(difference(&at, expected, found)),
                }
            }
        }
        _ if is_same(expected, found) => {}
        _ => into.push(difference(at, Some(expected), Some(found))),
    }
}

pub(super) fn difference(at: &str, expected: Option<&Value>, found: Option<&Value>) -> Difference {
    Difference::Value { at: at.to_owned(), expected: expected.cloned(), found: found.cloned() }
}

/// Returns `true` if two values are equal. `1` equals `1.0`, since some languages have only
/// one number type.
fn is_same(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::Number(one), Value::Number(other)) => {
            one == other || (one.is_f64() || other.is_f64()) && one.as_f64() == other.as_f64()
        }
        _ => expected == found,
    }
}

fn below(at: &str, key: &str) -> String {
    let plain = !key.is_empty() && key.chars().all(|c| c.is_alphanumeric() || c == '_' || c == '-');
    match (at, plain) {
        ("", true) => key.to_owned(),
        (_, true) => format!("{at}.{key}"),
        (_, false) => format!("{at}[{key:?}]"),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(expected: Value, found: Value, lines: &[&str]) {
        let mut differences = Vec::new();
        compare("answer", &expected, &found, &mut differences);
        let shown: Vec<_> = differences.iter().map(Difference::to_string).collect();
        assert_eq!(shown, lines);
    }

    #[test]
    fn equal_values_do_not_differ() {
        check(json!({"a": [1, "b", null]}), json!({"a": [1, "b", null]}), &[]);
        check(json!([1, -2, 0.5]), json!([1.0, -2.0, 0.5]), &[]);
    }

    #[test]
    fn each_difference_names_its_path_and_both_values() {
        check(
            json!({"items": [{"name": "x"}, 2], "gone": true}),
            json!({"items": [{"name": "y"}], "more": {}}),
            &[
                "answer.gone: expected true, found nothing",
                "answer.items[0].name: expected \"x\", found \"y\"",
                "answer.items[1]: expected 2, found nothing",
                "answer.more: expected nothing, found {}",
            ],
        );
        check(
            json!({"a b": null}),
            json!({"a b": 0}),
            &["answer[\"a b\"]: expected null, found 0"],
        );
        check(json!("1"), json!(1), &["answer: expected \"1\", found 1"]);
    }

    #[test]
    fn a_long_value_is_truncated() {
        let mut differences = Vec::new();
        compare("answer", &json!(1), &json!("x".repeat(9000)), &mut differences);
        assert!(differences[0].to_string().len() < 500, "{}", differences[0]);
    }
}
