//! What was sent at QoS 1 and not yet acknowledged, in the order of sending.
//!
//! It is a machine without a network: its caller sends what it gives, tells what
//! has come, and sends all of it again on the next connection. Each packet is
//! known by its id, so that an acknowledgement that comes twice, late or out of
//! order is of no other packet.

use std::collections::VecDeque;

use bytes::Bytes;
use rumqttc::{Publish, QoS};
use tokio::time::Instant;

/// Packets that wait for their acknowledgement; more wait to be sent.
const MOST: usize = 512;

/// The last id of a message; the one behind it is the SUBSCRIBE's.
const LAST_ID: u16 = SUBSCRIBE_ID - 1;
pub(super) const SUBSCRIBE_ID: u16 = u16::MAX;

#[derive(Default)]
pub(super) struct Window {
    sent: VecDeque<Sent>,
    last_id: u16,
}

struct Sent {
    publish: Publish,
    /// What tells its sender that it is acknowledged.
    receipt: Option<u64>,
    /// When it was sent on this connection.
    at: Instant,
}

impl Window {
    pub(super) fn has_room(&self) -> bool {
        self.sent.len() < MOST
    }

    /// Gives a packet its id. There must be room.
    pub(super) fn send(&mut self, topic: String, body: Bytes, receipt: Option<u64>) -> Publish {
        let mut publish = Publish::from_bytes(topic, QoS::AtLeastOnce, body);
        publish.pkid = self.free_id();
        self.sent.push_back(Sent { publish: publish.clone(), receipt, at: Instant::now() });
        publish
    }

    /// An id that no packet under way has, from 1 to [`LAST_ID`].
    fn free_id(&mut self) -> u16 {
        loop {
            self.last_id = if self.last_id == LAST_ID { 1 } else { self.last_id + 1 };
            // Nearly always the first: ids come round after 65,534 packets.
            if !self.sent.iter().any(|sent| sent.publish.pkid == self.last_id) {
                return self.last_id;
            }
        }
    }

    /// The hub has acknowledged a packet. `Err` if there is none of that id, as
    /// when it says so twice.
    pub(super) fn acknowledged(&mut self, id: u16) -> Result<Option<u64>, NotSent> {
        let at = self.sent.iter().position(|sent| sent.publish.pkid == id).ok_or(NotSent)?;
        Ok(self.sent.remove(at).and_then(|sent| sent.receipt))
    }

    /// Everything once more, for a new connection.
    pub(super) fn again(&mut self, session_present: bool) -> Vec<Publish> {
        let again = |sent: &mut Sent| {
            // To a hub that knows nothing of it, it is a new one.
            sent.publish.dup = session_present;
            sent.publish.clone()
        };
        self.sent.iter_mut().map(again).collect()
    }

    /// All of them were sent just now.
    pub(super) fn sent_now(&mut self) {
        let now = Instant::now();
        self.sent.iter_mut().for_each(|sent| sent.at = now);
    }

    /// Whether the hub has acknowledged everything.
    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// Since when the oldest waits for its acknowledgement.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.sent.front().map(|sent| sent.at)
    }
}

/// An acknowledgement of nothing that was sent.
#[derive(Debug, PartialEq)]
pub(super) struct NotSent;

#[cfg(test)]
mod tests {
    use super::*;

    fn window(receipts: &[u64]) -> Window {
        let mut window = Window::default();
        for receipt in receipts {
            window.send("t".into(), Bytes::new(), Some(*receipt));
        }
        window
    }

    #[test]
    fn an_acknowledgement_that_comes_twice_is_of_no_other_packet() {
        let mut window = window(&[10, 11, 12]);
        assert_eq!(window.acknowledged(1), Ok(Some(10)));
        assert_eq!(window.acknowledged(1), Err(NotSent));
        let again = window.again(true);
        assert_eq!(again.iter().map(|it| it.pkid).collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn acknowledgements_out_of_order_are_each_of_their_own_packet() {
        let mut window = window(&[10, 11, 12]);
        assert_eq!(window.acknowledged(3), Ok(Some(12)));
        assert_eq!(window.acknowledged(1), Ok(Some(10)));
        assert_eq!(window.acknowledged(2), Ok(Some(11)));
        assert!(window.oldest().is_none());
    }

    #[test]
    fn what_is_sent_again_is_marked_only_to_a_hub_that_may_have_it() {
        let mut window = window(&[10]);
        assert!(!window.again(false)[0].dup);
        assert!(window.again(true)[0].dup);
    }

    #[test]
    fn an_id_is_not_used_again_before_its_packet_is_acknowledged() {
        let mut window = window(&[10]);
        for number in 0..70_000_u64 {
            let id = window.send("t".into(), Bytes::new(), Some(number)).pkid;
            assert!(id > 1);
            assert_eq!(window.acknowledged(id), Ok(Some(number)));
        }
        (1..MOST as u64).for_each(|it| drop(window.send("t".into(), Bytes::new(), Some(it))));
        assert!(!window.has_room());
    }
}
