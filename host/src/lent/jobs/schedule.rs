//! Scheduling and cancelling of jobs.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use plugin::{HostError, JobQueue, JobWhen, NewJob};

use super::job::JobKind;
use super::message::{CloudMessage, MESSAGE_JOB};
use super::{Jobs, queue};
use crate::journal::Pages;

impl Jobs {
    /// Persists a cloud-to-device message, which a plugin receives at least once. Returns an error
    /// if the plugin already has `max_waiting` jobs.
    pub(crate) async fn add_message(
        &self,
        plugin: &str,
        message: &CloudMessage,
        max_waiting: u32,
    ) -> Result<(), HostError> {
        let when = JobWhen::AfterDelay(Duration::ZERO);
        let job = NewJob { name: MESSAGE_JOB.to_owned(), payload: message.to_payload(), when };
        self.schedule(plugin, ("", None), (JobKind::Message, job), max_waiting).await.map(drop)
    }

    /// Adds a job like [`JobQueue::add`], with the span that requests it.
    pub(crate) async fn add_traced(
        &self,
        plugin: &str,
        call: &str,
        job: NewJob,
        max_waiting: u32,
        traceparent: Option<String>,
    ) -> Result<String, HostError> {
        self.schedule(plugin, (call, traceparent), (JobKind::Deferred, job), max_waiting).await
    }

    /// Persists a job of a call and returns its id. `traceparent` is the span that requests it.
    async fn schedule(
        &self,
        plugin: &str,
        (call, traceparent): (&str, Option<String>),
        job: (JobKind, NewJob),
        max_waiting: u32,
    ) -> Result<String, HostError> {
        let id: Arc<str> = self.ids.text().into();
        let (owner, call) = (plugin.to_owned(), call.to_owned());
        let (queue, undoing) = (Arc::clone(&self.queue), Arc::clone(&self.queue));
        let (now, new) = (self.now(), Arc::clone(&id));
        let add = move |_: &Pages<'_>| {
            queue.lock().add(
                Arc::clone(&new),
                &owner,
                (&call, traceparent),
                job,
                max_waiting,
                now,
            )?;
            Ok(new)
        };
        let undo = move |id| drop(undoing.lock().remove(&id));
        let id = self.journal.write_for(plugin, add, undo).await?;
        self.queue.wake.notify_one();
        Ok(id.as_ref().to_owned())
    }
}

impl JobQueue for Jobs {
    fn add<'a>(
        &'a self,
        plugin: &'a str,
        call: &'a str,
        job: NewJob,
        max_waiting: u32,
    ) -> BoxFuture<'a, Result<String, HostError>> {
        Box::pin(self.add_traced(plugin, call, job, max_waiting, None))
    }

    fn call_ended(&self, call: &str) {
        if self.queue.lock().call_ended(call, self.now()) {
            self.queue.wake.notify_one();
        }
    }

    fn cancel<'a>(
        &'a self,
        plugin: &'a str,
        id: &'a str,
    ) -> BoxFuture<'a, Result<bool, HostError>> {
        Box::pin(async move {
            let (owner, id): (String, Arc<str>) = (plugin.to_owned(), id.into());
            let (queue, undoing) = (Arc::clone(&self.queue), Arc::clone(&self.queue));
            let cancel = move |_: &Pages<'_>| {
                let removed = queue.lock().cancel(&owner, &id);
                Ok(removed.map(|removed| (id, removed)))
            };
            let undo = move |removed: Option<(Arc<str>, queue::RemovedJob)>| {
                if let Some((id, removed)) = removed {
                    undoing.lock().put_back(id, removed);
                }
            };
            Ok(self.journal.write_for(plugin, cancel, undo).await?.is_some())
        })
    }
}
