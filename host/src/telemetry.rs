//! Device-to-cloud messages of plugins: a bounded queue to the hub.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::future::BoxFuture;
use plugin::{HostError, TelemetrySink};
use protocol::connection_string::DeviceConnectionString;
use protocol::properties::MessageProperties;
use protocol::topic::DeviceTopic;
use tokio::sync::mpsc;
use tracing::warn;

use crate::connection::Outbox;

/// Messages that wait for the hub; more are refused to the plugin.
const MOST_WAITING: usize = 256;

/// Takes messages of plugins.
pub(crate) struct Telemetry {
    identity: DeviceConnectionString,
    queue: mpsc::Sender<(DeviceTopic, Vec<u8>)>,
    unsent: Arc<AtomicUsize>,
}

impl Telemetry {
    /// Messages leave by the outbox as it has room for them.
    pub(crate) fn new(identity: DeviceConnectionString, outbox: Outbox) -> Telemetry {
        let (queue, mut waiting) = mpsc::channel::<(DeviceTopic, Vec<u8>)>(MOST_WAITING);
        let unsent = Arc::new(AtomicUsize::new(0));
        let left = Arc::clone(&unsent);
        tokio::spawn(async move {
            while let Some((topic, body)) = waiting.recv().await {
                if !outbox.publish(&topic, body.into()).await {
                    warn!(%topic, "message dropped: no connection for too long");
                }
                left.fetch_sub(1, Ordering::Relaxed);
            }
        });
        Telemetry { identity, queue, unsent }
    }

    /// Whether all messages have been handed to the connection.
    pub(crate) fn is_sent(&self) -> bool {
        self.unsent.load(Ordering::Relaxed) == 0
    }
}

impl TelemetrySink for Telemetry {
    fn send<'a>(
        &'a self,
        _plugin: &'a str,
        body: Vec<u8>,
        content_type: String,
        properties: Vec<(String, String)>,
    ) -> BoxFuture<'a, Result<(), HostError>> {
        Box::pin(async move { self.push(body, content_type, properties) })
    }
}

impl Telemetry {
    fn push(
        &self,
        body: Vec<u8>,
        content_type: String,
        properties: Vec<(String, String)>,
    ) -> Result<(), HostError> {
        let mut bag = MessageProperties::default();
        if !content_type.is_empty() {
            bag = bag.with(MessageProperties::CONTENT_TYPE, content_type);
        }
        for (name, value) in properties {
            if name.is_empty() || name.starts_with('$') {
                let why = format!("property `{}` is reserved for the system", name.escape_debug());
                return Err(HostError::Invalid(why));
            }
            bag = bag.with(name, value);
        }
        let topic = DeviceTopic::Telemetry {
            device: self.identity.device.clone(),
            module: self.identity.module.clone(),
            properties: bag,
        };
        self.unsent.fetch_add(1, Ordering::Relaxed);
        self.queue.try_send((topic, body)).map_err(|_| {
            self.unsent.fetch_sub(1, Ordering::Relaxed);
            HostError::QuotaExceeded(format!("{MOST_WAITING} messages wait for the hub already"))
        })
    }
}
