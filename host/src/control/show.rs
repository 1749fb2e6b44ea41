//! Display of answers in a terminal.
//!
//! Control characters in answers are escaped, because the text may come from a plugin or
//! from a program that pretends to be the host.

use std::fmt::Write as _;

use plugin::{affects_display, escape};
use program::counted;

use super::status::{configuration_lines, jobs_text};
use super::table::table_of;
use super::{ControlAnswer, PluginStatus};
use crate::lent::log::LoggedLine;
use crate::plugins::Compilation;

const HEAD: [&str; 11] = [
    "NAME", "VERSION", "STATE", "CALLS", "REFUSED", "FAILED", "MEAN", "LONGEST", "MEMORY", "SWAPS",
    "DIGEST",
];

impl ControlAnswer {
    /// Returns the answer as readable text: one line, or a table of the plugins.
    #[must_use]
    pub fn to_text(&self) -> String {
        match self {
            ControlAnswer::Done(text) | ControlAnswer::Error(text) => escape(text).into_owned(),
            ControlAnswer::UnknownPlugin(name) => {
                format!("the host has no plugin `{}`", escape(name))
            }
            ControlAnswer::Recording(plugin) => {
                format!("recording calls of `{}`", escape(plugin))
            }
            ControlAnswer::Recorded(call) => {
                format!("{}: {}", escape(&call.name), escape(&call.outcome))
            }
            ControlAnswer::LogLine(line) => line.to_text(),
            ControlAnswer::MissedLines(count) => {
                format!(
                    "{} of all plugins missed: not read as fast as they came",
                    counted(*count, "line")
                )
            }
            ControlAnswer::UnknownJob(id) => {
                format!("the host has no job `{}`", escape(id))
            }
            ControlAnswer::Status(status) => status.to_text(),
            ControlAnswer::Metrics(text) => text.lines().map(escape).collect::<Vec<_>>().join("\n"),
            ControlAnswer::Jobs(jobs) => jobs_text(jobs),
            ControlAnswer::Plugins {
                plugins,
                compiling,
                configuration_refused,
                restart_needed,
            } => {
                let mut lines = table(plugins);
                lines.extend(plugins.iter().flat_map(lines_below_table));
                lines.extend(compiling.iter().map(compilation_line));
                lines
                    .extend(configuration_lines(configuration_refused.as_deref(), *restart_needed));
                lines.join("\n")
            }
        }
    }

    /// Returns the answer as JSON, with every non-printable character escaped.
    #[must_use]
    pub fn to_json(&self) -> String {
        let json = match self {
            ControlAnswer::Status(status) => serde_json::to_string_pretty(status),
            answer => serde_json::to_string_pretty(answer),
        };
        escape_json(&json.expect("all keys of an answer are strings"))
    }
}

impl LoggedLine {
    /// Returns the line as readable text.
    #[must_use]
    pub fn to_text(&self) -> String {
        let LoggedLine { time, level, method, call, message, fields, .. } = self;
        let mut text = format!("{time} {level:<5}  {method}  {message}");
        for (key, value) in fields.as_object().into_iter().flatten() {
            // Writing to a string does not fail.
            let _ = write!(text, "  {key}={}", value.as_str().unwrap_or_default());
        }
        let _ = write!(text, "  call={call}");
        escape(&text).into_owned()
    }

    /// Returns the line as JSON, with every non-printable character escaped.
    #[must_use]
    pub fn to_json(&self) -> String {
        escape_json(&serde_json::to_string(self).expect("all keys of a line are strings"))
    }
}

/// Escapes every non-printable character in JSON.
fn escape_json(json: &str) -> String {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        // Outside strings, the JSON contains only line breaks and printable ASCII.
        if character == '\n' || !affects_display(character) {
            text.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            // Writing to a string does not fail.
            let _ = write!(text, "\\u{unit:04x}");
        }
    }
    text
}

/// Returns the lines of a table with a header and one line per plugin.
fn table(plugins: &[PluginStatus]) -> Vec<String> {
    table_of(HEAD.map(str::to_owned), plugins.iter().map(row))
}

/// Returns the lines below the table that concern a plugin: its last error, a rolled-back
/// version, rejected properties, and failed calls.
fn lines_below_table(plugin: &PluginStatus) -> Vec<String> {
    let rolled_back = plugin.rolled_back.as_ref().map(|bad| {
        let version = bad.version.map_or_else(|| bad.digest.clone(), |number| number.to_string());
        format!("version {version} was rolled back; its file has not changed")
    });
    let rejected = plugin.desired.as_ref().map(|it| {
        format!("desired properties of version {} rejected: {}", it.version, it.rejected)
    });
    let counts = plugin.counters.by_error().map(|(error, count)| format!("{count} {error}"));
    let counts = counts.collect::<Vec<_>>().join(", ");
    let counts = (!counts.is_empty()).then(|| match &plugin.last_call_error {
        Some(last) => {
            format!("calls: {counts}; the last at {}: {}: {}", last.at, last.error, last.message)
        }
        None => format!("calls: {counts}"),
    });
    let lines = [plugin.last_error.clone(), rolled_back, rejected, counts];
    let mut lines: Vec<_> = lines.into_iter().flatten().collect();
    // After a restart, the rollback is also the last error, so the same line could appear
    // twice.
    lines.dedup();
    lines.iter().map(|line| format!("{}: {}", escape(&plugin.name), escape(line))).collect()
}

/// Returns the line about a compilation.
fn compilation_line(compilation: &Compilation) -> String {
    let Compilation { plugin, since } = compilation;
    format!("{}: compiling since {}", escape(plugin), escape(since))
}

/// Returns the cells of a plugin.
fn row(plugin: &PluginStatus) -> [String; HEAD.len()] {
    let counters = &plugin.counters;
    let digest: String = plugin.digest.chars().take(12).collect();
    [
        escape(&plugin.name).into_owned(),
        plugin.version.to_string(),
        escape(&plugin.state).into_owned(),
        counters.calls().to_string(),
        counters.refused.to_string(),
        counters.failed().to_string(),
        format!("{} ms", counters.mean_ms()),
        format!("{} ms", counters.longest_ms),
        format!("{} KiB", counters.memory_bytes / 1024),
        counters.swaps.to_string(),
        escape(&digest).into_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::slot::{CallFailure, Counters, RejectedDesired, RolledBack};

    #[test]
    fn the_list_shows_refused_calls_rollbacks_rejections_and_compilations() {
        let mut counters = Counters::default();
        (counters.answered, counters.refused, counters.trapped) = (5, 7, 2);
        let failure = CallFailure {
            error: "refused".to_owned(),
            message: "failed: no sensor".to_owned(),
            at: "2026-11-28T12:00:00.000Z".to_owned(),
        };
        let plugin = PluginStatus {
            name: "p".to_owned(),
            version: 1,
            digest: "0123456789abcdef".to_owned(),
            state: "active".to_owned(),
            since: String::new(),
            last_error: None,
            last_call_error: Some(failure),
            rolled_back: Some(RolledBack { version: Some(2), digest: "d2".to_owned() }),
            desired: Some(RejectedDesired { version: 4, rejected: "too fast".to_owned() }),
            capabilities: Vec::new(),
            may_roll_back: false,
            counters,
        };
        let compilation = Compilation { plugin: "q".to_owned(), since: "2026".to_owned() };
        let answer = ControlAnswer::Plugins {
            plugins: vec![plugin],
            compiling: vec![compilation],
            configuration_refused: None,
            restart_needed: false,
        };
        let expected = "\
NAME  VERSION  STATE   CALLS  REFUSED  FAILED  MEAN  LONGEST  MEMORY  SWAPS  DIGEST
p     1        active  14     7        2       0 ms  0 ms     0 KiB   0      0123456789ab
p: version 2 was rolled back; its file has not changed
p: desired properties of version 4 rejected: too fast
p: calls: 7 refused, 2 trapped; the last at 2026-11-28T12:00:00.000Z: refused: failed: no sensor
q: compiling since 2026";
        assert_eq!(answer.to_text(), expected);
    }

    #[test]
    fn control_characters_of_an_answer_are_escaped() {
        for character in ['\u{1b}', '\u{9b}', '\u{7f}', '\n', '\u{202e}', '\u{2028}', '\u{feff}'] {
            let answer = ControlAnswer::Done(format!("a{character}b"));
            for text in [answer.to_text(), answer.to_json()] {
                assert!(!text.replace("\n", "").contains(character), "{text:?}");
            }
            assert!(!answer.to_text().contains('\n'));
        }
        let plain = ControlAnswer::Done("it's `\"grün\"` \\ 10 °C".to_owned());
        assert_eq!(plain.to_text(), "it's `\"grün\"` \\ 10 °C");
    }

    #[test]
    fn an_answer_as_json_is_read_back_unchanged() {
        let answer = ControlAnswer::Error("\u{1b}[31m\u{202e}\u{e0001}\n\"grün\"".to_owned());
        let read: ControlAnswer = serde_json::from_str(&answer.to_json()).unwrap();
        assert_eq!(read, answer);
    }
}
