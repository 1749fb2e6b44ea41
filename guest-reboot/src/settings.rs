//! Settings of the plugin, which the operator can change.
//!
//! The host passes the table `[plugins.NAME.config]` to the plugin as pairs of strings.
//! ```toml
//! delay_seconds = 20          # duration of a reboot; a call's payload can override it
//! property = "rebootTime"     # property for the time; dots nest: "status.lastReboot"
//! report = { reason = "asked" }   # other properties, reported together with the time
//! mode = "tutorial"           # or "real": reboot the machine
//! boot_within_seconds = 600   # time limit for the boot
//! ```
//! An unknown setting is an error, because a misspelt one would have no effect.

use std::time::Duration;

use serde_json::{Map, Value};

/// Maximum delay in seconds. IoT Hub stops waiting for a method after 300 seconds.
pub const MAX_DELAY_SECONDS: u32 = 300;

/// Default delay, which is that of the tutorial.
pub const DEFAULT_DELAY: Duration = Duration::from_secs(20);

/// Maximum of `boot_within_seconds`: one day.
pub const MAX_BOOT_SECONDS: u32 = 86_400;

/// Default of `boot_within_seconds`, which leaves time for a file system check at boot.
pub const DEFAULT_BOOT: Duration = Duration::from_secs(600);

/// Kind of reboot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RebootMode {
    /// Simulated: the call waits, reports and answers.
    Tutorial,
    /// Real reboot of the machine, whose outcome is reported afterwards.
    Real,
}

/// Key of the outcome, which is reported with the time of a real reboot.
const OUTCOME: &str = "rebooted";

/// Settings of one plugin.
#[derive(Debug, PartialEq)]
pub struct RebootSettings {
    /// Kind of reboot.
    pub mode: RebootMode,
    /// Maximum time for the machine to boot.
    pub boot_within: Duration,
    /// Delay before the reboot, or duration of a simulated one.
    pub delay: Duration,
    /// Template of the report after the reboot.
    pub report: ReportTemplate,
}

/// Properties to report after a reboot, and the position of the time among them.
#[derive(Debug, PartialEq)]
pub struct ReportTemplate {
    properties: Map<String, Value>,
    /// Keys that lead to the time, outermost first; never empty.
    path: Vec<String>,
}

impl RebootSettings {
    /// Parses the configuration. An error names the invalid setting.
    pub fn parse(entries: &[(String, String)]) -> Result<RebootSettings, String> {
        let mut mode = RebootMode::Tutorial;
        let mut boot_within = DEFAULT_BOOT;
        let mut delay = DEFAULT_DELAY;
        let mut path = vec!["rebootTime".to_owned()];
        let mut properties = Map::new();
        for (key, text) in entries {
            match key.as_str() {
                "delay_seconds" => delay = parse_delay(text)?,
                "property" => path = parse_path(text)?,
                "report" => properties = parse_object(text)?,
                "mode" => mode = parse_mode(text)?,
                "boot_within_seconds" => boot_within = parse_boot(text)?,
                _ => {
                    let all = "delay_seconds, property, report, mode or boot_within_seconds";
                    return Err([key, ": unknown setting; expected ", all].concat());
                }
            }
        }
        let report = ReportTemplate::new(properties, path)?;
        if mode == RebootMode::Real && report.has_outcome() {
            return Err("report: `rebooted` is reserved for the outcome of the reboot".into());
        }
        Ok(RebootSettings { mode, boot_within, delay, report })
    }
}

impl ReportTemplate {
    fn new(properties: Map<String, Value>, path: Vec<String>) -> Result<ReportTemplate, String> {
        let mut above = Some(&properties);
        for (depth, key) in path.iter().enumerate() {
            above = match above.and_then(|object| object.get(key)) {
                None => None,
                Some(Value::Object(inner)) if depth + 1 < path.len() => Some(inner),
                Some(_) => {
                    return Err(["report: `", key, "` conflicts with `property`"].concat());
                }
            };
        }
        Ok(ReportTemplate { properties, path })
    }

    /// Returns the patch to report, as JSON text.
    #[must_use]
    pub fn with_time(self, now: &str) -> String {
        self.with(Some(now), None)
    }

    /// Returns the patch after a real reboot. Without a time, the machine was not rebooted.
    #[must_use]
    pub fn with_outcome(self, now: Option<&str>) -> String {
        self.with(now, Some(now.is_some()))
    }

    fn with(mut self, now: Option<&str>, rebooted: Option<bool>) -> String {
        let mut patch = Value::Object(self.properties);
        let mut node = &mut patch;
        let last = self.path.pop();
        for key in self.path {
            // `new` has checked that each of these keys is missing or an object.
            node = &mut node[key];
        }
        if let Some(rebooted) = rebooted {
            node[OUTCOME] = Value::from(rebooted);
        }
        if let (Some(now), Some(last)) = (now, last) {
            node[last] = Value::from(now);
        }
        patch.to_string()
    }

    /// Returns `true` if the key of the outcome is already used.
    fn has_outcome(&self) -> bool {
        let Some((last, above)) = self.path.split_last() else { return false };
        let object = above
            .iter()
            .try_fold(&self.properties, |object, key| object.get(key).and_then(Value::as_object));
        last == OUTCOME || object.is_some_and(|object| object.contains_key(OUTCOME))
    }
}

/// Parses a number of seconds from 0 to 300, which can have a fraction.
pub(crate) fn delay(requested: &Value) -> Result<Duration, String> {
    match requested.as_f64() {
        Some(seconds) if (0.0..=f64::from(MAX_DELAY_SECONDS)).contains(&seconds) => {
            Ok(Duration::from_secs_f64(seconds))
        }
        _ => Err([&quoted(requested), " is not a number from 0 to 300"].concat()),
    }
}

/// Formats a value for a message: in full if it is short, otherwise as its size.
fn quoted(value: &Value) -> String {
    let text = value.to_string();
    if text.len() <= 40 {
        return text;
    }
    ["a value of ", &text.len().to_string(), " bytes"].concat()
}

fn parse_delay(text: &str) -> Result<Duration, String> {
    let value = serde_json::from_str(text).unwrap_or_else(|_| Value::from(text));
    delay(&value).map_err(|reason| ["delay_seconds: ", &reason].concat())
}

fn parse_mode(text: &str) -> Result<RebootMode, String> {
    match text {
        "tutorial" => Ok(RebootMode::Tutorial),
        "real" => Ok(RebootMode::Real),
        _ => Err(["mode: `", text, "` is neither `tutorial` nor `real`"].concat()),
    }
}

fn parse_boot(text: &str) -> Result<Duration, String> {
    match text.parse() {
        Ok(seconds @ 1..=MAX_BOOT_SECONDS) => Ok(Duration::from_secs(seconds.into())),
        _ => {
            Err(["boot_within_seconds: ", text, " is not a whole number from 1 to 86400"].concat())
        }
    }
}

fn parse_path(text: &str) -> Result<Vec<String>, String> {
    let keys: Vec<String> = text.split('.').map(str::to_owned).collect();
    // The hub's rule for keys of a twin.
    let legal = |key: &String| {
        !key.is_empty() && !key.contains(|c: char| c == '$' || c == ' ' || c.is_control())
    };
    if keys.iter().all(legal) {
        return Ok(keys);
    }
    Err(["property: `", text, "` is not a list of keys separated by dots"].concat())
}

fn parse_object(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(text).map_err(|_| ["report: ", text, " is not a JSON object"].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(entries: &[(&str, &str)]) -> Result<RebootSettings, String> {
        let entries: Vec<_> = entries.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        RebootSettings::parse(&entries)
    }

    fn check_report(entries: &[(&str, &str)], patch: &str) {
        assert_eq!(parse(entries).unwrap().report.with_time("NOW"), patch);
    }

    fn check_error(entries: &[(&str, &str)], reason: &str) {
        assert_eq!(parse(entries), Err(reason.to_owned()));
    }

    #[test]
    fn the_default_reboot_is_that_of_the_tutorial() {
        assert_eq!(parse(&[]).unwrap().delay, Duration::from_secs(20));
        check_report(&[], r#"{"rebootTime":"NOW"}"#);
    }

    #[test]
    fn a_dotted_property_nests_and_is_reported_with_other_properties() {
        check_report(&[("property", "status.lastReboot")], r#"{"status":{"lastReboot":"NOW"}}"#);
        check_report(
            &[("report", r#"{"reason":"requested","count":null}"#)],
            r#"{"count":null,"reason":"requested","rebootTime":"NOW"}"#,
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
    fn the_outcome_of_a_real_reboot_is_reported_next_to_the_time() {
        let outcome = |entries, now| parse(entries).unwrap().report.with_outcome(now);
        let nested = [("property", "status.lastReboot"), ("report", r#"{"reason":"requested"}"#)];
        assert_eq!(outcome(&[], Some("NOW")), r#"{"rebootTime":"NOW","rebooted":true}"#);
        assert_eq!(outcome(&[], None), r#"{"rebooted":false}"#);
        assert_eq!(
            outcome(&nested, Some("NOW")),
            r#"{"reason":"requested","status":{"lastReboot":"NOW","rebooted":true}}"#
        );
        assert_eq!(outcome(&nested, None), r#"{"reason":"requested","status":{"rebooted":false}}"#);
    }

    #[test]
    fn real_mode_reserves_the_key_of_the_outcome() {
        assert_eq!(parse(&[]).unwrap().mode, RebootMode::Tutorial);
        assert_eq!(parse(&[("mode", "real")]).unwrap().mode, RebootMode::Real);
        check_error(&[("mode", "Real")], "mode: `Real` is neither `tutorial` nor `real`");
        let reserved = "report: `rebooted` is reserved for the outcome of the reboot";
        check_error(&[("mode", "real"), ("report", r#"{"rebooted":1}"#)], reserved);
        check_error(&[("mode", "real"), ("property", "status.rebooted")], reserved);
        parse(&[("report", r#"{"rebooted":1}"#)]).unwrap();
    }

    #[test]
    fn the_boot_time_is_limited_to_one_day() {
        let settings = parse(&[("boot_within_seconds", "90")]).unwrap();
        assert_eq!(settings.boot_within, Duration::from_secs(90));
        for seconds in ["0", "86401", "soon", "1.5"] {
            let reason =
                format!("boot_within_seconds: {seconds} is not a whole number from 1 to 86400");
            check_error(&[("boot_within_seconds", seconds)], &reason);
        }
    }

    #[test]
    fn other_properties_must_not_conflict_with_the_time() {
        for report in [r#"{"a":1}"#, r#"{"a":null}"#] {
            check_error(
                &[("report", report), ("property", "a.b")],
                "report: `a` conflicts with `property`",
            );
        }
        for report in [r#"{"a":{"b":1}}"#, r#"{"a":{"b":{}}}"#] {
            check_error(
                &[("report", report), ("property", "a.b")],
                "report: `b` conflicts with `property`",
            );
        }
    }

    #[test]
    fn an_error_names_the_setting_and_quotes_the_value() {
        check_error(
            &[("delay", "5")],
            "delay: unknown setting; expected delay_seconds, property, report, mode or boot_within_seconds",
        );
        check_error(&[("delay_seconds", "-1")], "delay_seconds: -1 is not a number from 0 to 300");
        for path in ["", ".", "a.", "a..b", "$a", "a b"] {
            check_error(
                &[("property", path)],
                &format!("property: `{path}` is not a list of keys separated by dots"),
            );
        }
        check_error(&[("report", "[1]")], "report: [1] is not a JSON object");
        check_error(&[("report", "soon")], "report: soon is not a JSON object");
    }
}
