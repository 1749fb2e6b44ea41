//! What the operator may change about the reboot.
//!
//! The host hands a plugin the table `[plugins.NAME.config]` as pairs of texts:
//! ```toml
//! delay_seconds = 20          # how long a reboot takes; a call's payload may say otherwise
//! property = "rebootTime"     # where the time is reported; dots nest: "status.lastReboot"
//! report = { reason = "asked" }   # what is reported beside it
//! ```
//! A setting of another name is an error, since a misspelt one would be lost.

use std::time::Duration;

use serde_json::{Map, Value};

/// The longest delay. IoT Hub gives up on a method after 300 seconds.
pub const MAX_DELAY_SECONDS: u32 = 300;

/// The delay of the tutorial.
pub const DEFAULT_DELAY: Duration = Duration::from_secs(20);

/// The settings of one plugin.
#[derive(Debug, PartialEq)]
pub struct Settings {
    /// How long a reboot takes.
    pub delay: Duration,
    /// What is reported after it.
    pub report: Report,
}

/// What is reported after a reboot: the time of it, and whatever stands beside it.
#[derive(Debug, PartialEq)]
pub struct Report {
    beside: Map<String, Value>,
    /// Keys from the outermost to the one that holds the time; never empty.
    path: Vec<String>,
}

impl Settings {
    /// Reads the pairs of the configuration; an error names the setting at fault.
    pub fn parse(entries: &[(String, String)]) -> Result<Settings, String> {
        let mut delay = DEFAULT_DELAY;
        let mut path = vec!["rebootTime".to_owned()];
        let mut beside = Map::new();
        for (key, text) in entries {
            match key.as_str() {
                "delay_seconds" => delay = parse_delay(text)?,
                "property" => path = parse_path(text)?,
                "report" => beside = parse_object(text)?,
                _ => return Err([key, ": is none of delay_seconds, property and report"].concat()),
            }
        }
        Ok(Settings { delay, report: Report::new(beside, path)? })
    }
}

impl Report {
    fn new(beside: Map<String, Value>, path: Vec<String>) -> Result<Report, String> {
        let mut above = Some(&beside);
        for (depth, key) in path.iter().enumerate() {
            above = match above.and_then(|object| object.get(key)) {
                None => None,
                Some(Value::Object(inner)) if depth + 1 < path.len() => Some(inner),
                Some(_) => {
                    return Err(["report: has `", key, "`, which is in the time's way"].concat());
                }
            };
        }
        Ok(Report { beside, path })
    }

    /// The patch to report: JSON text.
    #[must_use]
    pub fn with_time(self, now: &str) -> String {
        let mut patch = Value::Object(self.beside);
        let mut node = &mut patch;
        for key in self.path {
            // `new` has seen that only objects and nothing stand on the way.
            node = &mut node[key];
        }
        *node = Value::from(now);
        patch.to_string()
    }
}

/// A number of seconds from 0 to 300, fractions allowed.
pub(crate) fn delay(asked: &Value) -> Result<Duration, String> {
    match asked.as_f64() {
        Some(seconds) if (0.0..=f64::from(MAX_DELAY_SECONDS)).contains(&seconds) => {
            Ok(Duration::from_secs_f64(seconds))
        }
        _ => Err([&quoted(asked), " is not a number from 0 to 300"].concat()),
    }
}

/// A value as an error quotes it: whole, if it is short.
fn quoted(value: &Value) -> String {
    let text = value.to_string();
    if text.len() <= 40 {
        return text;
    }
    ["a value of ", &text.len().to_string(), " bytes"].concat()
}

fn parse_delay(text: &str) -> Result<Duration, String> {
    let value = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
    delay(&value).map_err(|why| ["delay_seconds: ", &why].concat())
}

fn parse_path(text: &str) -> Result<Vec<String>, String> {
    let keys: Vec<String> = text.split('.').map(str::to_owned).collect();
    // The hub's rule for every key of a twin.
    let legal = |key: &String| {
        !key.is_empty() && !key.contains(|c: char| c == '$' || c == ' ' || c.is_control())
    };
    if keys.iter().all(legal) {
        return Ok(keys);
    }
    Err(["property: `", text, "` is not a list of keys with dots between them"].concat())
}

fn parse_object(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|_| ["report: ", text, " is not a JSON object"].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(entries: &[(&str, &str)]) -> Result<Settings, String> {
        let entries: Vec<_> = entries.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        Settings::parse(&entries)
    }

    fn check_report(entries: &[(&str, &str)], patch: &str) {
        assert_eq!(parse(entries).unwrap().report.with_time("NOW"), patch);
    }

    fn check_error(entries: &[(&str, &str)], why: &str) {
        assert_eq!(parse(entries), Err(why.to_owned()));
    }

    #[test]
    fn without_settings_the_tutorial_is_played() {
        assert_eq!(parse(&[]).unwrap().delay, Duration::from_secs(20));
        check_report(&[], r#"{"rebootTime":"NOW"}"#);
    }

    #[test]
    fn a_dotted_property_nests_and_other_properties_stand_beside_it() {
        check_report(&[("property", "status.lastReboot")], r#"{"status":{"lastReboot":"NOW"}}"#);
        check_report(
            &[("report", r#"{"reason":"asked","count":null}"#)],
            r#"{"count":null,"reason":"asked","rebootTime":"NOW"}"#,
        );
        check_report(
            &[("report", r#"{"a":{"b":{"x":1}},"c":[]}"#), ("property", "a.b.time")],
            r#"{"a":{"b":{"time":"NOW","x":1}},"c":[]}"#,
        );
        check_report(
            &[("report", r#"{"a":{"x":1}}"#), ("property", "a.b.a")],
            r#"{"a":{"b":{"a":"NOW"},"x":1}}"#,
        );
    }

    #[test]
    fn other_properties_may_not_stand_where_the_time_goes() {
        for report in [r#"{"a":1}"#, r#"{"a":null}"#] {
            check_error(
                &[("report", report), ("property", "a.b")],
                "report: has `a`, which is in the time's way",
            );
        }
        for report in [r#"{"a":{"b":1}}"#, r#"{"a":{"b":{}}}"#] {
            check_error(
                &[("report", report), ("property", "a.b")],
                "report: has `b`, which is in the time's way",
            );
        }
    }

    #[test]
    fn an_error_names_the_setting_and_quotes_what_was_found() {
        check_error(&[("delay", "5")], "delay: is none of delay_seconds, property and report");
        check_error(&[("delay_seconds", "-1")], "delay_seconds: -1 is not a number from 0 to 300");
        for path in ["", ".", "a.", "a..b", "$a", "a b"] {
            check_error(
                &[("property", path)],
                &format!("property: `{path}` is not a list of keys with dots between them"),
            );
        }
        check_error(&[("report", "[1]")], "report: [1] is not a JSON object");
        check_error(&[("report", "soon")], "report: soon is not a JSON object");
    }
}
