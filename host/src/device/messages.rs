//! Cloud-to-device messages on their way to a plugin.
//!
//! A message is acknowledged to the hub once it is in the journal, from which the plugin gets
//! it as a job, or, without a journal, once the plugin has accepted or rejected it. Until then,
//! the hub delivers it again.

use std::sync::Arc;

use plugin::HostError;
use tokio::runtime::Handle;
use tracing::{debug, warn};

use crate::connection::{IncomingMessage, Outbox};
use crate::lent::durable::Durable;
use crate::lent::jobs::{CloudMessage, Jobs};
use crate::router::Router;

/// The receiver of the messages of a device.
#[derive(Clone)]
pub(crate) struct MessageReceiver {
    /// The plugin that receives the messages.
    plugin: Arc<str>,
    router: Arc<Router>,
    /// Persisted jobs; `None` if nothing is persisted.
    jobs: Option<Arc<Jobs>>,
}

impl MessageReceiver {
    /// Returns the receiver for a plugin. Without `durable`, nothing is persisted.
    pub(crate) fn new(
        plugin: &str,
        router: &Arc<Router>,
        durable: Option<&Durable>,
    ) -> MessageReceiver {
        let jobs = durable.map(|durable| Arc::clone(&durable.jobs));
        MessageReceiver { plugin: plugin.into(), router: Arc::clone(router), jobs }
    }

    /// Passes a message on in a task, and then acknowledges it.
    pub(super) fn receive(&self, message: IncomingMessage, outbox: Outbox, workers: &Handle) {
        let receiver = self.clone();
        workers.spawn(async move {
            let IncomingMessage { properties, body, delivery } = message;
            let properties = properties.iter();
            let properties = properties
                .map(|(name, value)| (name.to_owned(), value.unwrap_or_default().to_owned()));
            let message = CloudMessage { body: body.into(), properties: properties.collect() };
            match receiver.accept(&message).await {
                Ok(()) => outbox.acknowledge(delivery),
                Err(reason) => {
                    warn!(plugin = %receiver.plugin, "message not accepted, so the hub sends it again: {reason}");
                }
            }
        });
    }

    async fn accept(&self, message: &CloudMessage) -> Result<(), HostError> {
        let Some(jobs) = &self.jobs else {
            return self.router.receive_message(&self.plugin, message).await;
        };
        jobs.add_message(&self.plugin, message, self.router.max_jobs(&self.plugin)).await?;
        debug!(plugin = %self.plugin, bytes = message.body.len(), "message persisted");
        Ok(())
    }
}
