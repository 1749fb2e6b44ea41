//! The command `behaviour call`.

mod state_file;

use std::collections::{BTreeMap, BTreeSet};
use std::io::stderr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use behaviour::desk::{
    CallFailure, Desk, DeskError, Event, ExportCall, Network, Outcome, Time, http_settings, load,
    milliseconds, text,
};
use plugin::{
    BootOutcome, CallError, Capability, HttpHost, HttpSettings, Json, Limits, Plugin,
    PluginSettings,
};
use program::{Progress, note};
use protocol::id::MethodName;
use serde::Serialize;
use serde_json::{Map, Value};

use super::component::component;
use super::error::{CommandError, FailureKind};
use super::event_line::event_line;
use super::paint::Paint;
use super::{print_line, values};

const LONG: &str = "\
Call one method of a plugin on this machine, without a network.

The plugin gets a fresh sandbox with the limits of the host, a clock, its settings, a twin, a state and a job queue, all in \
memory. Its actions are printed to standard error, one per line with the time since the start; only its answer is printed to \
standard output. HTTP requests are refused, except to the hosts of --allow-http.

Time is virtual: it starts at 2026-01-01T00:00:00.000Z and advances only while the plugin waits. A plugin that computes without \
waiting is stopped after its deadline in real time.

With --state-file, the plugin's state, the twin, the pending jobs and the time continue from the last call with the same file. \
--desired and --reported each replace one half of the twin, --state adds entries, and --run-jobs also runs the jobs of earlier calls. \
The file is JSON and readable only by its owner.";

const EXAMPLES: &str = "\
Examples:
  behaviour call . greet '\"world\"'
  behaviour call reboot.wasm rebootDevice
  behaviour call reboot.wasm rebootDevice '{\"delaySeconds\": 5}' --config property=status.lastReboot
  behaviour call greet.wasm greet @payload.json --desired '{\"language\": \"de\"}' --json
  behaviour call greet.wasm greet '\"world\"' 2>/dev/null | jq .hello
  behaviour call ping.wasm ping --allow-http http://localhost:8080
  behaviour call reboot.wasm --changed '{\"delay\": 5}'
  behaviour call counter.wasm count --state-file counter.json

Exit codes:
  0  the plugin answered with a status below 400, or completed the call
  1  the plugin answered with another status, refused to start, or failed
  2  the command line is wrong
  3  the component is missing or cannot be built, or a host would not load it";

/// Call one method of a plugin on this machine, without a network.
#[derive(clap::Args)]
#[command(long_about = LONG, after_help = EXAMPLES)]
pub(crate) struct Call {
    /// A component file, or the folder of a plugin to build first.
    file: PathBuf,
    /// The method's name.
    #[arg(required_unless_present_any = ["changed", "start"])]
    method: Option<MethodName>,
    /// The payload: any JSON value, `@FILE`, or `-` for standard input.
    #[arg(default_value = "null", value_parser = values::json, allow_negative_numbers = true)]
    payload: String,

    /// Run the job METHOD instead of calling a method.
    #[arg(long, requires = "method")]
    job: bool,
    /// Change the desired properties and notify the plugin instead of calling a method.
    #[arg(long, value_name = "JSON", value_parser = values::object, conflicts_with = "method")]
    changed: Option<Map<String, Value>>,
    /// Start the plugin instead of calling a method. VERSION is the version that it replaces.
    #[arg(
        long,
        value_name = "VERSION",
        num_args = 0..=1,
        require_equals = true,
        conflicts_with_all = ["method", "changed"]
    )]
    start: Option<Option<String>>,

    /// A setting of the plugin, as under `[plugins.NAME.config]` in host.toml.
    #[arg(long, value_name = "KEY=VALUE", value_parser = values::pair)]
    config: Vec<(String, String)>,
    /// The desired properties: a JSON object, `@FILE`, or `-` for standard input.
    #[arg(long, value_name = "JSON", value_parser = values::object)]
    desired: Option<Map<String, Value>>,
    /// The reported properties before the call: a JSON object, `@FILE`, or `-` for standard input.
    #[arg(long, value_name = "JSON", value_parser = values::object)]
    reported: Option<Map<String, Value>>,
    /// An entry of the plugin's state before the call.
    #[arg(long, value_name = "KEY=TEXT", value_parser = values::pair)]
    state: Vec<(String, String)>,
    /// Store the device's state, twin, pending jobs and time in FILE between calls. A missing
    /// file is created.
    #[arg(long, value_name = "FILE", conflicts_with = "real_time")]
    state_file: Option<PathBuf>,
    /// Grant a capability, as `capabilities` in host.toml does.
    #[arg(long, value_name = "NAME")]
    capability: Vec<Capability>,

    /// Allow requests to this host: api.example.com, or http://localhost:8080 for plain HTTP.
    /// Grants the capability `http`.
    #[arg(long, value_name = "HOST")]
    allow_http: Vec<HttpHost>,
    /// Certificates to trust for HTTPS requests, in addition to the system's.
    #[arg(long, value_name = "FILE", requires = "allow_http")]
    ca_file: Option<PathBuf>,

    /// The deadline of the call: 500ms, 20s, 1m 30s [default: 30s].
    #[arg(long, value_name = "DURATION", value_parser = program::duration::parse_or_seconds)]
    deadline: Option<Duration>,
    /// The limit on the plugin's memory: 1048576, 64MiB [default: 64MiB].
    #[arg(long, value_name = "SIZE", value_parser = values::size)]
    memory: Option<usize>,

    /// Use real time, as on a device.
    #[arg(long)]
    real_time: bool,
    /// Simulate a device without a connection to the hub.
    #[arg(long)]
    offline: bool,
    /// After the call, run the jobs that it has scheduled, and simulate the reboots that it has
    /// requested.
    #[arg(long)]
    run_jobs: bool,
    /// Print the outcome as one JSON object.
    #[arg(long)]
    json: bool,
}

impl Call {
    pub(super) fn run(self) -> Result<ExitCode, CommandError> {
        let desk = self.desk()?;
        let component = component(&self.file)?;
        let plugin = self
            .load(&component)
            .map_err(|error| CommandError::from(error).with_kind(FailureKind::NotLoaded))?;
        let (outcome, image) = desk.call_and_save(&plugin, &self.export_call());
        let memory = plugin.peak_memory_bytes();
        if self.json {
            print_line(&Report::new(&outcome, memory).to_json());
        } else {
            print_outcome(&outcome, self.real_time, memory);
        }
        if let Some(file) = &self.state_file {
            state_file::write(file, &image)?;
        }
        let succeeded =
            outcome.answer.is_ok_and(|answer| answer.is_none_or(|answer| answer.status < 400));
        Ok(if succeeded { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }

    fn desk(&self) -> Result<Desk, CommandError> {
        let mut desk = Desk::default();
        if let Some(file) = &self.state_file {
            state_file::restore(file, &mut desk)?;
        }
        desk = desk.with_twin(self.desired.clone(), self.reported.clone())?;
        if let Some(patch) = &self.changed {
            desk = desk.with_change(patch)?;
        }
        if self.real_time {
            desk.time = Time::Real;
        }
        if !self.allow_http.is_empty() {
            desk.network = Network::Real(self.allow_http.clone());
        }
        desk.offline = self.offline;
        desk.run_jobs = self.run_jobs;
        let entries = self.state.iter();
        desk.state.extend(entries.map(|(key, text)| (key.clone(), text.clone().into_bytes())));
        if !self.json {
            let paint = Paint::on(&stderr());
            desk.observer =
                Some(Arc::new(move |event| note(format_args!("{}", event_line(event, paint)))));
        }
        Ok(desk)
    }

    fn export_call(&self) -> ExportCall<'_> {
        match (&self.method, &self.changed, &self.start) {
            (Some(name), _, _) if self.job => ExportCall::Job {
                name: name.as_str(),
                payload: &self.payload,
                attempt: 1,
                boot_outcome: BootOutcome::NotWaitedFor,
            },
            (Some(name), _, _) => {
                ExportCall::Method { name: name.as_str(), payload: &self.payload }
            }
            (None, Some(patch), _) => ExportCall::Changed { patch },
            (None, None, previous) => {
                ExportCall::Start { previous_version: previous.as_ref().and_then(Option::as_deref) }
            }
        }
    }

    fn load(&self, component: &Path) -> Result<Plugin, DeskError> {
        let mut limits = Limits::default();
        limits.deadline = self.deadline.unwrap_or(limits.deadline);
        limits.memory_bytes = self.memory.unwrap_or(limits.memory_bytes);
        let mut capabilities: BTreeSet<_> = self.capability.iter().copied().collect();
        if !self.allow_http.is_empty() {
            capabilities.insert(Capability::Http);
        }
        let settings = PluginSettings {
            config: self.config.iter().cloned().collect(),
            capabilities,
            http: HttpSettings { ca_file: self.ca_file.clone(), ..http_settings() },
            limits,
        };
        let _progress = Progress::new(&format!("compiling {}", component.display()));
        load(component, settings)
    }
}

/// Prints the answer or the failure, the duration of the call and the memory that it used.
fn print_outcome(outcome: &Outcome, real_time: bool, memory: usize) {
    let paint = Paint::on(&stderr());
    match &outcome.answer {
        Ok(None) => note(format_args!("{}", paint.success("done"))),
        Ok(Some(answer)) => {
            let status = answer.status.to_string();
            let status =
                if answer.status < 400 { paint.success(&status) } else { paint.failure(&status) };
            note(format_args!("{status}"));
            print_line(&answer.payload.as_ref().map_or("null".to_owned(), Json::pretty));
        }
        Err(error) => {
            let status = error.status().map_or_else(String::new, |status| format!("{status} "));
            let status = paint.failure(&(status + error.code()));
            note(format_args!("{status}: {}", error.message()));
            if let CallFailure::Call(CallError::NoExport(interface)) = error {
                note(format_args!(
                    "hint: add `export {interface};` to the plugin's world, and implement it"
                ));
            }
            if !real_time && computed_past_its_deadline(error, outcome.took) {
                note(format_args!(
                    "hint: the plugin computed without waiting, and virtual time advances only while \
                     it waits: sleep in loops that poll the clock, or use --real-time"
                ));
            }
        }
    }
    let elapsed = format!("{:.1} ms", outcome.real_time.as_secs_f64() * 1000.0);
    let took = match real_time {
        true => elapsed,
        false => {
            format!("{:.3} s of virtual time, {elapsed} of real time", outcome.took.as_secs_f64())
        }
    };
    let memory = values::bytes(memory as u64);
    note(format_args!("{}", paint.dim(&format!("took {took}, {memory} of memory"))));
}

/// Returns `true` if the deadline passed in real time but not in virtual time.
fn computed_past_its_deadline(error: &CallFailure, took: Duration) -> bool {
    matches!(error, CallFailure::Call(CallError::DeadlineExceeded(limit)) if took < *limit)
}

/// The outcome of a call, as `--json` prints it.
#[derive(Serialize)]
struct Report<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    answer: Option<Option<&'a Json>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    message: Option<String>,
    took_ms: u64,
    real_time_ms: f64,
    memory_bytes: usize,
    #[serde(rename = "happened")]
    events: &'a [Event],
    reported: &'a Map<String, Value>,
    state: BTreeMap<&'a str, String>,
}

impl Report<'_> {
    fn new(outcome: &Outcome, memory_bytes: usize) -> Report<'_> {
        let (status, answer, error, message) = match &outcome.answer {
            Ok(None) => (None, None, None, None),
            Ok(Some(answer)) => (Some(answer.status), Some(answer.payload.as_ref()), None, None),
            Err(error) => (error.status(), None, Some(error.code()), Some(error.message())),
        };
        Report {
            status,
            answer,
            error,
            message,
            took_ms: milliseconds(outcome.took),
            real_time_ms: outcome.real_time.as_secs_f64() * 1000.0,
            memory_bytes,
            events: &outcome.events,
            reported: &outcome.reported,
            state: outcome.state.iter().map(|(key, value)| (&**key, text(value))).collect(),
        }
    }

    fn to_json(&self) -> String {
        serde_json::to_string(self).expect("strings, numbers and JSON values are valid JSON")
    }
}
