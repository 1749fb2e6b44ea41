//! Cloud-to-device messages of a session.

use protocol::topic::{Filter, HubTopic};
use tokio::io::AsyncRead;
use tokio::time::Instant;

use super::packets::{Ends, Packets};
use super::{Session, SessionEnd};
use crate::cloud_to_device::Delivery;
use crate::faults::Step;
use crate::mqtt::{Inbound, Outbound, decode};

impl Session {
    /// Waits for the next packet of the device, and sends the messages that arrive before it.
    pub(super) async fn next_packet<R: AsyncRead + Unpin>(
        &self,
        packets: &mut Packets<R>,
        ends: &mut Ends,
    ) -> Result<Inbound, SessionEnd> {
        if self.message_qos().is_none() {
            return packets.next_before(ends, self.max_idle, decode).await;
        }
        let silent = Instant::now() + self.max_idle;
        loop {
            // Messages to the device are no sign of its life.
            let left = silent.saturating_duration_since(Instant::now());
            let messages = &self.context.cloud_to_device;
            let delivery = tokio::select! {
                biased;
                packet = packets.next_before(ends, left, decode) => return packet,
                delivery = messages.next(&self.owner.device, self.serial), if !self.outlet.is_silent() => {
                    delivery
                }
            };
            self.deliver(&delivery).await?;
        }
    }

    /// Returns the QoS at which the device receives cloud-to-device messages; `None` if it is not
    /// subscribed to them.
    fn message_qos(&self) -> Option<u8> {
        let is_own = |(filter, _): &&(Filter, u8)| matches!(filter, Filter::CloudToDevice { .. });
        self.filters.iter().find(is_own).map(|(_, qos)| *qos)
    }

    /// Sends a cloud-to-device message. At QoS 0, this completes it.
    async fn deliver(&self, delivery: &Delivery) -> Result<(), SessionEnd> {
        let Delivery { message, packet, is_duplicate } = delivery;
        let (device, properties) = (self.owner.device.clone(), message.properties.clone());
        let topic = &HubTopic::CloudToDevice { device, properties }.to_string();
        let payload = &message.body;
        if self.message_qos() == Some(0) {
            self.send_at(Step::CloudToDevice, &Outbound::Publish { topic, payload }).await?;
            self.context.cloud_to_device.acknowledged(&self.owner.device, self.serial, *packet);
            return Ok(());
        }
        let (id, duplicate) = (*packet, *is_duplicate);
        let message = Outbound::PublishAcknowledged { id, duplicate, topic, payload };
        self.send_at(Step::CloudToDevice, &message).await
    }
}
