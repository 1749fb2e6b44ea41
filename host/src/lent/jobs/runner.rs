//! The interface to the calls of plugins, which run the jobs.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use plugin::BootOutcome;

use super::job::JobKind;

/// A runner of jobs on their plugins.
pub(crate) trait Runner: Send + Sync {
    /// Returns `true` if a plugin can run jobs now.
    fn can_run_jobs(&self, plugin: &str) -> bool;

    /// Returns the maximum number of attempts for a job of a plugin.
    fn max_attempts(&self, plugin: &str) -> u32;

    /// Runs one attempt of a job.
    fn run_job<'a>(&'a self, job: JobCall<'a>) -> BoxFuture<'a, JobEnd>;
}

/// One attempt of a job.
#[derive(Debug, Clone)]
pub(crate) struct JobCall<'a> {
    /// The id of the call.
    pub(crate) id: Arc<str>,
    pub(crate) plugin: &'a str,
    pub(crate) kind: JobKind,
    pub(crate) name: &'a str,
    pub(crate) payload: &'a str,
    pub(crate) attempt: u32,
    pub(crate) boot_outcome: BootOutcome,
    /// The span that has requested the job, as `traceparent`.
    pub(crate) traceparent: Option<&'a str>,
}

/// The end of an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum JobEnd {
    Done,
    /// A permanent failure, with the plugin's reason.
    Rejected(String),
    /// A failure after which the job is retried, after `retry_after` if the plugin set it.
    Failed {
        retry_after: Option<Duration>,
        reason: String,
    },
    /// A skipped attempt, with the reason why the plugin accepts no calls now.
    NotNow(String),
    /// An attempt that was cancelled because the host stops.
    Stopped,
}
