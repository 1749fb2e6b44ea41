//! Reads and changes of the message queues in the registry.

use std::sync::Arc;

use protocol::cloud_to_device::MAX_QUEUED;
use protocol::error::{ErrorCode, HubError};
use protocol::id::DeviceId;

use super::State;
use super::documents::QueuedChange;
use super::messages::QueuedMessage;
use super::owner::Owner;
use super::record::Part;

/// A device's messages and the generation of its identity.
pub(crate) struct DeviceMessages {
    pub(crate) generation: String,
    pub(crate) messages: Vec<Arc<QueuedMessage>>,
}

impl State {
    /// Queues a message, whose sequence number is set.
    pub(crate) fn queue_message(
        &self,
        device: &DeviceId,
        message: QueuedMessage,
    ) -> Result<(), HubError> {
        self.change(&Owner::device(device), |entity| match entity.messages.push(message) {
            true => Ok(((), &[Part::Messages])),
            false => {
                let text = format!(
                    "the queue of the device has {MAX_QUEUED} messages, which is the limit"
                );
                Err(HubError::new(ErrorCode::DeviceMaximumQueueDepthExceeded, text))
            }
        })
    }

    /// Returns the messages of a device.
    pub(crate) fn device_messages(&self, device: &DeviceId) -> Result<DeviceMessages, HubError> {
        let entity = self.get(&Owner::device(device))?;
        let (generation, messages) =
            (entity.generation().to_owned(), entity.messages.messages().to_vec());
        Ok(DeviceMessages { generation, messages })
    }

    /// Counts an abandoned delivery of a message. Returns their number, and the change on its way
    /// to the disk.
    pub(crate) fn count_delivery(
        &self,
        device: &DeviceId,
        sequence: u64,
    ) -> Result<(u32, QueuedChange), HubError> {
        self.queue_change(&Owner::device(device), |entity| {
            let deliveries = entity.messages.count_delivery(sequence);
            Ok((deliveries.unwrap_or_default(), &[Part::Messages]))
        })
    }

    /// Removes messages of a device, and returns them with the change on its way to the disk.
    pub(crate) fn remove_messages(
        &self,
        device: &DeviceId,
        is_removed: impl Fn(&QueuedMessage) -> bool,
    ) -> Result<(Vec<Arc<QueuedMessage>>, QueuedChange), HubError> {
        self.queue_change(&Owner::device(device), |entity| {
            let removed = entity.messages.remove(is_removed);
            let parts: &[Part] = if removed.is_empty() { &[] } else { &[Part::Messages] };
            Ok((removed, parts))
        })
    }
}
