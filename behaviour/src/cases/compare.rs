//! Comparison of JSON values, with a path for each difference.

use std::collections::BTreeSet;
use std::fmt;

use json::placeholder::{REST, unescape};
use serde::Serialize;
use serde_json::{Map, Value};

use super::LogDiff;
use super::pattern::Pattern;

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

/// Compares a value with an expected one, which can contain placeholders. Adds a difference for
/// each path at which they differ.
pub(super) fn compare(at: &str, expected: &Value, found: &Value, into: &mut Vec<Difference>) {
    match (expected, found) {
        (Value::Object(expected), Value::Object(found)) => {
            compare_objects(at, expected, found, into);
        }
        (Value::Array(expected), Value::Array(found)) => compare_arrays(at, expected, found, into),
        _ if matches_directly(expected, found) => {}
        _ => into.push(difference(at, Some(expected), Some(found))),
    }
}

/// Compares two objects. The key `...` stands for all other members.
fn compare_objects(
    at: &str,
    expected: &Map<String, Value>,
    found: &Map<String, Value>,
    into: &mut Vec<Difference>,
) {
    let mut named = BTreeSet::new();
    for (key, value) in expected.iter().filter(|(key, _)| *key != REST) {
        let key = unescape(key);
        named.insert(key);
        match found.get(key) {
            Some(found) => compare(&member_path(at, key), value, found, into),
            None => into.push(difference(&member_path(at, key), Some(value), None)),
        }
    }
    for (key, value) in found.iter().filter(|(key, _)| !named.contains(key.as_str())) {
        match expected.get(REST) {
            Some(other) => compare(&member_path(at, key), other, value, into),
            None => into.push(difference(&member_path(at, key), None, Some(value))),
        }
    }
}

/// Compares two arrays. The element `...` stands for any number of elements. Elements before
/// the first `...` and after the last one are compared by position. Elements between two `...`
/// must occur in this order, with any others between them.
fn compare_arrays(at: &str, expected: &[Value], found: &[Value], into: &mut Vec<Difference>) {
    let is_gap = |item: &Value| item == REST;
    let gaps = (expected.iter().position(is_gap), expected.iter().rposition(is_gap));
    let (Some(first_gap), Some(last_gap)) = gaps else {
        for index in 0..expected.len().max(found.len()) {
            compare_items(&format!("{at}[{index}]"), expected.get(index), found.get(index), into);
        }
        return;
    };
    let tail = &expected[last_gap + 1..];
    let tail_start = found.len().saturating_sub(tail.len()).max(first_gap.min(found.len()));
    for index in 0..first_gap {
        compare_items(&format!("{at}[{index}]"), expected.get(index), found.get(index), into);
    }
    for (offset, expected) in tail.iter().enumerate() {
        let index = tail_start + offset;
        compare_items(&format!("{at}[{index}]"), Some(expected), found.get(index), into);
    }
    // The first match of each element leaves the most elements for those that follow.
    let mut between = found.get(first_gap..tail_start).unwrap_or_default().iter();
    for expected in expected[first_gap..last_gap].iter().filter(|item| *item != REST) {
        if !between.any(|found| matches(expected, found)) {
            into.push(difference(&format!("{at}[...]"), Some(expected), None));
            return;
        }
    }
}

fn compare_items(
    at: &str,
    expected: Option<&Value>,
    found: Option<&Value>,
    into: &mut Vec<Difference>,
) {
    match (expected, found) {
        (Some(expected), Some(found)) => compare(at, expected, found, into),
        (expected, found) => into.push(difference(at, expected, found)),
    }
}

/// Returns `true` if a value matches an expected value.
pub(super) fn matches(expected: &Value, found: &Value) -> bool {
    let mut differences = Vec::new();
    compare("", expected, found, &mut differences);
    differences.is_empty()
}

pub(super) fn difference(at: &str, expected: Option<&Value>, found: Option<&Value>) -> Difference {
    Difference::Value { at: at.to_owned(), expected: expected.cloned(), found: found.cloned() }
}

/// Returns `true` if a value equals an expected one or matches its placeholder. `1` equals
/// `1.0`, since some languages have only one number type.
fn matches_directly(expected: &Value, found: &Value) -> bool {
    match (expected, found) {
        (Value::Number(one), Value::Number(other)) => {
            one == other || (one.is_f64() || other.is_f64()) && one.as_f64() == other.as_f64()
        }
        (Value::String(expected), found) => Pattern::parse(expected).matches(found),
        _ => expected == found,
    }
}

/// Returns the path of a member of an object.
fn member_path(at: &str, key: &str) -> String {
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
    fn placeholders_match_inside_objects_and_arrays() {
        let expected = json!({"id": "$id", "at": "$time", "list": [{"n": "$number"}]});
        let found = json!({"id": "job-1", "at": "2026-01-01T00:00:00Z", "list": [{"n": 1}]});
        check(expected.clone(), found, &[]);
        check(
            expected,
            json!({"id": "job 1", "at": "noon", "list": [{"n": "1"}]}),
            &[
                "answer.at: expected \"$time\", found \"noon\"",
                "answer.id: expected \"$id\", found \"job 1\"",
                "answer.list[0].n: expected \"$number\", found \"1\"",
            ],
        );
    }

    #[test]
    fn three_dots_as_a_key_stand_for_the_other_members() {
        check(json!({"a": 1, "...": "$any"}), json!({"a": 1, "b": [], "c": null}), &[]);
        check(
            json!({"a": 1, "...": "$number"}),
            json!({"b": "2"}),
            &["answer.a: expected 1, found nothing", "answer.b: expected \"$number\", found \"2\""],
        );
        check(json!({"$...": 1}), json!({"...": 1}), &[]);
    }

    #[test]
    fn three_dots_as_an_element_stand_for_any_number_of_elements() {
        for expected in [
            json!(["..."]),
            json!([1, "..."]),
            json!(["...", 4]),
            json!([1, "...", 4]),
            json!(["...", 2, "...", 3, "..."]),
            json!([1, 2, "...", 3, 4]),
        ] {
            check(expected, json!([1, 2, 3, 4]), &[]);
        }
        check(json!([1, "..."]), json!([]), &["answer[0]: expected 1, found nothing"]);
        check(json!(["...", 4]), json!([4, 5]), &["answer[1]: expected 4, found 5"]);
        check(json!([1, "...", 1]), json!([1]), &["answer[1]: expected 1, found nothing"]);
        check(
            json!(["...", 3, "...", 2, "..."]),
            json!([1, 2, 3]),
            &["answer[...]: expected 2, found nothing"],
        );
    }

    #[test]
    fn a_long_value_is_truncated() {
        let mut differences = Vec::new();
        compare("answer", &json!(1), &json!("x".repeat(9000)), &mut differences);
        assert!(differences[0].to_string().len() < 500, "{}", differences[0]);
    }
}
