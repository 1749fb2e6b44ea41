//! Work that outlives its call.

use super::HostError;
use futures_util::future::BoxFuture;
use std::time::Duration;

/// Keeps jobs until they are due.
///
/// What a future has done is on disk before it is ready.
pub trait JobQueue: Send + Sync {
    /// Accepts a job and returns its id. `call` is the id of the requesting call, and
    /// `most_waiting` the number of jobs that the plugin may have waiting, this one
    /// included: [`Limits::jobs`](crate::Limits::jobs).
    fn add<'a>(
        &'a self,
        plugin: &'a str,
        call: &'a str,
        job: NewJob,
        most_waiting: u32,
    ) -> BoxFuture<'a, Result<String, HostError>>;

    /// The answer of a call has left, or there will be none: its jobs that wait
    /// for that are due.
    fn call_ended(&self, _call: &str) {}

    /// Takes a job of this plugin out again; says whether it was still waiting.
    fn cancel<'a>(&'a self, plugin: &'a str, id: &'a str)
    -> BoxFuture<'a, Result<bool, HostError>>;
}

/// A job as a plugin asks for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewJob {
    /// Name that the plugin gave it.
    pub name: String,
    /// JSON text, any value.
    pub payload: String,
    /// The event or time at which it is due.
    pub when: JobWhen,
}

/// The event or time at which a job is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum JobWhen {
    /// Once the answer of the call that asked has left.
    AfterResponse,
    /// After this time.
    AfterDelay(Duration),
    /// Once the machine has booted anew.
    AfterBoot {
        /// After this time it runs without.
        within: Duration,
    },
}

/// Outcome of the boot that a job waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
pub enum BootOutcome {
    /// The call is not such a job.
    #[default]
    NotWaitedFor,
    /// The machine has booted anew.
    Rebooted,
    /// The host was started anew, but the machine was not.
    HostRestartedOnly,
    /// The time was up.
    Expired,
}
