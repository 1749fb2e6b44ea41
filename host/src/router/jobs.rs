//! Running jobs on the active version of their plugin.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use plugin::{Call, CallError, JobError, readable};
use tokio::time::Instant;

use super::{Router, ended};
use crate::lent::jobs::{JobCall, JobEnd, Runner};

impl Runner for Router {
    fn can_run_jobs(&self, plugin: &str) -> bool {
        self.table().slot(plugin).is_some()
    }

    fn max_attempts(&self, plugin: &str) -> u32 {
        let table = self.table();
        // A job waits while its plugin is not configured or not loaded. The wait does not count
        // as an attempt.
        let version = table.slot(plugin).and_then(|slot| slot.view().active);
        version.map_or(u32::MAX, |version| version.loaded.settings.job_attempts())
    }

    fn run_job<'a>(&'a self, job: JobCall<'a>) -> BoxFuture<'a, JobEnd> {
        Box::pin(async move {
            let stopped = self.stopped();
            tokio::select! {
                end = self.job(job) => end,
                () = stopped.cancelled() => JobEnd::Stopped,
            }
        })
    }
}

impl Router {
    /// Runs a job, unless the host or the plugin accepts no calls.
    async fn job(&self, job: JobCall<'_>) -> JobEnd {
        if self.is_draining() {
            return JobEnd::NotNow("the host is stopping".into());
        }
        let table = self.table();
        let Some(slot) = table.slot(job.plugin) else {
            return JobEnd::NotNow("the configuration has no such plugin".into());
        };
        let begun = match slot.begin(Instant::now()) {
            Ok(begun) => begun,
            Err(disabled) => return JobEnd::NotNow(disabled.to_string()),
        };
        let call = Call {
            id: job.id,
            method: job.name,
            payload: job.payload,
            attempt: job.attempt,
            boot_outcome: job.boot_outcome,
            lent: Arc::clone(&self.lent),
        };
        let outcome = begun.version.loaded.plugin.run_job(call).await;
        ended(slot, &begun, outcome.as_ref().err());
        match outcome {
            Ok(Ok(())) => JobEnd::Done,
            Ok(Err(error)) => job_end(error),
            Err(error @ (CallError::Busy { .. } | CallError::NoInstance(_))) => {
                JobEnd::NotNow(error.message())
            }
            Err(error) => JobEnd::Failed { retry_after: None, reason: error.message() },
        }
    }
}

/// Converts a plugin's error for a job, with messages escaped for the log.
fn job_end(error: JobError) -> JobEnd {
    let escaped = |reason: String| readable(&reason).into_owned();
    match error {
        JobError::Retry(after_ms) => JobEnd::Failed {
            retry_after: after_ms.map(|ms| Duration::from_millis(ms.into())),
            reason: "the plugin requested a retry".into(),
        },
        JobError::Reject(reason) => JobEnd::Rejected(escaped(reason)),
        JobError::Other(reason) => JobEnd::Failed { retry_after: None, reason: escaped(reason) },
    }
}
