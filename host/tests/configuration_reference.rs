//! Checks that the schema of `host.toml` and its reference page agree with the parser: all
//! keys, their defaults and their ranges.
//!
//! `WRITE_DOCS=1 cargo test -p behaviour-host --test configuration_reference` updates the
//! tables of the page.

#![allow(clippy::unwrap_used, reason = "a failed `unwrap` fails the test")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use behaviour_host::Config;
use serde_json::Value;

/// Tables of `host.toml`: the heading on the page, the JSON pointer into the schema, and the
/// line that opens the table.
const TABLES: [(&str, &str, &str); 21] = [
    ("", "", ""),
    ("[hub]", "/properties/hub", "[hub]\n"),
    ("[hub.identity]", "/properties/hub/properties/identity", "[hub.identity]\n"),
    ("[provisioning]", "/properties/provisioning", "[provisioning]\n"),
    (
        "[provisioning.issued_certificate]",
        "/properties/provisioning/properties/issued_certificate",
        "[provisioning]\nid_scope = \"0ne00112233\"\n[provisioning.issued_certificate]\n",
    ),
    ("[host]", "/properties/host", "[host]\n"),
    ("[host.telemetry]", "/properties/host/properties/telemetry", "[host.telemetry]\n"),
    ("[host.metrics]", "/properties/host/properties/metrics", "[host.metrics]\n"),
    ("[host.otlp]", "/properties/host/properties/otlp", "[host.otlp]\n"),
    (
        "[host.otlp.metrics]",
        "/properties/host/properties/otlp/properties/metrics",
        "[host.otlp.metrics]\n",
    ),
    (
        "[host.otlp.traces]",
        "/properties/host/properties/otlp/properties/traces",
        "[host.otlp.traces]\n",
    ),
    ("[host.otlp.logs]", "/properties/host/properties/otlp/properties/logs", "[host.otlp.logs]\n"),
    ("[host.remote]", "/properties/host/properties/remote", "[host.remote]\n"),
    ("[host.registry]", "/properties/host/properties/registry", "[host.registry]\n"),
    ("[host.trust]", "/properties/host/properties/trust", "[host.trust]\n"),
    ("[fleet]", "/properties/fleet", "[fleet]\n"),
    ("[fleet.limits]", "/properties/fleet/properties/limits", "[fleet.limits]\n"),
    ("[fleet.http]", "/properties/fleet/properties/http", "[fleet.http]\n"),
    ("[plugins.NAME]", "/properties/plugins/additionalProperties", ""),
    (
        "[plugins.NAME.limits]",
        "/properties/plugins/additionalProperties/properties/limits",
        "[plugins.p.limits]\n",
    ),
    (
        "[plugins.NAME.http]",
        "/properties/plugins/additionalProperties/properties/http",
        "[plugins.p.http]\n",
    ),
];

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn schema() -> Value {
    let file = root().join("docs/schemas/host.schema.json");
    serde_json::from_str(&fs::read_to_string(file).unwrap()).unwrap()
}

/// Returns a configuration with `line` in the table that `heading` opens, and with all
/// required keys.
fn document(heading: &str, line: &str) -> String {
    let key = line.split_once(" = ").map_or(line, |(key, _)| key);
    // A table of the host does not have the keys of a plugin, even if the names are the same.
    let is_own = !heading.starts_with("[host");
    let unless = |name: &str, text: &str| {
        if is_own && key == name { String::new() } else { text.to_owned() }
    };
    let http = heading.contains(".http");
    let fleet = heading.contains("[fleet");
    let mut text = String::new();
    if fleet {
        // The keys of its own table come first.
        let own = heading == "[fleet]\n";
        text += "host.trust.keys = [\"k.pem\"]\n";
        text += "[fleet]\n";
        text += &if own {
            unless("images", "images = [\"r.example/p\"]\n")
        } else {
            "images = [\"r.example/p\"]\n".to_owned()
        };
        if http {
            text += "capabilities = [\"http\"]\n";
        } else if own {
            return text + line + "\n";
        }
    }
    if !fleet {
        text += "[plugins.p]\n";
        // A plugin has one of the two.
        if !line.starts_with("image ") {
            text += &unless("file", "file = \"p.wasm\"\n");
        }
        text += &unless("methods", "methods = [\"m\"]\n");
    }
    if http && !fleet {
        text += "capabilities = [\"http\"]\n";
    }
    if heading.is_empty() {
        return text + line + "\n";
    }
    text += heading;
    if heading.contains("[hub.identity]") {
        text += &unless("certificate_file", "certificate_file = \"d.pem\"\n");
        text += &unless("key_file", "key_file = \"k.pem\"\n");
    }
    if heading.contains("[provisioning]") && !heading.contains("issued") {
        text += &unless("id_scope", "id_scope = \"0ne00112233\"\n");
    }
    if http {
        text += &unless("hosts", "hosts = [\"a.example.com\"]\n");
    }
    text + line + "\n"
}

fn parse(text: &str) -> Result<Config, String> {
    Config::parse(text, Path::new("/etc/host")).map_err(|error| {
        let source = std::error::Error::source(&error).map(ToString::to_string);
        format!("{error}: {}", source.unwrap_or_default())
    })
}

/// Returns the keys that the parser lists in its error about an unknown key.
fn known_to_the_parser(text: &str) -> BTreeSet<String> {
    let error = parse(text).unwrap_err();
    let (_, known) = error.split_once(", expected ").unwrap_or_else(|| panic!("{error}\n{text}"));
    known.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// Returns the keys of a table, sorted by name.
fn keys(table: &Value) -> impl Iterator<Item = (&String, &Value)> {
    table["properties"].as_object().unwrap().iter().collect::<BTreeMap<_, _>>().into_iter()
}

/// Calls `check` for each key that is not a table itself, with the heading of its table, its
/// name and its schema.
fn each_key(schema: &Value, mut check: impl FnMut(&str, &str, &Value)) {
    for (_, pointer, heading) in TABLES {
        if pointer.is_empty() {
            continue;
        }
        for (key, about) in keys(schema.pointer(pointer).unwrap()) {
            if about.get("properties").is_none() {
                check(heading, key, about);
            }
        }
    }
}

fn as_toml(value: &Value) -> String {
    match value {
        Value::Object(_) => "{}".to_owned(),
        other => other.to_string(),
    }
}

#[test]
fn the_schema_has_every_key_of_the_parser_and_no_other() {
    let schema = schema();
    for (name, pointer, heading) in TABLES {
        let text = match name {
            "" => "not-a-key = 0\n".to_owned(),
            _ => document(heading, "not-a-key = 0"),
        };
        let described: BTreeSet<String> =
            keys(schema.pointer(pointer).unwrap()).map(|(key, _)| key.clone()).collect();
        assert_eq!(described, known_to_the_parser(&text), "{name}");
    }
}

#[test]
fn the_defaults_of_the_schema_are_those_of_the_parser() {
    each_key(&schema(), |heading, key, about| {
        let Some(default) = about.get("default") else { return };
        let named = parse(&document(heading, &format!("{key} = {}", as_toml(default))));
        let left_out = parse(&document(heading, ""));
        assert_eq!(named.unwrap(), left_out.unwrap(), "{heading}{key} = {default}");
    });
}

#[test]
fn only_values_within_their_range_are_accepted() {
    let duration = |text: &Value| {
        let (number, unit) = text
            .as_str()
            .unwrap()
            .split_at(text.as_str().unwrap().find(|c: char| c.is_alphabetic()).unwrap());
        let number: u64 = number.parse().unwrap();
        Duration::from_millis(match unit {
            "ms" => number,
            "s" => number * 1000,
            "m" => number * 60_000,
            "h" => number * 3_600_000,
            other => panic!("{other}"),
        })
    };
    let check = |heading: &str, key: &str, value: String, fits: bool| {
        let text = document(heading, &format!("{key} = {value}"));
        assert_eq!(parse(&text).is_ok(), fits, "{text}");
    };
    each_key(&schema(), |heading, key, about| {
        for (limit, step) in [("minimum", -1), ("maximum", 1)] {
            if let Some(number) = about.get(limit).and_then(Value::as_i64) {
                check(heading, key, number.to_string(), true);
                check(heading, key, (number + step).to_string(), false);
            }
        }
        if let Some(least) = about.get("x-least").map(duration) {
            check(heading, key, format!("\"{}ms\"", least.as_millis()), true);
            if let Some(less) = least.checked_sub(Duration::from_millis(1)) {
                check(heading, key, format!("\"{}ms\"", less.as_millis()), false);
            }
        }
        if let Some(most) = about.get("x-most").map(duration) {
            check(heading, key, format!("\"{}ms\"", most.as_millis()), true);
            check(heading, key, format!("\"{}ms\"", most.as_millis() + 1), false);
        }
        for value in about.get("enum").and_then(Value::as_array).into_iter().flatten() {
            check(heading, key, value.to_string(), true);
        }
        if about.get("enum").is_some() {
            check(heading, key, "\"another\"".to_owned(), false);
        }
    });
}

/// Returns the first violation of the schema in a document.
fn misfit(value: &toml::Value, schema: &Value, path: &str) -> Option<String> {
    let kind = schema["type"].as_str();
    let fits = match kind {
        Some("object") => value.is_table(),
        Some("array") => value.is_array(),
        Some("string") => value.is_str(),
        Some("integer") => value.is_integer(),
        Some("boolean") => value.is_bool(),
        _ => true,
    };
    if !fits {
        return Some(format!("{path}: not of type {kind:?}"));
    }
    if let (Some(values), Some(text)) = (schema["enum"].as_array(), value.as_str())
        && !values.iter().any(|value| value == text)
    {
        return Some(format!("{path}: `{text}` is not one of {values:?}"));
    }
    if let Some(items) = value.as_array() {
        return items.iter().find_map(|item| misfit(item, &schema["items"], path));
    }
    let table = value.as_table()?;
    let required = schema["required"].as_array().into_iter().flatten();
    if let Some(key) = required.filter_map(Value::as_str).find(|key| !table.contains_key(*key)) {
        return Some(format!("{path}: no `{key}`"));
    }
    table.iter().find_map(|(key, value)| {
        let path = format!("{path}.{key}");
        match (&schema["properties"][key], &schema["additionalProperties"]) {
            (Value::Null, Value::Bool(false)) => Some(format!("{path}: unknown key")),
            (Value::Null, others) => misfit(value, others, &path),
            (known, _) => misfit(value, known, &path),
        }
    })
}

#[test]
fn the_example_is_valid_and_shows_every_key() {
    let schema = schema();
    let example = fs::read_to_string(root().join("host/host.example.toml")).unwrap();
    let set: Vec<&str> =
        example.lines().map(|line| line.strip_prefix("#: ").unwrap_or(line)).collect();
    assert_eq!(misfit(&set.join("\n").parse::<toml::Table>().unwrap().into(), &schema, ""), None);
    each_key(&schema, |heading, key, _| {
        let named = example.lines().any(|line| {
            line.trim_start_matches(['#', ':', ' ']).split_once(" =").is_some_and(|(k, _)| k == key)
        });
        assert!(named || key == "config", "{heading}{key} is not in host.example.toml");
    });
}

#[test]
fn the_schema_refuses_what_the_parser_refuses() {
    let schema = schema();
    for text in [
        "[hub]\nprot = 1\n",
        "[hub]\nport = \"x\"\n[plugins.p]\nfile = \"p\"\nmethods = [\"m\"]\n",
        "[plugins.p]\nfile = \"p\"\n",
        "[plugins.p]\nfile = \"p\"\nmethods = [\"m\"]\ncapabilities = [\"flying\"]\n",
        "[plugins.p]\nfile = \"p\"\nmethods = [\"m\"]\nlimits.memory = 1\n",
        "[host.telemetry]\nwhen_full = \"panic\"\n[plugins.p]\nfile = \"p\"\nmethods = [\"m\"]\n",
    ] {
        assert!(parse(text).is_err(), "{text}");
        let document = text.parse::<toml::Table>().unwrap();
        assert!(misfit(&document.into(), &schema, "").is_some(), "{text}");
    }
}

fn cell_of_type(about: &Value) -> String {
    if let Some(values) = about["enum"].as_array() {
        return values.iter().map(|value| format!("`{value}`")).collect::<Vec<_>>().join(", ");
    }
    match about["type"].as_str().unwrap() {
        "string" => about["x-type"].as_str().unwrap_or("text").to_owned(),
        "array" if about["items"].get("enum").is_some() => "names".to_owned(),
        "array" => "texts".to_owned(),
        "object" => "table".to_owned(),
        other => other.to_owned(),
    }
}

fn cell_of_range(about: &Value) -> String {
    let end =
        |name: &str| about.get(name).map(|end| end.as_str().map_or(end.to_string(), str::to_owned));
    let (least, most) = (end("minimum").or(end("x-least")), end("maximum").or(end("x-most")));
    match (least, most) {
        (Some(least), Some(most)) => format!("{least} to {most}"),
        (Some(least), None) => format!("from {least}"),
        _ => String::new(),
    }
}

fn table(schema: &Value) -> String {
    let required: Vec<&str> =
        schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    let mut text = "| Key | Type | Default | Range | Meaning |\n|---|---|---|---|---|\n".to_owned();
    for (key, about) in keys(schema).filter(|(_, about)| about.get("properties").is_none()) {
        let default = match about.get("default") {
            Some(default) => format!("`{}`", as_toml(default)),
            None if required.contains(&key.as_str()) => "required".to_owned(),
            None => "none".to_owned(),
        };
        text += &format!(
            "| `{key}` | {} | {default} | {} | {} |\n",
            cell_of_type(about),
            cell_of_range(about),
            about["description"].as_str().unwrap()
        );
    }
    text
}

#[test]
fn the_page_has_the_tables_of_the_schema() {
    let file = root().join("docs/reference/configuration.md");
    let mut page = fs::read_to_string(&file).unwrap();
    let schema = schema();
    for (name, pointer, _) in TABLES.into_iter().filter(|(name, ..)| !name.is_empty()) {
        let (start, end) = (format!("<!-- keys: {name} -->\n"), "<!-- end -->");
        let from = page.find(&start).unwrap_or_else(|| panic!("no {start}")) + start.len();
        let to = from + page[from..].find(end).unwrap();
        page.replace_range(from..to, &table(schema.pointer(pointer).unwrap()));
    }
    if std::env::var_os("WRITE_DOCS").is_some() {
        fs::write(&file, &page).unwrap();
    }
    assert!(
        page == fs::read_to_string(&file).unwrap(),
        "docs/reference/configuration.md is not what the schema says: run with WRITE_DOCS=1"
    );
}
