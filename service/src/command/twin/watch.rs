//! The command `behaviour-service twin watch`.

use std::convert::Infallible;
use std::str::FromStr;
use std::time::Duration;

use anyhow::Context as _;
use behaviour_service::{Client, Target, Twin};
use clap::Args;
use jiff::Timestamp;
use program::{candidates, counted, note, say};
use protocol::twin::FIELDS;
use serde_json::{Map, Value};

use crate::command::input;
use crate::command::show::{self, OutputFormat};
use crate::command_error::CommandError;
use crate::known_ids;

/// The fields of a twin whose changes `--diff` prints. The others, such as the version, change
/// along with these.
const COMPARED: &[&str] = &["connectionState", "status", "tags", "properties"];

const EXAMPLES: &str = "\
Examples:
  behaviour-service twin watch my-device
  behaviour-service twin watch my-device --diff
  behaviour-service twin watch my-device --path properties.reported.battery --every 5s";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct WatchArguments {
    /// The device's id, or DEVICE/MODULE
    #[arg(add = candidates(known_ids::of_devices))]
    device: Target,
    /// The time between two reads of the twin
    #[arg(long, default_value = "1s", value_parser = input::interval, value_name = "TIME")]
    every: Duration,
    /// Print only the changed values, and not the twin at first
    #[arg(long)]
    diff: bool,
    /// Print only the value at this path, such as properties.reported.battery
    #[arg(long, value_name = "PATH")]
    path: Option<TwinPath>,
}

/// The path of a value in a twin.
#[derive(Debug, Clone)]
struct TwinPath(Vec<String>);

impl FromStr for TwinPath {
    type Err = String;

    fn from_str(text: &str) -> Result<TwinPath, String> {
        let keys: Vec<&str> = text.split('.').collect();
        let is_valid = match keys[..] {
            ["properties"] => true,
            ["properties", section, ..] => ["desired", "reported"].contains(&section),
            [field, ..] => FIELDS.contains(&field),
            [] => false,
        };
        if !is_valid || keys.contains(&"") {
            return Err("a twin has no such path; expected one such as tags.floor, \
                        properties.desired.interval or properties.reported.battery"
                .to_owned());
        }
        Ok(TwinPath(keys.into_iter().map(str::to_owned).collect()))
    }
}

impl TwinPath {
    fn find<'a>(&self, twin: &'a Value) -> Option<&'a Value> {
        self.0.iter().try_fold(twin, |value, key| value.get(key))
    }
}

/// Prints the twin, its changes or one value, and again after each change. Each line has the time
/// at which the change was read. JSON has the whole twin, unless the options select values.
pub(super) async fn watch(
    arguments: WatchArguments,
    client: &Client,
    show: OutputFormat,
) -> Result<Infallible, CommandError> {
    let WatchArguments { device, every, diff, path } = arguments;
    let mut last: Option<Twin> = None;
    loop {
        let twin = client.twin(&device).await?;
        let after = serde_json::to_value(&twin).context("twin")?;
        let before = last.as_ref().map(serde_json::to_value).transpose().context("twin")?;
        match (&before, &path) {
            // On some hubs, reported properties do not change the version of the twin.
            (Some(before), _) if is_equal(before, &after) => {}
            _ if show.as_json && !diff && path.is_none() => show::json(&after),
            (None, None) if !diff => {
                say(format_args!("{:.3}  {}", Timestamp::now(), show::twin_text(&twin)));
            }
            (_, Some(path)) if !diff => print(&value_line(path, before.as_ref(), &after), show),
            (None, _) => {
                note(format_args!("{device}: version {}, waiting for changes", twin.version));
            }
            (Some(before), path) => print(&diff_lines(path.as_ref(), before, &after), show),
        }
        let missed = before.map_or(0, |before| missed_changes(&before, &after));
        if missed > 0 {
            let changes = counted(missed, "change");
            note(format_args!(
                "{changes} between two reads not shown; a shorter --every shows more of them"
            ));
        }
        last = Some(twin);
        tokio::time::sleep(every).await;
    }
}

/// Returns `true` if two twins have the same values.
fn is_equal(before: &Value, after: &Value) -> bool {
    ["version", "properties", "connectionState"].iter().all(|key| before[key] == after[key])
}

/// Returns the number of changes between two reads whose results were overwritten before the
/// second one. Each change increases the version of its properties by one.
fn missed_changes(before: &Value, after: &Value) -> u64 {
    let version = |twin: &Value, section: &str| twin["properties"][section]["$version"].as_u64();
    let missed = ["desired", "reported"].map(|section| {
        let (before, after) = (version(before, section)?, version(after, section)?);
        // A device that was registered again begins with version 1.
        after.checked_sub(before)?.checked_sub(1)
    });
    missed.into_iter().flatten().sum()
}

/// A printed line: a path with its value, and with `--diff` its earlier value.
#[derive(Debug, PartialEq)]
struct Line {
    path: String,
    before: Option<Option<Value>>,
    value: Option<Value>,
}

fn print(lines: &[Line], show: OutputFormat) {
    let now = format!("{:.3}", Timestamp::now());
    for Line { path, before, value } in lines {
        if show.as_json {
            let mut object = Map::new();
            object.insert("time".to_owned(), now.as_str().into());
            object.insert("path".to_owned(), path.as_str().into());
            let before = before.as_ref().and_then(Option::as_ref);
            for (name, value) in [("before", before), ("value", value.as_ref())] {
                // A missing value is a missing member, unlike `null`.
                if let Some(value) = value {
                    object.insert(name.to_owned(), value.clone());
                }
            }
            show::json(&Value::Object(object));
        } else {
            let text = |value: &Option<Value>| match value {
                Some(value) => value.to_string(),
                None => "(missing)".to_owned(),
            };
            match before {
                Some(before) => {
                    say(format_args!("{now}  {path}: {} -> {}", text(before), text(value)));
                }
                None => say(format_args!("{now}  {}", text(value))),
            }
        }
    }
}

/// Returns a line if the value at the path has changed, or if it is the first.
fn value_line(path: &TwinPath, before: Option<&Value>, after: &Value) -> Vec<Line> {
    let value = path.find(after);
    match before {
        Some(before) if path.find(before) == value => Vec::new(),
        _ => vec![Line { path: path.0.join("."), before: None, value: value.cloned() }],
    }
}

/// Returns a line for each changed value.
fn diff_lines(path: Option<&TwinPath>, before: &Value, after: &Value) -> Vec<Line> {
    let mut lines = Vec::new();
    match path {
        Some(path) => {
            compare(&path.0.join("."), path.find(before), path.find(after), &mut lines);
        }
        None => {
            for field in COMPARED {
                compare(field, before.get(field), after.get(field), &mut lines);
            }
        }
    }
    lines
}

/// Adds a line for each value that differs. Descends into objects that both sides have, and
/// ignores the hub's own keys, such as `$metadata`.
fn compare(path: &str, before: Option<&Value>, after: Option<&Value>, lines: &mut Vec<Line>) {
    if let (Some(Value::Object(old)), Some(Value::Object(new))) = (before, after) {
        let added = new.keys().filter(|key| !old.contains_key(*key));
        for key in old.keys().chain(added).filter(|key| !key.starts_with('$')) {
            compare(&format!("{path}.{key}"), old.get(key), new.get(key), lines);
        }
    } else if before != after {
        let (before, value) = (Some(before.cloned()), after.cloned());
        lines.push(Line { path: path.to_owned(), before, value });
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn line(path: &str, before: Option<Value>, value: Option<Value>) -> Line {
        Line { path: path.to_owned(), before: Some(before), value }
    }

    #[test]
    fn a_difference_has_the_changed_values_only() {
        let before = json!({
            "version": 1, "tags": { "floor": 1 },
            "properties": { "reported": { "a": { "x": 1, "y": 2 }, "$version": 1 } },
        });
        let after = json!({
            "version": 2, "tags": {},
            "properties": { "reported": { "a": { "x": 3, "y": 2 }, "b": null, "$version": 2 } },
        });
        assert_eq!(
            diff_lines(None, &before, &after),
            [
                line("tags.floor", Some(json!(1)), None),
                line("properties.reported.a.x", Some(json!(1)), Some(json!(3))),
                line("properties.reported.b", None, Some(Value::Null)),
            ]
        );
        let path: TwinPath = "properties.reported.b".parse().unwrap();
        assert_eq!(
            diff_lines(Some(&path), &before, &after),
            [line("properties.reported.b", None, Some(Value::Null))]
        );
    }

    #[test]
    fn the_value_at_a_path_is_printed_at_first_and_when_it_changes() {
        let path: TwinPath = "properties.reported.a".parse().unwrap();
        let twin = |value: Value| json!({ "properties": { "reported": value } });
        let (first, second) = (twin(json!({ "a": 1 })), twin(json!({ "a": 1, "b": 2 })));
        let printed = |value| vec![Line { path: path.0.join("."), before: None, value }];
        assert_eq!(value_line(&path, None, &first), printed(Some(json!(1))));
        assert_eq!(value_line(&path, Some(&first), &second), []);
        assert_eq!(value_line(&path, Some(&second), &twin(json!({}))), printed(None));
    }

    #[test]
    fn changes_that_were_overwritten_before_they_were_read_are_counted() {
        let twin = |desired: u64, reported: u64| {
            json!({ "properties": {
                "desired": { "$version": desired }, "reported": { "$version": reported },
            } })
        };
        assert_eq!(missed_changes(&twin(1, 1), &twin(2, 1)), 0);
        assert_eq!(missed_changes(&twin(1, 1), &twin(3, 5)), 1 + 3);
        assert_eq!(missed_changes(&twin(7, 7), &twin(1, 1)), 0, "registered again");
        assert_eq!(missed_changes(&json!({}), &twin(3, 3)), 0);
    }

    #[test]
    fn a_path_that_no_twin_has_is_refused() {
        for text in ["reported.a", "properties.a", "tags..a", "", "tags."] {
            assert!(text.parse::<TwinPath>().is_err(), "{text}");
        }
        assert!("tags".parse::<TwinPath>().is_ok());
        assert!("properties.reported.$metadata".parse::<TwinPath>().is_ok());
    }
}
