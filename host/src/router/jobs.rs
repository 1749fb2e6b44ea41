//! Running jobs on the active version of their plugin.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use plugin::{BootOutcome, Call, CallError, HostError, JobError, Limits, readable};
use tokio::time::Instant;
use tracing::warn;

use super::spans::end_call_span;
use super::{Router, ended};
use crate::lent::jobs::{CloudMessage, JobCall, JobEnd, JobKind, MESSAGE_JOB, Runner};
use crate::trace::{Span, within};

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
            let span = self.begin_job_span(job.name, job.traceparent);
            let end = tokio::select! {
                end = within(span.as_ref(), self.job(job, span.as_ref())) => end,
                () = stopped.cancelled() => JobEnd::Stopped,
            };
            // A job that the plugin does not accept now has not run.
            if let Some(span) = span.filter(|_| !matches!(end, JobEnd::NotNow(_))) {
                span.end(match &end {
                    JobEnd::Rejected(_) => Some("rejected"),
                    JobEnd::Failed { .. } => Some("failed"),
                    JobEnd::Stopped => Some("stopped"),
                    JobEnd::Done | JobEnd::NotNow(_) => None,
                });
            }
            end
        })
    }
}

impl Router {
    /// Returns the maximum number of waiting jobs of a plugin, its messages included.
    pub(crate) fn max_jobs(&self, plugin: &str) -> u32 {
        let table = self.table();
        let version = table.slot(plugin).and_then(|slot| slot.view().active);
        version.map_or(Limits::default().jobs, |version| version.loaded.plugin.limits().jobs)
    }

    /// Passes a message to a plugin at once. Returns an error if the message has to be sent again.
    pub(crate) async fn receive_message(
        &self,
        plugin: &str,
        message: &CloudMessage,
    ) -> Result<(), HostError> {
        let (id, payload): (Arc<str>, _) = (self.calls.text().into(), message.to_payload());
        let call = JobCall {
            id: Arc::clone(&id),
            plugin,
            kind: JobKind::Message,
            name: MESSAGE_JOB,
            payload: &payload,
            attempt: 1,
            boot_outcome: BootOutcome::NotWaitedFor,
            traceparent: None,
        };
        let end = self.run_job(call).await;
        self.call_ended(&id);
        match end {
            JobEnd::Done => Ok(()),
            JobEnd::Rejected(reason) => {
                warn!(plugin, call = %id, "message rejected by the plugin: {reason}");
                Ok(())
            }
            JobEnd::Failed { reason, .. } | JobEnd::NotNow(reason) => Err(HostError::Other(reason)),
            JobEnd::Stopped => Err(HostError::Other("the host is stopping".to_owned())),
        }
    }

    /// Runs a job, unless the host or the plugin accepts no calls.
    async fn job(&self, job: JobCall<'_>, span: Option<&Span>) -> JobEnd {
        if self.is_draining() {
            return JobEnd::NotNow("the host is stopping".into());
        }
        let table = self.table();
        let Some(slot) = table.slot(job.plugin) else {
            return JobEnd::NotNow("the configuration has no such plugin".into());
        };
        // Parsed before the version begins a call, which has to end.
        let message = match job.kind {
            JobKind::Message => match CloudMessage::from_payload(job.payload) {
                Some(message) => Some(message),
                None => return JobEnd::Rejected("the message is corrupt".into()),
            },
            _ => None,
        };
        let begun = match slot.begin(Instant::now()) {
            Ok(begun) => begun,
            Err(disabled) => return JobEnd::NotNow(disabled.to_string()),
        };
        let mut call = Call {
            id: job.id,
            method: job.name,
            payload: job.payload,
            attempt: job.attempt,
            boot_outcome: job.boot_outcome,
            trace_parent: None,
            lent: Arc::clone(&self.lent),
        };
        let span = self.begin_call_span(span, job.plugin, &mut call);
        let plugin = &begun.version.loaded.plugin;
        let outcome = if let Some(CloudMessage { body, properties }) = message {
            call.payload = "null";
            within(span.as_deref(), plugin.receive_message(call, &body, &properties)).await
        } else {
            let recorded = self.record(slot, &begun, &mut call, true).await;
            let outcome = within(span.as_deref(), plugin.run_job(call)).await;
            if let Some(recorded) = recorded {
                recorded.end_job(&outcome);
            }
            outcome
        };
        end_call_span(span, outcome.as_ref().err());
        ended(slot, &begun, outcome.as_ref().err());
        job_end(outcome)
    }
}

/// Converts the outcome of a call, with the plugin's messages escaped for the log.
fn job_end(outcome: Result<Result<(), JobError>, CallError>) -> JobEnd {
    let escaped = |reason: String| readable(&reason).into_owned();
    match outcome {
        Ok(Ok(())) => JobEnd::Done,
        Ok(Err(JobError::Retry(after_ms))) => JobEnd::Failed {
            retry_after: after_ms.map(|ms| Duration::from_millis(ms.into())),
            reason: "the plugin requested a retry".into(),
        },
        Ok(Err(JobError::Reject(reason))) => JobEnd::Rejected(escaped(reason)),
        Ok(Err(JobError::Other(reason))) => {
            JobEnd::Failed { retry_after: None, reason: escaped(reason) }
        }
        // Not a failure of the job, so it must not use up an attempt.
        Err(error) if error.is_lack_of_capacity() => JobEnd::NotNow(error.message()),
        Err(error) => JobEnd::Failed { retry_after: None, reason: error.message() },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lack_of_capacity_uses_no_attempt() {
        for error in [
            CallError::Busy { calls_at_once: 1 },
            CallError::NoInstance("no memory".to_owned()),
            CallError::BudgetExhausted { limit_bytes: 1 },
        ] {
            let message = error.message();
            assert_eq!(job_end(Err(error)), JobEnd::NotNow(message));
        }
    }

    #[test]
    fn a_failure_of_the_job_uses_an_attempt() {
        for error in [
            CallError::OutOfMemory { limit_bytes: 1 },
            CallError::DeadlineExceeded(Duration::ZERO),
            CallError::Trapped("unreachable".to_owned()),
            CallError::HostFault("panic".to_owned()),
        ] {
            let reason = error.message();
            assert_eq!(job_end(Err(error)), JobEnd::Failed { retry_after: None, reason });
        }
    }
}
