//! Test cases of a plugin, one JSON file each.
//!
//! A file describes the state before a call, the call, and the expected outcome, or several
//! steps, each with its own expected outcome. The file's stem is the name of the case. Every
//! key of `expect` is optional. An unknown key is an error, because a misspelt key would test
//! nothing. Each case runs on its own simulated device and in virtual time, so that times are
//! exact; see [`Desk`].

mod compare;
mod expect;
mod log_diff;
mod message;
mod metrics;
mod pattern;
mod positions;
mod step;
mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use jiff::Timestamp;
use plugin::{BootOutcome, Capability, Compiled, Engine, Limits, LoadError, PluginSettings};
use program::{JSON_WORDS, text};
use protocol::id::MethodName;
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::desk::{self, CannedExchange, Desk, Network, StateValue};
pub use compare::Difference;
pub use expect::Expect;
pub use log_diff::{LogDiff, Side};
pub use message::CaseMessage;
pub use metrics::{CaseMetricKind, Metric};
use step::CallKeys;
pub use step::{RestartKind, Step};
pub use verdict::{StepVerdict, Verdict};

/// A test case, as parsed from its file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// A text for readers.
    pub description: Option<String>,
    /// The method to call. Exactly one of `method`, `job`, `changed`, `message`, `start` and
    /// `steps` must be present.
    pub method: Option<MethodName>,
    /// The job to run.
    pub job: Option<String>,
    /// The patch of the desired properties of which the plugin is notified.
    pub changed: Option<Map<String, Value>>,
    /// The cloud-to-device message that the plugin receives.
    pub message: Option<CaseMessage>,
    /// The version that the starting plugin replaces; `null` if there was none.
    #[serde(default, deserialize_with = "expect::present")]
    pub start: Option<Option<String>>,
    /// The payload of the method or job; `null` by default.
    #[serde(default)]
    pub payload: Option<Box<RawValue>>,
    /// The attempt number of the job or message; 1 by default.
    pub attempt: Option<u32>,
    /// The outcome of the boot that the job waited for.
    pub boot_outcome: Option<Boot>,
    /// The operator's settings. A string is passed to the plugin unchanged, any other
    /// value as JSON text.
    #[serde(default)]
    pub config: BTreeMap<String, Value>,
    /// The names of the capabilities that are granted to the plugin.
    #[serde(default)]
    pub capabilities: BTreeSet<String>,
    /// The limits that differ from the defaults.
    #[serde(default)]
    pub limits: CaseLimits,
    /// The twin before the call.
    #[serde(default)]
    pub twin: InitialTwin,
    /// The plugin's state before the call.
    #[serde(default)]
    pub state: BTreeMap<String, StateValue>,
    /// The context of the trace to which the calls belong.
    pub trace_parent: Option<String>,
    /// The start of virtual time; [`EPOCH`](crate::desk::EPOCH) by default.
    #[serde(default, deserialize_with = "timestamp")]
    pub time: Option<Timestamp>,
    /// `true` if the device is not connected to the hub.
    #[serde(default)]
    pub offline: bool,
    /// `true` to run the jobs that the call schedules once it has returned.
    #[serde(default)]
    pub run_jobs: bool,
    /// The expected HTTP requests and their responses. The capability `http` is granted if
    /// there are any.
    #[serde(default)]
    pub http: Vec<CannedExchange>,
    /// The expected outcome.
    #[serde(default)]
    pub expect: Expect,
    /// The steps of a case with more than one call.
    pub steps: Option<Vec<Step>>,
}

/// The outcome of the boot that a job waited for, named as in `jobs.wit`.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Boot {
    /// No boot to wait for.
    NotWaitedFor,
    /// A boot of the machine.
    Rebooted,
    /// A restart of the host without a boot of the machine.
    HostRestartedOnly,
    /// The end of the waiting time without a boot.
    Expired,
}

/// The limits that a case can change. All other limits have their defaults.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CaseLimits {
    /// The deadline of the call, in milliseconds.
    pub deadline_ms: Option<u64>,
    /// The limit on linear memory, in bytes.
    pub memory_bytes: Option<usize>,
}

/// The twin before the call.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InitialTwin {
    /// The desired properties.
    #[serde(default)]
    pub desired: Map<String, Value>,
    /// The reported properties.
    #[serde(default)]
    pub reported: Map<String, Value>,
    /// The version of the desired properties; 1 by default.
    pub desired_version: Option<u64>,
    /// The version of the reported properties; 1 by default.
    pub reported_version: Option<u64>,
}

/// A case file, found by [`find`].
#[derive(Debug)]
pub struct CaseFile {
    /// The file's stem.
    pub name: String,
    /// The case, or a one-line message about the first error in the file.
    pub case: Result<Case, String>,
}

/// Returns the cases in `folder`, sorted by file name. Hidden files are skipped.
///
/// # Errors
///
/// Returns an error if the folder cannot be read. An invalid file is not an error: its
/// [`CaseFile::case`] holds the message.
pub fn find(folder: &Path) -> io::Result<Vec<CaseFile>> {
    let mut files: Vec<PathBuf> = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        // Editors create temporary hidden files while saving.
        if name.ends_with(".json") && !name.starts_with('.') && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    let found = files.into_iter().map(|file| {
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let case = read(&file).map_err(|reason| format!("{}: {reason}", file.display()));
        CaseFile { name, case }
    });
    Ok(found.collect())
}

fn read(file: &Path) -> Result<Case, String> {
    let text = text::read(file).map_err(|error| error.to_string())?;
    let case: Case = parse(&text)?;
    case.check()?;
    Ok(case)
}

/// Parses a case. An error message names the key and the line.
fn parse(text: &str) -> Result<Case, String> {
    let mut json = serde_json::Deserializer::from_str(text);
    let case = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        let message = error.inner().to_string();
        let (problem, place) = message.split_once(" at line ").unwrap_or((&message, ""));
        match (path.as_str(), JSON_WORDS.type_error(problem)) {
            ("." | "" | "?", _) => message,
            (_, Some(words)) => format!("`{path}` {words} at line {place}"),
            (_, None) => format!("{path}: {message}"),
        }
    })?;
    json.end().map_err(|error| error.to_string())?;
    Ok(case)
}

impl Case {
    /// Runs the case up to the first step that fails.
    ///
    /// # Errors
    ///
    /// Returns a one-line message if the component does not load with the settings of
    /// this case.
    pub fn run(
        &self,
        engine: &Engine,
        name: &str,
        component: &Compiled,
    ) -> Result<Verdict, String> {
        let plugin =
            engine.plugin(name, component, self.settings()?).map_err(|error| not_loaded(&error))?;
        let desk = self.desk()?;
        let mut ran = Vec::new();
        if let Some(steps) = &self.steps {
            let mut session = desk.session(&plugin);
            for (index, step) in steps.iter().enumerate() {
                let outcome =
                    step.run(&mut session).map_err(|reason| format!("steps[{index}].{reason}"))?;
                let differences = step.expect.compare(&outcome);
                let failed = !differences.is_empty();
                ran.push(StepVerdict { title: step.title(), differences, outcome });
                if failed {
                    break;
                }
            }
        } else {
            let outcome =
                desk.call(&plugin, &CallKeys::of_case(self).described_call()?.as_export_call());
            let differences = self.expect.compare(&outcome);
            ran.push(StepVerdict { title: String::new(), differences, outcome });
        }
        if let Some(last) = ran.last_mut()
            && last.differences.is_empty()
        {
            let unsent = last.outcome.unsent.iter();
            last.differences.extend(unsent.map(|request| {
                compare::difference("http", Some(&request.to_string().into()), None)
            }));
        }
        Ok(Verdict {
            steps: ran,
            step_count: self.steps.as_ref().map(Vec::len),
            memory_bytes: plugin.peak_memory_bytes(),
        })
    }

    /// Checks the rules that the types do not enforce.
    fn check(&self) -> Result<(), String> {
        let mut desk = self.desk()?;
        self.settings()?;
        for (index, exchange) in self.http.iter().enumerate() {
            exchange.check().map_err(|error| format!("http[{index}].{error}"))?;
        }
        let Some(steps) = &self.steps else {
            CallKeys::of_case(self).described_call()?;
            return self.expect.check();
        };
        if !CallKeys::of_case(self).is_empty() || self.run_jobs || !self.expect.is_empty() {
            return Err(
                "a case with `steps` has its calls, jobs and expectations in them".to_owned()
            );
        }
        if steps.is_empty() {
            return Err("steps: there is none".to_owned());
        }
        for (index, step) in steps.iter().enumerate() {
            step.check().map_err(|reason| format!("steps[{index}]: {reason}"))?;
            if let Some(patch) = &step.changed {
                desk = desk
                    .with_change(patch)
                    .map_err(|error| format!("steps[{index}].changed: {error}"))?;
            }
        }
        Ok(())
    }

    /// Returns the device that the case describes. An error message names the key.
    fn desk(&self) -> Result<Desk, String> {
        let InitialTwin { desired, reported, desired_version, reported_version } = &self.twin;
        let mut desk = Desk::default()
            .with_twin(Some(desired.clone()), Some(reported.clone()))
            .map_err(|error| format!("twin: {error}"))?
            .with_versions(desired_version.unwrap_or(1), reported_version.unwrap_or(1));
        if let Some(patch) = &self.changed {
            desk = desk.with_change(patch).map_err(|error| format!("changed: {error}"))?;
        }
        if !self.http.is_empty() {
            desk.network = Network::Canned(self.http.clone());
        }
        desk.offline = self.offline;
        desk.run_jobs = self.run_jobs;
        desk.trace_parent = self.trace_parent.clone();
        desk.epoch = self.time.unwrap_or(desk.epoch);
        desk.state = self.state.iter().map(|(key, value)| (key.clone(), value.0.clone())).collect();
        Ok(desk)
    }

    fn settings(&self) -> Result<PluginSettings, String> {
        let capabilities = self.capabilities.iter().map(|name| name.parse::<Capability>());
        let mut limits = Limits::default();
        if let Some(ms) = self.limits.deadline_ms {
            limits.deadline = Duration::from_millis(ms);
        }
        if let Some(bytes) = self.limits.memory_bytes {
            limits.memory_bytes = bytes;
        }
        limits.check().map_err(|error| format!("limits: {error}"))?;
        let mut capabilities: BTreeSet<_> = capabilities
            .collect::<Result<_, _>>()
            .map_err(|error| format!("capabilities: {error}"))?;
        if !self.http.is_empty() {
            capabilities.insert(Capability::Http);
        }
        Ok(PluginSettings {
            limits,
            http: desk::http_settings(),
            config: self.config.iter().map(|(key, value)| (key.clone(), setting(value))).collect(),
            capabilities,
        })
    }
}

impl From<Boot> for BootOutcome {
    fn from(boot: Boot) -> BootOutcome {
        match boot {
            Boot::NotWaitedFor => BootOutcome::NotWaitedFor,
            Boot::Rebooted => BootOutcome::Rebooted,
            Boot::HostRestartedOnly => BootOutcome::HostRestartedOnly,
            Boot::Expired => BootOutcome::Expired,
        }
    }
}

/// Returns the reason why a component does not load with the settings of a case.
fn not_loaded(error: &LoadError) -> String {
    let reason = program::chain(error);
    match error {
        LoadError::NotGranted { capability: Some(Capability::Http), .. } => format!(
            "{reason}; `http` in the case grants it and has the responses, and `\"capabilities\": \
             [\"http\"]` grants it without responses"
        ),
        LoadError::NotGranted { capability: Some(capability), .. } => {
            format!("{reason}; `\"capabilities\": [\"{capability}\"]` in the case grants it")
        }
        _ => reason.to_string(),
    }
}

fn timestamp<'de, D: Deserializer<'de>>(json: D) -> Result<Option<Timestamp>, D::Error> {
    String::deserialize(json)?.parse().map(Some).map_err(serde::de::Error::custom)
}

/// Converts a setting to the string that the interface `config` passes to the plugin.
fn setting(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
