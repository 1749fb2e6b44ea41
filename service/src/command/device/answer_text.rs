//! The answers of a host as text.

use std::fmt::Write as _;

use program::note;
use serde_json::{Map, Value};

pub(super) fn items<'a>(answer: &'a Value, name: &str) -> impl Iterator<Item = &'a Value> {
    answer[name].as_array().into_iter().flatten()
}

pub(super) fn note_left_out(answer: &Value, what: &str) {
    if let Some(count) = answer["left_out"].as_u64().filter(|count| *count > 0) {
        note(format_args!("{count} {what} left out: the answer of a method is limited to 128 KiB"));
    }
}

/// Returns one line for each property that is not `null`.
pub(super) fn properties(value: &Value) -> String {
    let none = Map::new();
    let members = value.as_object().unwrap_or(&none).iter();
    let lines = members.filter(|(_, value)| !value.is_null()).map(|(name, value)| {
        format!("{:<20} {}", json::escape(&name.replace('_', " ")), cell(value))
    });
    lines.collect::<Vec<_>>().join("\n")
}

/// Returns a header and one line for each plugin.
pub(super) fn plugins(answer: &Value) -> Vec<String> {
    let row = |cells: [&str; 5]| {
        let [name, version, state, answered, digest] = cells;
        format!("{name:<20} {version:<8} {state:<12} {answered:<9} {digest}")
    };
    let mut lines = vec![row(["NAME", "VERSION", "STATE", "ANSWERED", "DIGEST"])];
    for plugin in items(answer, "plugins") {
        let digest = cell(&plugin["digest"]);
        let digest = digest.chars().take(12).collect::<String>();
        let cells = [
            cell(&plugin["name"]),
            cell(&plugin["version"]),
            cell(&plugin["state"]),
            cell(&plugin["counters"]["answered"]),
            digest,
        ];
        lines.push(row(cells.each_ref().map(String::as_str)));
        if let Some(error) = plugin["last_error"].as_str() {
            lines.push(format!("{}: {}", cell(&plugin["name"]), json::escape(error)));
        }
    }
    lines
}

/// Says that changes in the device's `host.toml` wait for a restart, if they do.
pub(super) fn note_restart(answer: &Value) {
    if answer["restart_needed"] == true {
        note("changes in the device's host.toml take effect after a restart of the host");
    }
}

/// Returns a log line as text.
pub(super) fn log_line(line: &Value) -> String {
    let text = |name: &str| line[name].as_str().unwrap_or_default();
    let (time, level, method) = (text("time"), text("level"), text("method"));
    let mut shown = format!("{time} {level:<5}  {method}  {}", text("message"));
    for (key, value) in line["fields"].as_object().into_iter().flatten() {
        // Writing to a string does not fail.
        let _ = write!(shown, "  {key}={}", value.as_str().unwrap_or_default());
    }
    let _ = write!(shown, "  call={}", text("call"));
    json::escape(&shown).into_owned()
}

fn cell(value: &Value) -> String {
    match value {
        Value::String(text) => json::escape(text).into_owned(),
        Value::Object(counts) => {
            let counts = counts.iter();
            let counts = counts.map(|(name, count)| format!("{count} {}", json::escape(name)));
            counts.collect::<Vec<_>>().join(", ")
        }
        value => value.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn answers_are_shown_line_by_line_without_control_characters() {
        let status = json!({ "device": "d1\u{1b}", "plugins": { "active": 2, "disabled": 1 }, "reason": null });
        let device = format!("{:<20} {}", "device", r"d1\u{1b}");
        let plugins_line = format!("{:<20} {}", "plugins", "2 active, 1 disabled");
        assert_eq!(properties(&status), format!("{device}\n{plugins_line}"));
        let line = json!({
            "time": "t", "level": "info", "method": "m", "message": "a\nb",
            "fields": { "k": "v" }, "call": "c",
        });
        assert_eq!(log_line(&line), "t info   m  a\\nb  k=v  call=c");
        let answer = json!({ "plugins": [{
            "name": "fan", "version": 2, "state": "active", "digest": "0123456789abcdef",
            "counters": { "answered": 7 }, "last_error": "rolled\u{7}back",
        }] });
        let expected = [
            "NAME                 VERSION  STATE        ANSWERED  DIGEST",
            "fan                  2        active       7         0123456789ab",
            "fan: rolled\\u{7}back",
        ];
        assert_eq!(plugins(&answer), expected);
    }
}
