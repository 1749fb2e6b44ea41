//! Positions in source files, such as `plugin.js:12:5`.
//!
//! Messages and stacks of a failure name them. They change with each edit of the file, so they
//! are not compared.

use std::borrow::Cow;

use serde_json::Value;

/// The extensions of source files.
const EXTENSIONS: [&str; 16] = [
    "js", "mjs", "ts", "py", "lua", "rs", "go", "zig", "nim", "d", "c", "h", "cc", "cpp", "hpp",
    "wat",
];

/// Removes the positions from all strings of a value.
pub(super) fn without(value: &Value) -> Value {
    match value {
        Value::String(text) => text_without(text).into(),
        Value::Array(items) => items.iter().map(without).collect(),
        Value::Object(members) => {
            let members = members.iter().map(|(key, value)| (key.clone(), without(value)));
            Value::Object(members.collect())
        }
        other => other.clone(),
    }
}

/// Removes the line and column numbers that follow the name of a source file.
fn text_without(text: &str) -> Cow<'_, str> {
    let mut kept = String::new();
    let mut rest = text;
    while let Some(at) = rest.find('.') {
        let (before, after) = rest.split_at(at + 1);
        kept.push_str(before);
        let end = after.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(after.len());
        let (extension, place) = after.split_at(end);
        kept.push_str(extension);
        let is_source = EXTENSIONS.contains(&extension) && !before.ends_with(" .");
        rest = if is_source { after_place(place) } else { place };
    }
    match kept.is_empty() {
        true => text.into(),
        false => (kept + rest).into(),
    }
}

/// Removes a position from the start of a text: `:12`, `:12:5`, `(12)`, `(12, 5)`, or
/// `", line 12`.
fn after_place(text: &str) -> &str {
    if let Some(inner) = text.strip_prefix('(') {
        let numbers = inner.trim_start_matches(|c: char| c.is_ascii_digit() || ", ".contains(c));
        return match numbers.strip_prefix(')') {
            Some(rest) if numbers.len() < inner.len() => rest,
            _ => text,
        };
    }
    if let Some(rest) = text.strip_prefix("\", line ") {
        return digits(rest).unwrap_or(text);
    }
    let mut rest = text;
    while let Some(after) = rest.strip_prefix(':').and_then(digits) {
        rest = after;
    }
    rest
}

/// Removes digits from the start of a text. Returns `None` if it does not begin with one.
fn digits(text: &str) -> Option<&str> {
    let rest = text.trim_start_matches(|c: char| c.is_ascii_digit());
    (rest.len() < text.len()).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_removed_as_each_language_writes_them() {
        for (text, without) in [
            ("failed: Error: x (bolt.js:5)", "failed: Error: x (bolt.js)"),
            ("at deep (lib/bolt.ts:5:17)\nat invoke", "at deep (lib/bolt.ts)\nat invoke"),
            ("File \"/plugin.py\", line 12, in invoke", "File \"/plugin.py, in invoke"),
            ("panicked at src/lib.rs:12:5:", "panicked at src/lib.rs:"),
            ("plugin.lua:7: no door", "plugin.lua: no door"),
            ("plugin.nim(12, 5) invoke", "plugin.nim invoke"),
            ("plugin.d(31): Range violation", "plugin.d: Range violation"),
        ] {
            assert_eq!(text_without(text), without);
        }
    }

    #[test]
    fn other_numbers_stay() {
        for text in ["a.org:443", "1.5:3", "door 7", "v1.2.3", "plugin.js", "f.rs(x)", "... 12", ""]
        {
            assert_eq!(text_without(text), text);
        }
    }
}
