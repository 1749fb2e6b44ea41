//! The settings of the plugin: those that the operator may change.
//!
//! The host passes the table `[plugins.NAME.config]` to a plugin as pairs of texts:
//! ```toml
//! delay_seconds = 20          # time that a reboot takes; a call's payload may override it
//! property = "rebootTime"     # property for the time; dots nest: "status.lastReboot"
//! report = { reason = "asked" }   # other properties, reported together with the time
//! mode = "tutorial"           # or "real": reboot the machine
//! boot_within_seconds = 600   # longest time for the machine to come back
//! ```
//! A setting of another name is an error, since a misspelt one would have no effect.

use std::time::Duration;

use serde_json::{Map, Value};

/// The longest delay. IoT Hub gives up on a method after 300 seconds.
pub const MAX_DELAY_SECONDS: u32 = 300;

/// The delay of the tutorial.
pub const DEFAULT_DELAY: Duration = Duration::from_secs(20);

/// The upper limit of `boot_within_seconds`: a day.
pub const MAX_BOOT_SECONDS: u32 = 86_400;

/// The default of `boot_within_seconds`: enough to check a slow disk at boot.
pub const DEFAULT_BOOT: Duration = Duration::from_secs(600);

/// The meaning of a reboot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RebootMode {
    /// Simulated: the call waits, reports and answers.
    Tutorial,
    /// Real: the machine is rebooted, and the outcome is reported afterwards.
    Real,
}

/// The key of the outcome, next to the time of a real reboot.
const OUTCOME: &str = "rebooted";

/// The settings of one plugin.
#[derive(Debug, PartialEq)]
pub struct RebootSettings {
    /// The meaning of a reboot.
    pub mode: RebootMode,
    /// The longest time for the machine to come back.
    pub boot_within: Duration,
    /// The time that a reboot takes.
    pub delay: Duration,
    /// The report after the reboot.
    pub report: ReportTemplate,
}

/// A report after a reboot, all but the time itself.
#[derive(Debug, PartialEq)]
pub struct ReportTemplate {
    beside: Map<String, Value>,
    /// The keys from the outermost to the one of the time; never empty.
    path: Vec<String>,
}

impl RebootSettings {
    /// Parses the pairs of the configuration. An error names the wrong setting.
    pub fn parse(entries: &[(String, String)]) -> Result<RebootSettings, String> {
        let mut mode = RebootMode::Tutorial;
        let mut boot_within = DEFAULT_BOOT;
        let mut delay = DEFAULT_DELAY;
        let mut path = vec!["rebootTime".to_owned()];
        let mut beside = Map::new();
        for (key, text) in entries {
            match key.as_str() {
                "delay_seconds" => delay = parse_delay(text)?,
                "property" => path = parse_path(text)?,
                "report" => beside = parse_object(text)?,
                "mode" => mode = parse_mode(text)?,
                "boot_within_seconds" => boot_within = parse_boot(text)?,
                _ => {
                    let all = "delay_seconds, property, report, mode and boot_within_seconds";
                    return Err([key, ": is none of ", all].concat());
                }
            }
        }
        let report = ReportTemplate::new(beside, path)?;
        if mode == RebootMode::Real && report.has_outcome() {
            return Err("report: has `rebooted`, which is for what became of the reboot".into());
        }
        Ok(RebootSettings { mode, boot_within, delay, report })
    }
}

impl ReportTemplate {
    fn new(beside: Map<String, Value>, path: Vec<String>) -> Result<ReportTemplate, String> {
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
        Ok(ReportTemplate { beside, path })
    }

    /// Returns the patch to report, as JSON text.
    #[must_use]
    pub fn with_time(self, now: &str) -> String {
        self.with(Some(now), None)
    }

    /// Returns the patch after a real reboot, or without a time if the machine has
    /// not rebooted.
    #[must_use]
    pub fn with_outcome(self, now: Option<&str>) -> String {
        self.with(now, Some(now.is_some()))
    }

    fn with(mut self, now: Option<&str>, rebooted: Option<bool>) -> String {
        let mut patch = Value::Object(self.beside);
        let mut node = &mut patch;
        let last = self.path.pop();
        for key in self.path {
            // `new` has checked that each of these keys is absent or an object.
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

    /// Returns whether the place of the outcome, next to the time, is taken.
    fn has_outcome(&self) -> bool {
        let Some((last, above)) = self.path.split_last() else { return false };
        let object = above
            .iter()
            .try_fold(&self.beside, |object, key| object.get(key).and_then(Value::as_object));
        last == OUTCOME || object.is_some_and(|object| object.contains_key(OUTCOME))
    }
}

/// Parses a number of seconds from 0 to 300, fractions allowed.
pub(crate) fn delay(asked: &Value) -> Result<Duration, String> {
    match asked.as_f64() {
        Some(seconds) if (0.0..=f64::from(MAX_DELAY_SECONDS)).contains(&seconds) => {
            Ok(Duration::from_secs_f64(seconds))
        }
        _ => Err([&quoted(asked), " is not a number from 0 to 300"].concat()),
    }
}

/// Returns a value for a message: whole if it is short, else its size.
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

    fn parse(entries: &[(&str, &str)]) -> Result<RebootSettings, String> {
        let entries: Vec<_> = entries.iter().map(|&(k, v)| (k.to_owned(), v.to_owned())).collect();
        RebootSettings::parse(&entries)
    }

    fn check_report(entries: &[(&str, &str)], patch: &str) {
        assert_eq!(parse(entries).unwrap().report.with_time("NOW"), patch);
    }

    fn check_error(entries: &[(&str, &str)], why: &str) {
        assert_eq!(parse(entries), Err(why.to_owned()));
    }

    #[test]
    fn without_settings_the_reboot_is_that_of_the_tutorial() {
        assert_eq!(parse(&[]).unwrap().delay, Duration::from_secs(20));
        check_report(&[], r#"{"rebootTime":"NOW"}"#);
    }

    #[test]
    fn a_dotted_property_nests_and_is_reported_with_other_properties() {
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
    fn after_a_real_reboot_its_outcome_is_reported_next_to_the_time() {
        let outcome = |entries, now| parse(entries).unwrap().report.with_outcome(now);
        let nested = [("property", "status.lastReboot"), ("report", r#"{"reason":"asked"}"#)];
        assert_eq!(outcome(&[], Some("NOW")), r#"{"rebootTime":"NOW","rebooted":true}"#);
        assert_eq!(outcome(&[], None), r#"{"rebooted":false}"#);
        assert_eq!(
            outcome(&nested, Some("NOW")),
            r#"{"reason":"asked","status":{"lastReboot":"NOW","rebooted":true}}"#
        );
        assert_eq!(outcome(&nested, None), r#"{"reason":"asked","status":{"rebooted":false}}"#);
    }

    #[test]
    fn a_mode_is_one_of_two_and_keeps_the_place_of_the_outcome_free() {
        assert_eq!(parse(&[]).unwrap().mode, RebootMode::Tutorial);
        assert_eq!(parse(&[("mode", "real")]).unwrap().mode, RebootMode::Real);
        check_error(&[("mode", "Real")], "mode: `Real` is neither `tutorial` nor `real`");
        let taken = "report: has `rebooted`, which is for what became of the reboot";
        check_error(&[("mode", "real"), ("report", r#"{"rebooted":1}"#)], taken);
        check_error(&[("mode", "real"), ("property", "status.rebooted")], taken);
        parse(&[("report", r#"{"rebooted":1}"#)]).unwrap();
    }

    #[test]
    fn a_machine_has_a_second_to_a_day_to_come_back() {
        let settings = parse(&[("boot_within_seconds", "90")]).unwrap();
        assert_eq!(settings.boot_within, Duration::from_secs(90));
        for seconds in ["0", "86401", "soon", "1.5"] {
            let why =
                format!("boot_within_seconds: {seconds} is not a whole number from 1 to 86400");
            check_error(&[("boot_within_seconds", seconds)], &why);
        }
    }

    #[test]
    fn other_properties_must_leave_the_place_of_the_time_free() {
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
        check_error(
            &[("delay", "5")],
            "delay: is none of delay_seconds, property, report, mode and boot_within_seconds",
        );
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
