//! A record of a plugin's actions, in order and with their times.
//!
//! The limits of a call on log lines, reports and messages bound the size of the record.

use std::fmt;
use std::time::Duration;

use futures_util::future::{BoxFuture, ready};
use json::escape;
use parking_lot::{Mutex, MutexGuard};
use plugin::{CallError, HostError, Level, LogLine, LogSink, TelemetrySink};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::Observer;

/// An action of a plugin and its time.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Event {
    /// The time since the start of the first call on the device, in milliseconds.
    pub at_ms: u64,
    /// The action.
    #[serde(flatten)]
    pub action: Action,
}

/// An action of a plugin that is visible outside the sandbox, or an event that it causes.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// A line in the log.
    Log {
        /// The level, from `trace` to `error`.
        level: &'static str,
        /// The message.
        message: String,
        /// The fields.
        #[serde(serialize_with = "as_object")]
        fields: Vec<(String, String)>,
    },
    /// A patch of the reported properties.
    Reported(Map<String, Value>),
    /// A message to the cloud.
    Sent {
        /// The content type that the plugin passed.
        content_type: String,
        /// The body as a string, escaped if it is not UTF-8.
        body: String,
        /// The application properties.
        #[serde(serialize_with = "as_object")]
        properties: Vec<(String, String)>,
    },
    /// A change or deletion of a key of the state.
    State {
        /// The key.
        key: String,
        /// The new value as a string, escaped if it is not UTF-8. `None` if the key was
        /// deleted.
        value: Option<String>,
    },
    /// A scheduled job.
    JobAsked {
        /// The job's id.
        id: String,
        /// The job's name.
        name: String,
        /// The job's payload as JSON text.
        payload: String,
        /// The time when the job is due, such as `after-delay 500 ms`.
        when: String,
    },
    /// A cancelled job.
    JobCancelled {
        /// The job's id.
        id: String,
    },
    /// A run of a job.
    JobRan {
        /// The job's id.
        id: String,
        /// The job's name.
        name: String,
        /// The number of the run, from 1.
        run: u32,
        /// A description of the outcome, which is `done` if the job succeeded.
        outcome: String,
    },
    /// A stop at the limit on job runs while jobs are still pending.
    JobsLeft {
        /// The number of runs.
        runs: u32,
    },
    /// A requested reboot.
    RebootAsked {
        /// The delay after the request, in milliseconds.
        delay_ms: u64,
        /// The reason given by the plugin.
        reason: String,
    },
    /// A simulated boot.
    Booted,
    /// A simulated restart of the host.
    HostRestarted,
    /// The amount by which a counter has grown.
    Counter {
        /// The name.
        name: String,
        /// The labels.
        #[serde(serialize_with = "as_object")]
        labels: Vec<(String, String)>,
        /// The amount.
        value: f64,
    },
    /// The last value of a gauge.
    Gauge {
        /// The name.
        name: String,
        /// The labels.
        #[serde(serialize_with = "as_object")]
        labels: Vec<(String, String)>,
        /// The value.
        value: f64,
    },
    /// The values that were added to a histogram.
    Histogram {
        /// The name.
        name: String,
        /// The labels.
        #[serde(serialize_with = "as_object")]
        labels: Vec<(String, String)>,
        /// The number of values.
        count: u64,
        /// The sum of the values.
        sum: f64,
    },
    /// An HTTP request.
    HttpRequest {
        /// The method.
        method: String,
        /// The URL.
        url: String,
        /// The status and size of the response, or the reason why there is none.
        outcome: String,
    },
}

pub(super) struct Record {
    started: Instant,
    observer: Option<Observer>,
    events: Mutex<Vec<Event>>,
}

impl Record {
    /// Creates an empty record whose time starts now.
    pub(super) fn new(observer: Option<Observer>) -> Record {
        Record { started: Instant::now(), observer, events: Mutex::default() }
    }

    /// Returns the time since the record was created.
    pub(super) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Adds an action and notifies the observer.
    pub(super) fn add(&self, action: Action) {
        let event = Event { at_ms: milliseconds(self.now()), action };
        if let Some(observer) = &self.observer {
            observer(&event);
        }
        self.lock().push(event);
    }

    /// Removes and returns all events.
    pub(super) fn take(&self) -> Vec<Event> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Event>> {
        self.events.lock()
    }
}

impl LogSink for Record {
    fn write(&self, line: &LogLine<'_>) {
        self.add(Action::Log {
            level: level_name(line.level),
            message: line.message.to_owned(),
            fields: line.fields.to_vec(),
        });
    }
}

impl TelemetrySink for Record {
    fn send<'a>(
        &'a self,
        _plugin: &'a str,
        body: Vec<u8>,
        content_type: String,
        properties: Vec<(String, String)>,
    ) -> BoxFuture<'a, Result<(), HostError>> {
        self.add(Action::Sent { content_type, body: text(&body), properties });
        Box::pin(ready(Ok(())))
    }
}

/// Returns a log line for a call that failed without effect on the others.
pub(super) fn readable_failure(message: &str, error: &CallError) -> Action {
    Action::Log {
        level: level_name(Level::Warn),
        message: format!("{message}: {}", error.message()),
        fields: Vec::new(),
    }
}

/// Converts bytes to a string and escapes them if they are not UTF-8.
#[must_use]
pub fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.escape_ascii().to_string(),
    }
}

/// Serialises pairs as a JSON object. If a name occurs twice, the last value wins.
fn as_object<S: Serializer>(pairs: &[(String, String)], json: S) -> Result<S::Ok, S::Error> {
    object(pairs).serialize(json)
}

/// Converts pairs to a JSON object. If a name occurs twice, the last value wins.
pub(crate) fn object(pairs: &[(String, String)]) -> Map<String, Value> {
    pairs.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect()
}

/// Converts a duration to whole milliseconds, rounded down.
#[must_use]
pub fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

fn level_name(level: Level) -> &'static str {
    match level {
        Level::Trace => "trace",
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}

impl Action {
    /// Returns the kind of action, such as `reported`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Action::Log { level, .. } => level,
            Action::Reported(_) => "reported",
            Action::Sent { .. } => "sent",
            Action::State { .. } => "state",
            Action::JobAsked { .. }
            | Action::JobCancelled { .. }
            | Action::JobRan { .. }
            | Action::JobsLeft { .. } => "job",
            Action::RebootAsked { .. } | Action::Booted | Action::HostRestarted => "power",
            Action::Counter { .. } | Action::Gauge { .. } | Action::Histogram { .. } => "metric",
            Action::HttpRequest { .. } => "http",
        }
    }
}

/// Formats the details of the action on one line, without its [`kind`](Action::kind).
impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Action::Log { message, fields, .. } => {
                f.write_str(message)?;
                pairs(f, fields)
            }
            Action::Reported(patch) => {
                f.write_str(&escaped(&serde_json::to_string(patch).map_err(|_| fmt::Error)?))
            }
            Action::Sent { content_type, body, properties } => {
                if !content_type.is_empty() {
                    write!(f, "{} ", escaped(content_type))?;
                }
                write!(f, "{}", escaped(body))?;
                pairs(f, properties)
            }
            Action::State { key, value: Some(value) } => {
                write!(f, "{} = {}", escaped(key), escaped(value))
            }
            Action::State { key, value: None } => write!(f, "{} deleted", escaped(key)),
            Action::JobAsked { id, name, payload, when } => {
                write!(f, "{id} `{}` {when}: {}", escaped(name), escaped(payload))
            }
            Action::JobCancelled { id } => write!(f, "{id} cancelled"),
            Action::JobRan { id, name, outcome, .. } => {
                write!(f, "{id} `{}` ran: {}", escaped(name), escaped(outcome))
            }
            Action::JobsLeft { runs } => write!(f, "stopped after {runs} runs; some jobs are left"),
            Action::RebootAsked { delay_ms, reason } => {
                write!(f, "reboot requested in {delay_ms} ms: {}", escaped(reason))
            }
            Action::Booted => f.write_str("boot simulated"),
            Action::HostRestarted => f.write_str("restart of the host simulated"),
            Action::Counter { name, labels, value } => {
                f.write_str(name)?;
                pairs(f, labels)?;
                write!(f, ": +{value}")
            }
            Action::Gauge { name, labels, value } => {
                f.write_str(name)?;
                pairs(f, labels)?;
                write!(f, ": {value}")
            }
            Action::Histogram { name, labels, count, sum } => {
                f.write_str(name)?;
                pairs(f, labels)?;
                write!(f, ": count {count}, sum {sum}")
            }
            Action::HttpRequest { method, url, outcome } => {
                write!(f, "{method} {}: {}", escaped(url), escaped(outcome))
            }
        }
    }
}

fn pairs(f: &mut fmt::Formatter<'_>, pairs: &[(String, String)]) -> fmt::Result {
    pairs.iter().try_for_each(|(name, value)| write!(f, " {}={}", escaped(name), escaped(value)))
}

/// Escapes a plugin's string, so that it can neither forge a log line nor control a
/// terminal.
pub(super) fn escaped(text: &str) -> String {
    escape(text).into_owned()
}
