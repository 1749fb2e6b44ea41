//! Line-by-line comparison of a log with the expected log.
//!
//! An expected line is either a string, which is the message, or an object with some of
//! `level`, `message` and `fields`. The string `...` matches any number of lines. A message
//! or a value can be a placeholder.

use std::fmt;

use json::placeholder::REST;
use serde::Serialize;
use serde_json::{Value, json};

use super::compare::matches;
use super::positions;

/// The lines of a log and of the expected log, aligned with each other.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(transparent)]
pub struct LogDiff(pub Vec<(Side, String)>);

/// The origin of a line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Both the expected and the found log.
    Both,
    /// Only the expected log.
    Expected,
    /// Only the found log.
    Found,
}

/// Formats the lines like `diff`, with one marker for each line.
impl fmt::Display for LogDiff {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, (side, line)) in self.0.iter().enumerate() {
            let marker = match side {
                Side::Both => ' ',
                Side::Expected => '-',
                Side::Found => '+',
            };
            let end = if index + 1 == self.0.len() { "" } else { "\n" };
            write!(f, "{marker} {line}{end}")?;
        }
        Ok(())
    }
}

/// Checks that a value is a valid description of a line.
pub(super) fn check(expected: &Value) -> Result<(), String> {
    const KEYS: [&str; 3] = ["level", "message", "fields"];
    const LEVELS: [&str; 5] = ["trace", "debug", "info", "warn", "error"];
    match expected {
        Value::String(_) => Ok(()),
        Value::Object(parts) => {
            if let Some(key) = parts.keys().find(|key| !KEYS.contains(&key.as_str())) {
                return Err(format!("`{key}` is none of {}", KEYS.join(", ")));
            }
            match parts.get("level") {
                Some(level) if !LEVELS.iter().any(|known| level == known) => {
                    Err(format!("level: {level} is none of {}", LEVELS.join(", ")))
                }
                _ => Ok(()),
            }
        }
        other => Err(format!("{other} is neither a string nor an object")),
    }
}

/// Compares a log with the expected log. Each found line is an object with `level`,
/// `message` and `fields`. Returns `None` if the logs match.
pub(super) fn compare(expected: &[Value], found: &[Value]) -> Option<LogDiff> {
    let lines = align(expected, found);
    lines.iter().any(|(side, _)| *side != Side::Both).then_some(LogDiff(lines))
}

/// Returns the alignment with the fewest lines that are in only one of the logs. Uses a
/// table of edit distances that is filled from the end.
fn align(expected: &[Value], found: &[Value]) -> Vec<(Side, String)> {
    let (rows, columns) = (expected.len(), found.len());
    let mut distances = vec![vec![0_usize; columns + 1]; rows + 1];
    for row in (0..=rows).rev() {
        for column in (0..=columns).rev() {
            let any = expected.get(row).is_some_and(is_any);
            let mut best = usize::MAX;
            if row == rows && column == columns {
                best = 0;
            }
            if row < rows {
                best = best.min(distances[row + 1][column] + usize::from(!any));
            }
            if column < columns {
                best = best.min(distances[row][column + 1] + usize::from(!any));
            }
            if row < rows && column < columns && fits(&expected[row], &found[column]) {
                best = best.min(distances[row + 1][column + 1]);
            }
            distances[row][column] = best;
        }
    }

    let (mut row, mut column, mut lines) = (0, 0, Vec::new());
    while row < rows || column < columns {
        let here = distances[row][column];
        let any = expected.get(row).is_some_and(is_any);
        let step = usize::from(!any);
        if row < rows
            && column < columns
            && fits(&expected[row], &found[column])
            && distances[row + 1][column + 1] == here
        {
            lines.push((Side::Both, format_line(&found[column])));
            (row, column) = (row + 1, column + 1);
        } else if row < rows && distances[row + 1][column] + step == here {
            if !any {
                lines.push((Side::Expected, format_line(&expected[row])));
            }
            row += 1;
        } else {
            let side = if any { Side::Both } else { Side::Found };
            lines.push((side, format_line(&found[column])));
            column += 1;
        }
    }
    lines
}

fn is_any(expected: &Value) -> bool {
    expected == REST
}

/// Returns `true` if a found line matches an expected line. Positions in source files can
/// differ.
fn fits(expected: &Value, found: &Value) -> bool {
    let (expected, found) = (positions::without(expected), positions::without(found));
    match &expected {
        Value::String(message) => message != REST && matches(&expected, &found["message"]),
        Value::Object(parts) => parts.iter().all(|(key, value)| match (key.as_str(), value) {
            ("fields", Value::Object(fields)) => fields.iter().all(|(name, value)| {
                found["fields"].get(name).is_some_and(|found| matches(value, found))
            }),
            _ => matches(value, &found[key]),
        }),
        _ => false,
    }
}

/// Formats a line for the user: the level unless it is `info`, the message and the fields.
fn format_line(line: &Value) -> String {
    let Value::Object(parts) = line else {
        return line.as_str().map_or_else(|| line.to_string(), str::to_owned);
    };
    let text = |key: &str| parts.get(key).and_then(Value::as_str).unwrap_or_default();
    let mut shown = match text("level") {
        "" | "info" => String::new(),
        level => format!("{level}: "),
    };
    shown.push_str(text("message"));
    let fields = parts.get("fields").filter(|fields| **fields != json!({}));
    if let Some(Value::Object(fields)) = fields {
        for (name, value) in fields {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            shown.push_str(&format!(" {name}={value}"));
        }
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(messages: &[&str]) -> Vec<Value> {
        let line = |message| json!({"level": "info", "message": message, "fields": {"n": "1"}});
        messages.iter().map(line).collect()
    }

    #[track_caller]
    fn check(expected: Value, messages: &[&str], diff: Option<&str>) {
        let expected = expected.as_array().unwrap();
        let lines = compare(expected, &found(messages)).map(|lines| lines.to_string());
        assert_eq!(lines.as_deref(), diff);
    }

    #[test]
    fn a_log_as_expected_has_no_difference() {
        check(json!(["a", "b"]), &["a", "b"], None);
        check(json!([]), &[], None);
        check(
            json!([{"message": "a"}, {"fields": {"n": "1"}, "level": "info"}]),
            &["a", "b"],
            None,
        );
    }

    #[test]
    fn three_dots_match_any_number_of_lines() {
        check(json!(["...", "b", "..."]), &["a", "b"], None);
        check(json!(["a", "..."]), &["a", "b", "c"], None);
        check(json!(["..."]), &[], None);
        check(json!(["...", "c"]), &["a", "b"], Some("  a n=1\n  b n=1\n- c"));
    }

    #[test]
    fn lines_that_differ_only_in_positions_match() {
        check(json!(["at f (a.js:3)"]), &["at f (a.js:19)"], None);
        check(
            json!(["at f (a.js:3)"]),
            &["at g (a.js:3)"],
            Some("- at f (a.js:3)\n+ at g (a.js:3) n=1"),
        );
    }

    #[test]
    fn missing_and_surplus_lines_are_shown_at_their_position() {
        check(json!(["a", "b", "c"]), &["a", "c", "d"], Some("  a n=1\n- b\n  c n=1\n+ d n=1"));
        check(json!([{"level": "warn"}]), &["a"], Some("- warn: \n+ a n=1"));
    }
}
