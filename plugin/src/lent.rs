//! The handles that the host lends to a call, one for each purpose.
//!
//! The host implements the traits; a plugin reaches them through the interfaces
//! of its world and nothing else. Arguments have been checked before a method
//! here is called: a patch is an object, sizes and counts are within the
//! [`Limits`](crate::Limits), text for the log has no control characters.
//!
//! The functions without a future run on a guest's stack, on a thread that
//! serves other calls too: they return at once.

mod http;
mod jobs;
mod nothing;
mod power;
mod state;

use futures_util::future::BoxFuture;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;

pub use http::{HttpClient, HttpError, HttpRequest};
pub use jobs::{BootOutcome, JobQueue, JobWhen, NewJob};
pub use nothing::Nothing;
pub use power::Power;
pub use state::StateStore;

/// Everything that one plugin may reach. Calls share it.
#[derive(Clone)]
pub struct Lent {
    /// The device's id on the hub.
    pub device_id: Arc<str>,
    /// The time, and waiting for it.
    pub clock: Arc<dyn Clock>,
    /// The sink of log lines.
    pub log: Arc<dyn LogSink>,
    /// The device twin.
    pub twin: Arc<dyn TwinAccess>,
    /// Device-to-cloud messages.
    pub telemetry: Arc<dyn TelemetrySink>,
    /// The state of plugins.
    pub state: Arc<dyn StateStore>,
    /// Work that outlives its call.
    pub jobs: Arc<dyn JobQueue>,
    /// The machine's power, for those that were granted it.
    pub power: Arc<dyn Power>,
    /// Requests to other machines, for those that were granted them.
    pub http: Arc<dyn HttpClient>,
}

/// The host's time. A test, or the author's tool, may lend a virtual one.
pub trait Clock: Send + Sync {
    /// The time now.
    fn now(&self) -> jiff::Timestamp;
    /// Waits this long.
    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()>;
}

/// The clock of the operating system.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn now(&self) -> jiff::Timestamp {
        jiff::Timestamp::now()
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// Takes log lines.
pub trait LogSink: Send + Sync {
    /// Takes one line.
    fn write(&self, line: &LogLine<'_>);
}

/// The importance of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every step.
    Trace,
    /// Detail for the search of a fault.
    Debug,
    /// An action that was done.
    Info,
    /// Odd, but the work goes on.
    Warn,
    /// Someone must act.
    Error,
}

/// One line of a plugin's log. The texts that came from the plugin have their
/// control characters escaped, so that a line stays a line.
#[derive(Debug, Clone, Copy)]
pub struct LogLine<'a> {
    /// The plugin's name.
    pub plugin: &'a str,
    /// The method that is being called.
    pub method: &'a str,
    /// The call's id.
    pub call: &'a str,
    /// The importance.
    pub level: Level,
    /// The text of the line.
    pub message: &'a str,
    /// Facts, by name.
    pub fields: &'a [(String, String)],
}

/// Reads the device twin and changes what the device reports.
pub trait TwinAccess: Send + Sync {
    /// Queues a change and returns without the network, but only when it cannot
    /// be lost any more.
    fn report<'a>(
        &'a self,
        plugin: &'a str,
        patch: Map<String, Value>,
    ) -> BoxFuture<'a, Result<(), HostError>>;

    /// Queues a change and waits until the hub has accepted it. Returns the version of
    /// the reported properties that the hub acknowledged. `timeout` is always shorter
    /// than the rest of the call.
    fn report_and_wait<'a>(
        &'a self,
        plugin: &'a str,
        patch: Map<String, Value>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<u64, HostError>>;

    /// The desired properties, as the host last saw them.
    fn desired(&self) -> Result<Document, HostError>;

    /// The reported properties, as the hub last acknowledged them.
    fn reported(&self) -> Result<Document, HostError>;
}

/// One half of a twin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// A JSON object as text, without `$version` and `$metadata`.
    pub body: String,
    /// The hub's version of it.
    pub version: u64,
}

/// Takes device-to-cloud messages.
pub trait TelemetrySink: Send + Sync {
    /// Queues one message and returns without the network, but only when the
    /// message is as safe as the host makes any. `properties` are its application
    /// properties.
    fn send<'a>(
        &'a self,
        plugin: &'a str,
        body: Vec<u8>,
        content_type: String,
        properties: Vec<(String, String)>,
    ) -> BoxFuture<'a, Result<(), HostError>>;
}

/// The host's refusal of a plugin's request. The plugin gets it as an error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// This plugin may not.
    #[error("denied: {0}")]
    Denied(String),
    /// An argument is not what the function takes.
    #[error("{0}")]
    Invalid(String),
    /// An argument is longer than is accepted.
    #[error("{0}")]
    TooLarge(String),
    /// This plugin has used up what it may.
    #[error("{0}")]
    QuotaExceeded(String),
    /// The device has no connection to the hub.
    #[error("the device is offline")]
    Offline,
    /// No answer from the hub in time.
    #[error("the hub did not answer in time")]
    Timeout,
    /// The hub asks for less; perhaps again after this many milliseconds.
    #[error("throttled by the hub")]
    Throttled(Option<u32>),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}
