//! The actions of a plugin, in order and with their times.
//!
//! The limits of a call bound its log, reports and messages, and so this record.

use std::fmt;
use std::time::Duration;

use futures_util::future::{BoxFuture, ready};
use json::steers;
use parking_lot::{Mutex, MutexGuard};
use plugin::{HostError, Level, LogLine, LogSink, TelemetrySink};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value};
use tokio::time::Instant;

use super::Show;

/// One thing that a plugin did.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Happened {
    /// The time since the start of the call, in milliseconds.
    pub at_ms: u64,
    /// The action.
    #[serde(flatten)]
    pub what: What,
}

/// An action of a plugin that is visible outside.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum What {
    /// It wrote a line to the log.
    Log {
        /// From `trace` to `error`.
        level: &'static str,
        /// The message.
        message: String,
        /// The facts beside it.
        #[serde(serialize_with = "as_object")]
        fields: Vec<(String, String)>,
    },
    /// It reported a change of the twin.
    Reported(Map<String, Value>),
    /// It sent a message to the cloud.
    Sent {
        /// The message's own word for what it is.
        content_type: String,
        /// Bytes that are no text are escaped.
        body: String,
        /// The application properties.
        #[serde(serialize_with = "as_object")]
        properties: Vec<(String, String)>,
    },
    /// It set a key of its state, or deleted it.
    State {
        /// The key.
        key: String,
        /// Bytes that are no text are escaped; `None` if it was deleted.
        value: Option<String>,
    },
    /// It asked for a job.
    JobAsked {
        /// The job's id.
        id: String,
        /// The plugin's name for it.
        name: String,
        /// JSON text.
        payload: String,
        /// The time when it is due, in words.
        when: String,
    },
    /// It took a job out again.
    JobCancelled {
        /// The job's id.
        id: String,
    },
    /// A job was run.
    JobRan {
        /// The job's id.
        id: String,
        /// The plugin's name for it.
        name: String,
        /// The outcome in words; `done` if it succeeded.
        outcome: String,
    },
    /// Jobs asked for further jobs until the desk had enough.
    JobsLeft {
        /// The number of runs.
        runs: u32,
    },
    /// It asked for a reboot.
    RebootAsked {
        /// The delay after the request, in milliseconds.
        delay_ms: u64,
        /// The reason given by the plugin.
        reason: String,
    },
    /// The machine would have booted.
    Booted,
}

pub(super) struct Record {
    began: Instant,
    show: Option<Show>,
    happened: Mutex<Vec<Happened>>,
}

impl Record {
    /// Begins now.
    pub(super) fn new(show: Option<Show>) -> Record {
        Record { began: Instant::now(), show, happened: Mutex::default() }
    }

    /// The time since the beginning.
    pub(super) fn now(&self) -> Duration {
        self.began.elapsed()
    }

    pub(super) fn keep(&self, what: What) {
        let happened = Happened { at_ms: milliseconds(self.now()), what };
        if let Some(show) = &self.show {
            show(&happened);
        }
        self.lock().push(happened);
    }

    pub(super) fn take(&self) -> Vec<Happened> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Happened>> {
        self.happened.lock()
    }
}

impl LogSink for Record {
    fn write(&self, line: &LogLine<'_>) {
        self.keep(What::Log {
            level: word(line.level),
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
        self.keep(What::Sent { content_type, body: text(&body), properties });
        Box::pin(ready(Ok(())))
    }
}

/// Bytes as text; escaped if they are none.
#[must_use]
pub fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.escape_ascii().to_string(),
    }
}

/// Of a name given twice, the last holds.
fn as_object<S: Serializer>(pairs: &[(String, String)], json: S) -> Result<S::Ok, S::Error> {
    object(pairs).serialize(json)
}

pub(crate) fn object(pairs: &[(String, String)]) -> Map<String, Value> {
    pairs.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect()
}

/// As whole milliseconds.
#[must_use]
pub fn milliseconds(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

fn word(level: Level) -> &'static str {
    match level {
        Level::Trace => "trace",
        Level::Debug => "debug",
        Level::Info => "info",
        Level::Warn => "warn",
        Level::Error => "error",
    }
}

impl What {
    /// One word for it.
    #[must_use]
    pub fn word(&self) -> &'static str {
        match self {
            What::Log { level, .. } => level,
            What::Reported(_) => "reported",
            What::Sent { .. } => "sent",
            What::State { .. } => "state",
            What::JobAsked { .. }
            | What::JobCancelled { .. }
            | What::JobRan { .. }
            | What::JobsLeft { .. } => "job",
            What::RebootAsked { .. } | What::Booted => "power",
        }
    }
}

/// On one line, without its word.
impl fmt::Display for What {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            What::Log { message, fields, .. } => {
                f.write_str(message)?;
                pairs(f, fields)
            }
            What::Reported(patch) => {
                f.write_str(&shown(&serde_json::to_string(patch).map_err(|_| fmt::Error)?))
            }
            What::Sent { content_type, body, properties } => {
                if !content_type.is_empty() {
                    write!(f, "{} ", shown(content_type))?;
                }
                write!(f, "{}", shown(body))?;
                pairs(f, properties)
            }
            What::State { key, value: Some(value) } => {
                write!(f, "{} = {}", shown(key), shown(value))
            }
            What::State { key, value: None } => write!(f, "{} deleted", shown(key)),
            What::JobAsked { id, name, payload, when } => {
                write!(f, "{id} `{}` {when}: {}", shown(name), shown(payload))
            }
            What::JobCancelled { id } => write!(f, "{id} cancelled"),
            What::JobRan { id, name, outcome } => {
                write!(f, "{id} `{}` ran: {}", shown(name), shown(outcome))
            }
            What::JobsLeft { runs } => write!(f, "{runs} runs are enough; some are left"),
            What::RebootAsked { delay_ms, reason } => {
                write!(f, "reboot asked for in {delay_ms} ms: {}", shown(reason))
            }
            What::Booted => f.write_str("here the machine would have booted"),
        }
    }
}

fn pairs(f: &mut fmt::Formatter<'_>, pairs: &[(String, String)]) -> fmt::Result {
    pairs.iter().try_for_each(|(name, value)| write!(f, " {}={}", shown(name), shown(value)))
}

/// Escapes a plugin's text, so that it can neither forge a line nor control a terminal.
pub(super) fn shown(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for sign in text.chars() {
        match steers(sign) {
            true => shown.extend(sign.escape_default()),
            false => shown.push(sign),
        }
    }
    shown
}
