//! Test cases of a plugin, one JSON file each.
//!
//! A file describes the state before a call, the call, and the expected outcome. The file's
//! stem is the name of the case. Every key of `expect` is optional. An unknown key is an
//! error, because a misspelt key would test nothing. Each case runs in its own sandbox and
//! in virtual time, so that times are exact; see [`Desk`].

mod compare;
mod expect;
mod log_diff;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plugin::{BootOutcome, Capability, Compiled, Engine, Limits, PluginSettings};
use program::text;
use protocol::id::MethodName;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::desk::{Desk, ExportCall, Outcome};
pub use compare::Difference;
pub use expect::Expect;
pub use log_diff::{LogDiff, Side};

/// A test case, as parsed from its file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Case {
    /// The method to call. Exactly one of `method`, `job`, `changed` and `start` must be
    /// present.
    pub method: Option<MethodName>,
    /// The job to run.
    pub job: Option<String>,
    /// The patch of the desired properties of which the plugin is notified.
    pub changed: Option<Map<String, Value>>,
    /// The version that the starting plugin replaces; `null` if there was none.
    #[serde(default, deserialize_with = "expect::present")]
    pub start: Option<Option<String>>,
    /// The payload of the method or job; `null` by default.
    #[serde(default)]
    pub payload: Option<Box<RawValue>>,
    /// The attempt number of the job; 1 by default.
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
    /// The plugin's state before the call: keys and their values as strings.
    #[serde(default)]
    pub state: BTreeMap<String, String>,
    /// `true` if the device is not connected to the hub.
    #[serde(default)]
    pub offline: bool,
    /// `true` to run the jobs that the call schedules once it has returned.
    #[serde(default)]
    pub run_jobs: bool,
    /// The expected outcome.
    #[serde(default)]
    pub expect: Expect,
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
}

/// A case file, found by [`find`].
#[derive(Debug)]
pub struct CaseFile {
    /// The file's stem.
    pub name: String,
    /// The case, or a one-line message about the first error in the file.
    pub case: Result<Case, String>,
}

/// The result of running a case.
pub struct Verdict {
    /// The differences from the expectations; empty if the case passed.
    pub differences: Vec<Difference>,
    /// The outcome of the call.
    pub outcome: Outcome,
    /// The peak linear memory of the call and its jobs, in bytes.
    pub memory_bytes: usize,
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
        let case = read(&file).map_err(|why| format!("{}: {why}", file.display()));
        CaseFile { name, case }
    });
    Ok(found.collect())
}

fn read(file: &Path) -> Result<Case, String> {
    let text = text::read(file).map_err(|error| error.to_string())?;
    let case: Case = parse(&text)?;
    case.desk().map(drop)?;
    case.settings()?;
    case.export_call()?;
    case.expect.check()?;
    Ok(case)
}

/// Parses a case. An error message names the key and the line.
fn parse(text: &str) -> Result<Case, String> {
    let mut json = serde_json::Deserializer::from_str(text);
    let case = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let path = error.path().to_string();
        match path.as_str() {
            "." | "" | "?" => error.inner().to_string(),
            _ => format!("{path}: {}", error.inner()),
        }
    })?;
    json.end().map_err(|error| error.to_string())?;
    Ok(case)
}

impl Case {
    /// Runs the case.
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
        let plugin = engine
            .plugin(name, component, self.settings()?)
            .map_err(|error| program::chain(&error).to_string())?;
        let outcome = self.desk()?.call(&plugin, &self.export_call()?);
        Ok(Verdict {
            differences: self.expect.compare(&outcome),
            outcome,
            memory_bytes: plugin.peak_memory_bytes(),
        })
    }

    /// Returns the device that the case describes. An error message names the key.
    fn desk(&self) -> Result<Desk, String> {
        let InitialTwin { desired, reported } = &self.twin;
        let mut desk = Desk::default()
            .with_twin(desired.clone(), reported.clone())
            .map_err(|error| format!("twin: {error}"))?;
        if let Some(patch) = &self.changed {
            desk = desk.with_change(patch).map_err(|error| format!("changed: {error}"))?;
        }
        desk.offline = self.offline;
        desk.run_jobs = self.run_jobs;
        desk.state =
            self.state.iter().map(|(key, text)| (key.clone(), text.clone().into_bytes())).collect();
        Ok(desk)
    }

    /// Returns the call that the case makes.
    fn export_call(&self) -> Result<ExportCall<'_>, String> {
        let payload = self.payload.as_ref().map_or("null", |payload| payload.get());
        let no_job = self.attempt.is_none() && self.boot_outcome.is_none();
        match (&self.method, &self.job, &self.changed, &self.start) {
            (Some(name), None, None, None) if no_job => {
                Ok(ExportCall::Method { name: name.as_str(), payload })
            }
            (None, Some(name), None, None) => Ok(ExportCall::Job {
                name,
                payload,
                attempt: self.attempt.unwrap_or(1),
                boot_outcome: self.boot_outcome.unwrap_or(Boot::NotWaitedFor).into(),
            }),
            (None, None, Some(patch), None) if no_job && self.payload.is_none() => {
                Ok(ExportCall::Changed { patch })
            }
            (None, None, None, Some(previous)) if no_job && self.payload.is_none() => {
                Ok(ExportCall::Start { previous_version: previous.as_deref() })
            }
            (Some(_), None, None, None) => {
                Err("`attempt` and `boot_outcome` need `job`".to_owned())
            }
            (None, None, Some(_), None) | (None, None, None, Some(_)) => {
                Err("`payload`, `attempt` and `boot_outcome` do not apply to `changed` and `start`"
                    .to_owned())
            }
            _ => Err("expected exactly one of `method`, `job`, `changed` and `start`".to_owned()),
        }
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
        Ok(PluginSettings {
            limits,
            config: self.config.iter().map(|(key, value)| (key.clone(), setting(value))).collect(),
            capabilities: capabilities
                .collect::<Result<_, _>>()
                .map_err(|error| format!("capabilities: {error}"))?,
            ..PluginSettings::default()
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

/// Converts a setting to the string that the interface `config` passes to the plugin.
fn setting(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
