//! Parsing of TOML into a type, with all errors at once.
//!
//! `serde` ends at the first error. [`parse`] removes the invalid entry and parses the rest
//! again, so that every unknown key and every value of a wrong type is reported.

use ::toml::de::{DeTable, DeValue, Deserializer};
use serde::de::DeserializeOwned;
use serde_path_to_error::{Path, Segment};

use crate::words::TOML_WORDS;

/// The maximum number of errors of one text.
const MAX_ERRORS: usize = 20;

/// An error in a TOML text. The message is one line that names the key.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {problem}")]
pub struct TomlError {
    /// The number of the line, from 1.
    pub line: usize,
    /// The problem, in the words of TOML.
    pub problem: String,
    /// The keys of the invalid entry, from the root.
    pub path: Vec<String>,
}

/// Parses a text. Returns the value without the invalid entries, if there is one, and all
/// errors, sorted by line. A text that is not TOML has one error.
#[must_use]
pub fn parse<T: DeserializeOwned>(text: &str) -> (Option<T>, Vec<TomlError>) {
    let mut table = match DeTable::parse(text) {
        Ok(table) => table,
        Err(error) => return (None, vec![describe(&error, text, Vec::new())]),
    };
    let mut errors = Vec::new();
    let value = loop {
        let deserializer = Deserializer::from(table.clone());
        let error = match serde_path_to_error::deserialize(deserializer) {
            Ok(value) => break Some(value),
            Err(error) => error,
        };
        let mut path = keys(error.path());
        let error = error.into_inner();
        let missing = quoted(error.message(), "missing field ");
        let is_follow_up = missing.is_some_and(|key| {
            let missing: Vec<_> = path.iter().map(String::as_str).chain([key]).collect();
            errors.iter().any(|earlier: &TomlError| earlier.path == missing)
        });
        if !is_follow_up {
            errors.push(describe(&error, text, path.clone()));
        }
        // An entry is removed with the table around it if it is required.
        if errors.len() == MAX_ERRORS || !remove(table.get_mut(), &mut path) {
            break None;
        }
    };
    errors.sort_by_key(|error| error.line);
    (value, errors)
}

/// Returns the keys of a path up to the first array, whose elements are not removed one by one.
fn keys(path: &Path) -> Vec<String> {
    let keys = path.iter().map_while(|segment| match segment {
        Segment::Map { key } => Some(key.clone()),
        _ => None,
    });
    keys.collect()
}

/// Removes the entry at a path. Returns `false` if there is none.
fn remove(table: &mut DeTable<'_>, path: &mut Vec<String>) -> bool {
    let Some(last) = path.pop() else { return false };
    let mut table = table;
    for key in path.iter() {
        match table.get_mut(key.as_str()).map(|value| value.get_mut()) {
            Some(DeValue::Table(inner)) => table = inner,
            _ => return false,
        }
    }
    table.remove(last.as_str()).is_some()
}

/// Describes an error at a path.
fn describe(error: &::toml::de::Error, text: &str, path: Vec<String>) -> TomlError {
    let offset = error.span().map_or(0, |span| span.start).min(text.len());
    let line = text.as_bytes()[..offset].iter().filter(|byte| **byte == b'\n').count() + 1;
    let message = error.message().replace('\n', " ");
    let entry = dotted(&path);
    let problem = if let Some((_, known)) = message.split_once(", expected ")
        && message.starts_with("unknown field ")
    {
        format!("unknown key `{entry}`, expected {known}")
    } else if let Some(key) = quoted(&message, "missing field ") {
        let path: Vec<_> = path.iter().cloned().chain([key.to_owned()]).collect();
        format!("key `{}` is missing", dotted(&path))
    } else if let Some(words) = TOML_WORDS.type_error(&message) {
        format!("`{entry}` {words}")
    } else if let Some(rest) = message.strip_prefix("unknown variant ") {
        format!("`{entry}`: unknown value {rest}")
    } else if message == "duplicate key" {
        duplicate(text, line)
    } else if path.is_empty() {
        message
    } else {
        format!("`{entry}`: {message}")
    };
    TomlError { line, problem, path }
}

/// Describes a key or a table in a line that is also in an earlier line.
fn duplicate(text: &str, line: usize) -> String {
    let mut lines = text.lines().map(str::trim);
    let this = lines.clone().nth(line - 1).unwrap_or_default();
    let Some(header) = this.strip_prefix('[').and_then(|rest| rest.split(']').next()) else {
        let key = this.split('=').next().unwrap_or_default().trim();
        return format!("key `{key}` is already in its table");
    };
    let header = format!("[{header}]");
    match lines.position(|earlier| earlier.starts_with(&header)) {
        Some(first) if first + 1 < line => {
            format!("`{header}` is already in line {}; add its keys there", first + 1)
        }
        _ => format!("`{header}` exists already; add its keys there"),
    }
}

/// Returns the name in backticks after a prefix.
fn quoted<'a>(message: &'a str, prefix: &str) -> Option<&'a str> {
    message.strip_prefix(prefix)?.strip_prefix('`')?.split('`').next()
}

/// Returns keys as TOML writes them.
fn dotted(path: &[String]) -> String {
    let is_bare = |key: &str| {
        !key.is_empty() && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b))
    };
    let keys = path.iter().map(|key| match is_bare(key) {
        true => key.clone(),
        // The key may be a URL with a password.
        false => format!("{:?}", json::readable_url(key)),
    });
    keys.collect::<Vec<_>>().join(".")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        #[serde(default)]
        hub: Hub,
        #[serde(default)]
        plugins: BTreeMap<String, Plugin>,
    }

    #[derive(Debug, Default, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Hub {
        port: Option<u16>,
        #[serde(default)]
        names: Vec<String>,
    }

    #[derive(Debug, Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Plugin {
        file: String,
    }

    fn errors(text: &str) -> Vec<String> {
        parse::<File>(text).1.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn every_error_is_reported_with_its_line_and_key() {
        let text = "[plugins.a]\nfile = 5\nfiel = 1\n[hub]\nprot = 1\nport = 70000\nnames = [1, 2]\n\
                    [plugins.\"b c\"]\n[plugins.d]\nfile = \"d\"\n";
        let (file, _) = parse::<File>(text);
        let file = file.unwrap();
        assert_eq!(file.plugins.keys().collect::<Vec<_>>(), ["d"]);
        assert_eq!((file.hub.port, file.hub.names.len()), (None, 0));
        assert_eq!(
            errors(text),
            [
                "line 2: `plugins.a.file` is 5, not a string",
                "line 3: unknown key `plugins.a.fiel`, expected `file`",
                "line 5: unknown key `hub.prot`, expected `port` or `names`",
                "line 6: `hub.port` is 70000, not an integer from 0 to 65535",
                "line 7: `hub.names` is 1, not a string",
                "line 8: key `plugins.\"b c\".file` is missing",
            ]
        );
    }

    #[test]
    fn a_text_that_is_not_toml_has_one_error() {
        let (file, errors) = parse::<File>("[hub\nport = 1\n[plugins");
        assert!(file.is_none());
        assert_eq!(errors.len(), 1, "{errors:?}");
        assert_eq!(errors[0].line, 1);
    }

    #[test]
    fn a_repeated_table_or_key_is_named_with_the_place_of_the_first() {
        for (text, expected) in [
            (
                "[hub]\nport = 1\n\n[hub] # again\nnames = []\n",
                "line 4: `[hub]` is already in line 1; add its keys there",
            ),
            (
                "hub.port = 1\n[hub]\nnames = []\n",
                "line 2: `[hub]` exists already; add its keys there",
            ),
            ("[hub]\nport = 1\nport = 2\n", "line 3: key `port` is already in its table"),
        ] {
            assert_eq!(errors(text), [expected]);
        }
    }

    #[test]
    fn a_valid_text_has_no_error() {
        let (file, errors) = parse::<File>("[plugins.a]\nfile = \"a\"\n");
        assert_eq!((file.unwrap().plugins["a"].file.as_str(), errors), ("a", Vec::new()));
    }

    #[test]
    fn the_number_of_errors_is_bounded() {
        let text: String = (0..1000).map(|number| format!("key{number} = 1\n")).collect();
        assert_eq!(errors(&text).len(), MAX_ERRORS);
    }
}
