//! Comparison of the pages with the code: quoted messages, the keys of `behaviour.toml`, and
//! the text of the contract.
//!
//! `WRITE_DOCS=1 cargo test -p docs --test pages` writes the table of
//! docs/reference/behaviour-toml.md and the page docs/reference/wit-text.md.

#![allow(clippy::unwrap_used, reason = "a failed `unwrap` fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use behaviour::{BuildOptions, Language, build};
use serde_json::Value;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().to_owned()
}

fn page(name: &str) -> String {
    fs::read_to_string(root().join("docs").join(name)).unwrap()
}

/// Returns the concatenated sources of the programs. Strings that continue on the next line
/// are joined.
fn sources() -> String {
    fn walk(folder: &Path, text: &mut String) {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                walk(&path, text);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                *text += &fs::read_to_string(path).unwrap();
            }
        }
    }
    let mut text = String::new();
    for package in ["host", "plugin", "hub", "service", "behaviour", "protocol", "trust", "program"]
    {
        walk(&root().join(package).join("src"), &mut text);
    }
    text.split("\\\n").map(str::trim_start).collect::<String>().replace("\\\"", "\"")
}

/// Returns the messages that are formatted as code in the first column of a page's tables.
fn messages(page: &str) -> Vec<String> {
    let rows = page.lines().filter(|line| line.starts_with("| "));
    let cells = rows.map(|row| row.trim_start_matches("| ").split(" | ").next().unwrap());
    cells.flat_map(|cell| cell.split('`').skip(1).step_by(2)).map(str::to_owned).collect()
}

#[test]
fn every_message_that_a_page_quotes_is_in_the_code() {
    let sources = sources();
    // Messages of the system and of the TOML parser.
    let foreign = ["No such file or directory"];
    let mut missing = Vec::new();
    for name in ["how-to/troubleshooting.md", "reference/log.md", "reference/failures.md"] {
        for message in messages(&page(name)) {
            let parts = message.split('…').map(str::trim).filter(|part| part.len() > 3);
            for part in parts.filter(|part| !foreign.contains(part)) {
                if !sources.contains(part) {
                    missing.push(format!("docs/{name}: `{part}` of `{message}`"));
                }
            }
        }
    }
    assert!(missing.is_empty(), "no program prints:\n{}", missing.join("\n"));
}

fn schema() -> Value {
    serde_json::from_str(&page("schemas/behaviour.schema.json")).unwrap()
}

/// Returns the error of `behaviour build` for this `behaviour.toml`.
fn refusal(text: &str) -> String {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("behaviour.toml"), text).unwrap();
    build(folder.path(), &BuildOptions::default()).unwrap_err().to_string()
}

#[test]
fn the_schema_has_exactly_the_keys_of_behaviour_toml() {
    let error = refusal("not-a-key = 0\n");
    let (_, known) = error.split_once(", expected ").unwrap_or_else(|| panic!("{error}"));
    let known: BTreeSet<&str> = known.split('`').skip(1).step_by(2).collect();
    let schema = schema();
    let described = schema["properties"].as_object().unwrap();
    assert_eq!(described.keys().map(String::as_str).collect::<BTreeSet<_>>(), known);
}

#[test]
fn the_schema_and_the_page_list_every_language() {
    let schema = schema();
    let listed = schema["properties"]["lang"]["enum"].as_array().unwrap();
    let listed: Vec<&str> = listed.iter().filter_map(Value::as_str).collect();
    assert_eq!(listed, Language::ALL.map(Language::name));
    let page = page("reference/behaviour-toml.md");
    for language in Language::ALL {
        let (name, entry) = (language.name(), language.entry());
        assert!(page.contains(&format!(" | `{name}` | `{entry}` |")), "{name}: {entry}");
    }
}

#[test]
fn the_page_lists_the_keys_of_behaviour_toml() {
    let file = root().join("docs/reference/behaviour-toml.md");
    let mut text = fs::read_to_string(&file).unwrap();
    let mut table = "| Key | Meaning |\n|---|---|\n".to_owned();
    let schema = schema();
    let keys: BTreeMap<_, _> = schema["properties"].as_object().unwrap().iter().collect();
    for (key, about) in keys {
        table += &format!("| `{key}` | {} |\n", about["description"].as_str().unwrap());
    }
    let start = "<!-- keys: behaviour.toml -->\n";
    let from = text.find(start).unwrap() + start.len();
    let to = from + text[from..].find("<!-- end -->").unwrap();
    text.replace_range(from..to, &table);
    if std::env::var_os("WRITE_DOCS").is_some() {
        fs::write(&file, &text).unwrap();
    }
    assert!(
        text == fs::read_to_string(&file).unwrap(),
        "docs/reference/behaviour-toml.md differs from the schema: run with WRITE_DOCS=1"
    );
}

/// The objects of a case: the JSON pointer into the schema, and a document with the key
/// `not-a-key` in that object.
const CASE_OBJECTS: [(&str, &str); 14] = [
    ("", r#"{"not-a-key": 0}"#),
    ("/properties/twin", r#"{"twin": {"not-a-key": 0}}"#),
    ("/properties/limits", r#"{"limits": {"not-a-key": 0}}"#),
    ("/$defs/exchange", r#"{"http": [{"not-a-key": 0}]}"#),
    ("/$defs/exchange/properties/request", r#"{"http": [{"request": {"not-a-key": 0}}]}"#),
    (
        "/$defs/exchange/properties/response",
        r#"{"http": [{"request": {"url": "http://a/"}, "response": {"not-a-key": 0}}]}"#,
    ),
    ("/$defs/step", r#"{"steps": [{"not-a-key": 0}]}"#),
    ("/$defs/expect", r#"{"steps": [{"expect": {"not-a-key": 0}}]}"#),
    ("/$defs/cloud_message", r#"{"message": {"not-a-key": 0}}"#),
    ("/$defs/message", r#"{"expect": {"telemetry": [{"not-a-key": 0}]}}"#),
    ("/$defs/job", r#"{"expect": {"jobs": [{"not-a-key": 0}]}}"#),
    ("/$defs/run", r#"{"expect": {"ran": [{"not-a-key": 0}]}}"#),
    ("/$defs/metric", r#"{"expect": {"metrics": [{"not-a-key": 0}]}}"#),
    ("/$defs/reboot", r#"{"expect": {"reboot": {"not-a-key": 0}}}"#),
];

/// Returns the error of a case file with this text, if there is one.
fn case_error(text: &str) -> Option<String> {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("a.json"), text).unwrap();
    behaviour::cases::find(folder.path()).unwrap().remove(0).case.err()
}

fn case_schema() -> Value {
    serde_json::from_str(&page("schemas/case.schema.json")).unwrap()
}

#[test]
fn the_schema_of_cases_has_exactly_the_keys_of_the_parser() {
    let schema = case_schema();
    for (pointer, text) in CASE_OBJECTS {
        let error = case_error(text).unwrap_or_else(|| panic!("{text} is accepted"));
        let (_, known) = error.split_once(", expected ").unwrap_or_else(|| panic!("{error}"));
        let known: BTreeSet<&str> = known.split('`').skip(1).step_by(2).collect();
        let described = schema.pointer(pointer).unwrap()["properties"].as_object().unwrap();
        let described: BTreeSet<&str> = described.keys().map(String::as_str).collect();
        assert_eq!(described, known, "{text}");
        assert_eq!(schema.pointer(pointer).unwrap()["additionalProperties"], false, "{pointer}");
    }
}

#[test]
fn the_parser_accepts_exactly_the_words_of_the_schema_of_cases() {
    let schema = case_schema();
    for (pointer, before, after) in [
        ("/properties/boot_outcome", r#"{"job": "j", "boot_outcome": "#, "}"),
        ("/$defs/step/properties/restart", r#"{"steps": [{"restart": "#, "}]}"),
        (
            "/$defs/metric/properties/kind",
            r#"{"method": "m", "expect": {"metrics": [{"kind": "#,
            "}]}}",
        ),
        ("/properties/capabilities/items", r#"{"method": "m", "capabilities": ["#, "]}"),
        (
            "/$defs/line/properties/level",
            r#"{"method": "m", "expect": {"log": [{"level": "#,
            "}]}}",
        ),
    ] {
        for word in schema.pointer(pointer).unwrap()["enum"].as_array().unwrap() {
            let text = format!("{before}{word}{after}");
            assert_eq!(case_error(&text), None, "{text}");
        }
        let text = format!(r#"{before}"not-a-word"{after}"#);
        assert!(case_error(&text).is_some(), "{text} is accepted");
    }
}

/// The files of the contract in the order of the page: the world, the types, the imports and
/// the exports.
const CONTRACT: [&str; 18] = [
    "world",
    "types",
    "context",
    "clock",
    "log",
    "config",
    "twin",
    "telemetry",
    "state",
    "jobs",
    "metrics",
    "power",
    "http",
    "methods",
    "deferred",
    "desired",
    "messages",
    "lifecycle",
];

#[test]
fn the_page_of_the_contract_contains_every_file() {
    let mut page = "# Text of the WIT contract\n\nThe complete files of [`wit/`](../../wit/). \
        [The WIT contract](wit.md) describes them.\n"
        .to_owned();
    for name in CONTRACT {
        let text = fs::read_to_string(root().join(format!("wit/{name}.wit"))).unwrap();
        page += &format!("\n## {name}\n\n```wit\n{text}```\n");
    }
    let files = fs::read_dir(root().join("wit")).unwrap().count();
    assert_eq!(files, CONTRACT.len(), "docs/pages.rs does not name every file of wit/");
    let file = root().join("docs/reference/wit-text.md");
    if std::env::var_os("WRITE_DOCS").is_some() {
        fs::write(&file, &page).unwrap();
    }
    assert!(
        fs::read_to_string(&file).is_ok_and(|found| found == page),
        "docs/reference/wit-text.md differs from wit/: run with WRITE_DOCS=1"
    );
}
