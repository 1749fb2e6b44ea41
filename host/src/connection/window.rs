//! The window of packets sent at QoS 1 and not yet acknowledged, in the order of sending.
//!
//! This is a state machine without I/O. The caller sends the packets that it returns, passes
//! acknowledgements to it, and asks it for the packets to send again on the next connection.
//! An acknowledgement is matched to its packet by id, so it can arrive repeatedly, late or out
//! of order.
//!
//! The hub closes the connection on receiving a packet that breaks its rules, and MQTT 3.1.1
//! does not transmit the reason. Such a packet would end every later connection as well, so
//! it is set aside after the hub has closed [`MAX_CLOSINGS`] connections in a row.

use std::collections::VecDeque;

use bytes::Bytes;
use rumqttc::{Publish, QoS};
use tokio::time::Instant;

/// The maximum number of unacknowledged packets. Further packets wait to be sent.
const MAX_IN_FLIGHT: usize = 512;

/// The number of consecutive connections that the hub closes before the oldest packet is set
/// aside. After the first of them, that packet is sent alone, so that no other packet can be
/// the cause. A network that cuts three connections in a row must not lose a packet
/// (tests/journeys/matrix).
const MAX_CLOSINGS: u32 = 5;

/// The highest id of a message.
const LAST_ID: u16 = SUBSCRIBE_ID - 1;

/// The id of the SUBSCRIBE packet, which no message has.
pub(super) const SUBSCRIBE_ID: u16 = u16::MAX;

/// The unacknowledged packets, the oldest first.
#[derive(Default)]
pub(super) struct Window {
    sent: VecDeque<InFlight>,
    last_id: u16,
    /// `true` if only the oldest packet was sent on this connection, because the hub may have
    /// closed the previous one because of it.
    alone: bool,
}

/// A packet on which the hub closes the connection each time it receives it.
#[derive(Debug, PartialEq)]
pub(super) struct SetAside {
    pub(super) topic: String,
    pub(super) bytes: usize,
    pub(super) receipt: Option<u64>,
}

struct InFlight {
    publish: Publish,
    /// The number of the receipt, if the sender requested one.
    receipt: Option<u64>,
    /// The time of sending on this connection.
    at: Instant,
    /// The number of connections that the hub closed while this was the oldest packet.
    closings: u32,
}

impl Window {
    /// Returns `true` if another packet can be sent now.
    pub(super) fn has_capacity(&self) -> bool {
        !self.alone && self.sent.len() < MAX_IN_FLIGHT
    }

    /// Assigns an id to a packet and adds it to the window. Returns the packet to send. The
    /// caller must have checked [`Window::has_capacity`].
    pub(super) fn send(&mut self, topic: String, body: Bytes, receipt: Option<u64>) -> Publish {
        let mut publish = Publish::from_bytes(topic, QoS::AtLeastOnce, body);
        publish.pkid = self.free_id();
        self.sent.push_back(InFlight {
            publish: publish.clone(),
            receipt,
            at: Instant::now(),
            closings: 0,
        });
        publish
    }

    /// Returns an id from 1 to [`LAST_ID`] that no packet in the window has.
    fn free_id(&mut self) -> u16 {
        loop {
            self.last_id = if self.last_id == LAST_ID { 1 } else { self.last_id + 1 };
            // The first candidate is nearly always free: an id recurs only after 65,534 packets.
            if !self.sent.iter().any(|sent| sent.publish.pkid == self.last_id) {
                return self.last_id;
            }
        }
    }

    /// Removes the packet that the hub acknowledged, and returns the number of its receipt.
    /// Returns an error if no packet has that id, for example because the acknowledgement was
    /// repeated.
    pub(super) fn acknowledged(&mut self, id: u16) -> Result<Option<u64>, UnknownId> {
        let at = self.sent.iter().position(|sent| sent.publish.pkid == id).ok_or(UnknownId)?;
        Ok(self.sent.remove(at).and_then(|sent| sent.receipt))
    }

    /// Returns the packets to send again on a new connection: all packets, or only the oldest
    /// while it is suspected of ending connections.
    pub(super) fn again(&mut self, session_present: bool) -> Vec<Publish> {
        let again = |sent: &mut InFlight| {
            // A hub that has lost the session has never seen the packet.
            sent.publish.dup = session_present;
            sent.publish.clone()
        };
        self.alone = self.is_suspicious();
        let count = if self.alone { 1 } else { self.sent.len() };
        self.sent.iter_mut().take(count).map(again).collect()
    }

    /// Returns the packets that [`Window::again`] held back, once the oldest is
    /// acknowledged.
    pub(super) fn released(&mut self, session_present: bool) -> Vec<Publish> {
        if !self.alone || self.is_suspicious() {
            return Vec::new();
        }
        self.sent_now();
        self.again(session_present)
    }

    /// Returns `true` if the hub may have closed a connection because of the oldest packet.
    /// Returns `true` while only the oldest packet is in flight, to find out whether the hub
    /// closes the connection because of it.
    pub(super) fn is_alone(&self) -> bool {
        self.alone
    }

    fn is_suspicious(&self) -> bool {
        self.sent.front().is_some_and(|oldest| oldest.closings > 0)
    }

    /// Records that the hub closed the connection. If that has happened [`MAX_CLOSINGS`]
    /// times while the same packet was the oldest, removes and returns this packet.
    pub(super) fn closed(&mut self) -> Option<SetAside> {
        let oldest = self.sent.front_mut()?;
        oldest.closings += 1;
        if oldest.closings < MAX_CLOSINGS {
            return None;
        }
        let InFlight { publish, receipt, .. } = self.sent.pop_front()?;
        let bytes = publish.topic.len() + publish.payload.len();
        Some(SetAside { topic: publish.topic, bytes, receipt })
    }

    /// Sets the time of sending of all packets to now.
    pub(super) fn sent_now(&mut self) {
        let now = Instant::now();
        self.sent.iter_mut().for_each(|sent| sent.at = now);
    }

    /// Returns `true` if the hub has acknowledged every packet.
    pub(super) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// Returns the time of sending of the oldest packet; `None` if the window is empty.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.sent.front().map(|sent| sent.at)
    }
}

/// The error for an acknowledgement whose id no packet in the window has.
#[derive(Debug, PartialEq)]
pub(super) struct UnknownId;

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
    fn a_repeated_acknowledgement_removes_no_other_packet() {
        let mut window = window(&[10, 11, 12]);
        assert_eq!(window.acknowledged(1), Ok(Some(10)));
        assert_eq!(window.acknowledged(1), Err(UnknownId));
        let again = window.again(true);
        assert_eq!(again.iter().map(|it| it.pkid).collect::<Vec<_>>(), [2, 3]);
    }

    #[test]
    fn acknowledgements_out_of_order_remove_their_own_packets() {
        let mut window = window(&[10, 11, 12]);
        assert_eq!(window.acknowledged(3), Ok(Some(12)));
        assert_eq!(window.acknowledged(1), Ok(Some(10)));
        assert_eq!(window.acknowledged(2), Ok(Some(11)));
        assert!(window.oldest().is_none());
    }

    #[test]
    fn a_packet_is_marked_as_a_duplicate_only_if_the_hub_kept_the_session() {
        let mut window = window(&[10]);
        assert!(!window.again(false)[0].dup);
        assert!(window.again(true)[0].dup);
    }

    #[test]
    fn only_the_packet_that_ends_every_connection_is_set_aside() {
        let mut window = window(&[10, 11, 12]);
        assert_eq!(window.closed(), None);
        // The valid packet before it is acknowledged as soon as it is sent alone.
        assert_eq!(window.again(true).len(), 1);
        assert!(!window.has_capacity() && window.is_alone());
        assert_eq!(window.acknowledged(1), Ok(Some(10)));
        assert_eq!(window.released(true).len(), 2);
        assert!(window.has_capacity() && !window.is_alone());

        for _ in 1..MAX_CLOSINGS {
            assert_eq!(window.closed(), None);
            assert_eq!(window.again(true)[0].pkid, 2);
        }
        let aside = SetAside { topic: "t".into(), bytes: 1, receipt: Some(11) };
        assert_eq!(window.closed(), Some(aside));
        assert_eq!(window.again(true)[0].pkid, 3);
    }

    #[test]
    fn an_id_is_not_reused_before_its_packet_is_acknowledged() {
        let mut window = window(&[10]);
        for number in 0..70_000_u64 {
            let id = window.send("t".into(), Bytes::new(), Some(number)).pkid;
            assert!(id > 1);
            assert_eq!(window.acknowledged(id), Ok(Some(number)));
        }
        (1..MAX_IN_FLIGHT as u64)
            .for_each(|it| drop(window.send("t".into(), Bytes::new(), Some(it))));
        assert!(!window.has_capacity());
    }
}
