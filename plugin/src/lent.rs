//! Handles that the host lends to a call, one for each purpose.
//!
//! The host implements the traits. A plugin reaches them only through the interfaces of its
//! world, which check the arguments first: a patch is an object, sizes and counts are
//! within the [`Limits`](crate::Limits), and text for the log has no control characters.
//!
//! Methods that return no future run on a guest's stack, on a thread that serves other
//! calls as well, so they must not block.

mod http;
mod jobs;
mod metrics;
mod nothing;
mod power;
mod state;

use futures_util::future::BoxFuture;
use serde_json::{Map, Value};
use std::sync::Arc;
use std::time::Duration;

pub use http::{HttpClient, HttpError, HttpRequest};
pub use jobs::{BootOutcome, JobQueue, JobWhen, NewJob};
pub use metrics::MetricSink;
pub use nothing::Nothing;
pub use power::Power;
pub use state::StateStore;

/// All handles of one plugin, shared by its calls.
#[derive(Clone)]
pub struct Lent {
    /// Id of the device on the hub.
    pub device_id: Arc<str>,
    /// Clock and timers.
    pub clock: Arc<dyn Clock>,
    /// Receiver of log lines.
    pub log: Arc<dyn LogSink>,
    /// Device twin.
    pub twin: Arc<dyn TwinAccess>,
    /// Receiver of device-to-cloud messages.
    pub telemetry: Arc<dyn TelemetrySink>,
    /// Persistent state of plugins.
    pub state: Arc<dyn StateStore>,
    /// Jobs, which outlive their calls.
    pub jobs: Arc<dyn JobQueue>,
    /// Metrics of plugins.
    pub metrics: Arc<dyn MetricSink>,
    /// Reboots of the machine, for plugins with the capability `power`.
    pub power: Arc<dyn Power>,
    /// HTTP requests, for plugins with the capability `http`.
    pub http: Arc<dyn HttpClient>,
}

/// The host's clock. Tests and the author's tool can use a virtual one.
pub trait Clock: Send + Sync {
    /// Returns the current time.
    fn now(&self) -> jiff::Timestamp;
    /// Waits for `duration`.
    fn sleep(&self, duration: Duration) -> BoxFuture<'_, ()>;
}

/// Clock of the operating system.
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

/// Receives log lines.
pub trait LogSink: Send + Sync {
    /// Receives one line.
    fn write(&self, line: &LogLine<'_>);

    /// Forgets the lines of plugins that are not configured any more. The default does nothing.
    fn retain(&self, is_configured: &dyn Fn(&str) -> bool) {
        let _ = is_configured;
    }
}

/// Severity of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every step of the plugin.
    Trace,
    /// Details for debugging.
    Debug,
    /// A completed action.
    Info,
    /// An unexpected condition that the plugin could handle.
    Warn,
    /// A condition that requires action by a person.
    Error,
}

/// A line of a plugin's log. Control characters in the plugin's text are escaped, so a line
/// cannot span several lines of the log.
#[derive(Debug, Clone, Copy)]
pub struct LogLine<'a> {
    /// Name of the plugin.
    pub plugin: &'a str,
    /// Name of the called method.
    pub method: &'a str,
    /// Id of the call.
    pub call: &'a str,
    /// Severity.
    pub level: Level,
    /// Text of the line.
    pub message: &'a str,
    /// Structured data, as names and values.
    pub fields: &'a [(String, String)],
}

/// Reads the device twin and reports properties.
pub trait TwinAccess: Send + Sync {
    /// Queues a change and returns without waiting for the network. Returns only after the
    /// change has been persisted.
    fn report<'a>(
        &'a self,
        plugin: &'a str,
        patch: Map<String, Value>,
    ) -> BoxFuture<'a, Result<(), HostError>>;

    /// Queues a change, waits until the hub has accepted it, and returns the version of the
    /// reported properties that the hub acknowledged. `timeout` ends before the deadline of
    /// the call.
    fn report_and_wait<'a>(
        &'a self,
        plugin: &'a str,
        patch: Map<String, Value>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<u64, HostError>>;

    /// Returns the desired properties that the host received last.
    fn desired(&self) -> Result<Document, HostError>;

    /// Returns the reported properties that the hub acknowledged last.
    fn reported(&self) -> Result<Document, HostError>;
}

/// The desired or the reported half of a twin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Document {
    /// JSON object as text, without `$version` and `$metadata`.
    pub body: String,
    /// Version assigned by the hub.
    pub version: u64,
}

/// Sends device-to-cloud messages.
pub trait TelemetrySink: Send + Sync {
    /// Queues one message with its application properties and returns without waiting for
    /// the network. Returns only after the message has been stored as durably as the host
    /// supports.
    fn send<'a>(
        &'a self,
        plugin: &'a str,
        body: Vec<u8>,
        content_type: String,
        properties: Vec<(String, String)>,
    ) -> BoxFuture<'a, Result<(), HostError>>;
}

/// The host's refusal of a plugin's request, returned to the plugin as an error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HostError {
    /// The plugin is not allowed to do this.
    #[error("denied: {0}")]
    Denied(String),
    /// An argument is invalid.
    #[error("{0}")]
    Invalid(String),
    /// An argument is too large.
    #[error("{0}")]
    TooLarge(String),
    /// The plugin has used up a quota.
    #[error("{0}")]
    QuotaExceeded(String),
    /// The device is not connected to the hub.
    #[error("the device is offline")]
    Offline,
    /// The hub did not respond in time.
    #[error("the hub did not answer in time")]
    Timeout,
    /// The hub throttles the device. Retry after this many milliseconds, if known.
    #[error("throttled by the hub")]
    Throttled(Option<u32>),
    /// Any other reason.
    #[error("{0}")]
    Other(String),
}
