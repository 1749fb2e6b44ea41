//! Jobs, which outlive the calls that schedule them.

use super::HostError;
use futures_util::future::BoxFuture;
use std::time::Duration;

/// Stores jobs until they are due.
///
/// Each future resolves after its change has been persisted.
pub trait JobQueue: Send + Sync {
    /// Adds a job and returns its id. `call` is the id of the requesting call.
    /// `max_pending` is the maximum number of pending jobs of the plugin, including this
    /// one: [`Limits::jobs`](crate::Limits::jobs).
    fn add<'a>(
        &'a self,
        plugin: &'a str,
        call: &'a str,
        job: NewJob,
        max_pending: u32,
    ) -> BoxFuture<'a, Result<String, HostError>>;

    /// Makes the jobs due that were waiting for the end of `call`. Called after its answer
    /// was sent, or when there will be no answer.
    fn call_ended(&self, _call: &str) {}

    /// Cancels a job of the plugin. Returns `true` if it was pending.
    fn cancel<'a>(&'a self, plugin: &'a str, id: &'a str)
    -> BoxFuture<'a, Result<bool, HostError>>;
}

/// A job requested by a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    /// Name chosen by the plugin.
    pub name: String,
    /// Payload: any JSON value, as JSON text.
    pub payload: String,
    /// Event or time at which the job is due.
    pub when: JobWhen,
}

/// Event or time at which a job is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobWhen {
    /// After the answer of the requesting call has been sent.
    AfterResponse,
    /// After this delay.
    AfterDelay(Duration),
    /// After the next boot of the machine.
    AfterBoot {
        /// Maximum wait; the job then runs without a boot.
        within: Duration,
    },
}

/// Outcome of the boot that a job waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub enum BootOutcome {
    /// The call did not wait for a boot.
    #[default]
    NotWaitedFor,
    /// The machine was rebooted.
    Rebooted,
    /// The host was restarted, but the machine was not.
    HostRestartedOnly,
    /// The maximum wait expired.
    Expired,
}
