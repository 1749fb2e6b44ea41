//! The window of packets sent at QoS 1 and not yet acknowledged, in the order of sending.
//!
//! This is a state machine without I/O. The caller sends the packets that it returns, passes
//! acknowledgements to it, and asks it for the packets to send again on the next connection.
//! An acknowledgement is matched to its packet by id, so it can arrive repeatedly, late or out
//! of order.
//!
//! The hub closes the connection on receiving a packet that breaks its rules, and MQTT 3.1.1
//! does not transmit the reason. Such a packet would end every later connection as well. After
//! a close, the oldest packet in flight is the suspect: the hub acknowledged those before it,
//! and did not read those after it. On the next connection, the other packets are sent first,
//! so that no call waits for the suspect. The suspect is then sent alone, and set aside once
//! the hub has closed [`MAX_CLOSINGS`] connections on it in a row. Messages stay in order:
//! those behind a suspect message wait for it.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use rumqttc::{Publish, QoS};
use tokio::time::Instant;

/// The maximum number of unacknowledged packets. Further packets wait to be sent.
const MAX_IN_FLIGHT: usize = 512;

/// The number of consecutive connections that the hub closes on a packet before it is set
/// aside. A network that cuts three connections in a row must not lose a packet
/// (tests/journeys/matrix).
pub(super) const MAX_CLOSINGS: u32 = 5;

/// The time on a new connection before a packet is sent on which the hub has closed two or more
/// connections. It separates the interruptions, and limits the number of connections in a
/// second.
const PROBE_PAUSE: Duration = Duration::from_millis(250);

/// The highest id of a message. With MQTT 5, those above it are for the steps of methods.
pub(super) const LAST_ID: u16 = 0x7fff;

/// The id of the SUBSCRIBE packet, which no message has.
pub(super) const SUBSCRIBE_ID: u16 = u16::MAX;

/// The unacknowledged packets, the oldest first.
#[derive(Default)]
pub(super) struct Window {
    sent: VecDeque<InFlight>,
    last_id: u16,
    /// The number of packets that have not been sent on this connection.
    held: usize,
    /// The time at which the oldest suspect is sent alone.
    probe_at: Option<Instant>,
    /// `true` if that time has passed, and the other packets have to be acknowledged first.
    draining: bool,
    /// The id of the suspect that is in flight alone.
    probing: Option<u16>,
    /// `true` if the hub has kept the session of an earlier connection.
    session_present: bool,
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
    /// The number of the receipt, if the sender requested one. Only messages have one.
    receipt: Option<u64>,
    /// The time of sending on this connection.
    at: Instant,
    /// The number of connections that the hub closed while this was the oldest packet in
    /// flight.
    closings: u32,
    /// `true` if the packet has been sent on any connection.
    was_sent: bool,
    /// `true` if the packet has not been sent on this connection.
    held: bool,
}

impl InFlight {
    fn is_suspect(&self) -> bool {
        self.closings > 0
    }

    fn is_message(&self) -> bool {
        self.receipt.is_some()
    }

    /// Returns the packet to send on this connection.
    fn send(&mut self, session_present: bool) -> Publish {
        // A hub that has lost the session has never seen the packet.
        self.publish.dup = session_present && self.was_sent;
        (self.was_sent, self.held, self.at) = (true, false, Instant::now());
        self.publish.clone()
    }
}

impl Window {
    /// Returns `true` if another packet can be sent now.
    pub(super) fn has_capacity(&self) -> bool {
        !self.is_reserved() && self.sent.len() - self.held < MAX_IN_FLIGHT
    }

    /// Returns `true` while a suspect is in flight alone or is about to be, so that nothing else
    /// may be sent.
    pub(super) fn is_reserved(&self) -> bool {
        self.draining || self.probing.is_some()
    }

    /// Assigns an id to a packet and adds it to the window. Returns the packet to send, or
    /// `None` if it has to wait for a suspect. The caller must have checked
    /// [`Window::has_capacity`].
    pub(super) fn send(
        &mut self,
        topic: String,
        body: Bytes,
        receipt: Option<u64>,
    ) -> Option<Publish> {
        let mut publish = Publish::from_bytes(topic, QoS::AtLeastOnce, body);
        publish.pkid = self.free_id();
        let held = receipt.is_some()
            && self.held > 0
            && self.sent.iter().any(|sent| sent.held && sent.is_message());
        let at = Instant::now();
        let mut packet = InFlight { publish, receipt, at, closings: 0, was_sent: false, held };
        let publish = (!held).then(|| packet.send(self.session_present));
        self.held += usize::from(held);
        self.sent.push_back(packet);
        publish
    }

    /// Returns an id from 1 to [`LAST_ID`] that no packet in the window has.
    fn free_id(&mut self) -> u16 {
        loop {
            self.last_id = if self.last_id == LAST_ID { 1 } else { self.last_id + 1 };
            // The first candidate is nearly always free: an id recurs only after 32,767 packets.
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
        let sent = self.sent.remove(at).ok_or(UnknownId)?;
        self.held -= usize::from(sent.held);
        if self.probing == Some(id) {
            self.probing = None;
        }
        if sent.is_suspect() {
            self.schedule_probe();
        }
        Ok(sent.receipt)
    }

    /// Returns the packets to send first on a new connection: those that do not have to wait
    /// for a suspect.
    pub(super) fn again(&mut self, session_present: bool) -> Vec<Publish> {
        self.session_present = session_present;
        (self.draining, self.probing) = (false, None);
        self.sent.iter_mut().for_each(|sent| sent.held = true);
        self.held = self.sent.len();
        self.schedule_probe();
        self.release()
    }

    /// Returns the packets that can be sent now, after acknowledgements or at the time of
    /// [`Window::probe_at`].
    pub(super) fn due(&mut self) -> Vec<Publish> {
        if self.held == 0 || self.probing.is_some() {
            return Vec::new();
        }
        let released = self.release();
        if !released.is_empty() || self.probe_at.is_none_or(|at| at > Instant::now()) {
            return released;
        }
        // The suspect is sent once the packets in flight are acknowledged, so that it is the
        // only possible cause of a close.
        self.draining = self.sent.len() > self.held;
        let suspect = self.sent.iter_mut().find(|sent| sent.is_suspect());
        let Some(suspect) = suspect.filter(|_| !self.draining) else { return released };
        (self.probing, self.probe_at) = (Some(suspect.publish.pkid), None);
        self.held -= 1;
        vec![suspect.send(self.session_present)]
    }

    /// Returns the time at which [`Window::due`] has a packet, unless that depends on an
    /// acknowledgement.
    pub(super) fn probe_at(&self) -> Option<Instant> {
        self.probe_at.filter(|_| !self.draining)
    }

    /// Returns the held packets that do not have to wait for a suspect.
    fn release(&mut self) -> Vec<Publish> {
        let (mut packets, mut waits) = (Vec::new(), false);
        for sent in self.sent.iter_mut().filter(|sent| sent.held) {
            if sent.is_suspect() || (waits && sent.is_message()) {
                waits |= sent.is_message();
            } else {
                packets.push(sent.send(self.session_present));
            }
        }
        self.held -= packets.len();
        packets
    }

    /// Determines the time at which the oldest suspect is sent. A packet in flight at a single
    /// close is most likely not its cause, and is sent at once.
    fn schedule_probe(&mut self) {
        let suspect = self.sent.iter().find(|sent| sent.held && sent.is_suspect());
        self.probe_at = suspect.map(|suspect| match suspect.closings {
            ..=1 => Instant::now(),
            _ => Instant::now() + PROBE_PAUSE,
        });
    }

    /// Returns `true` if a suspect is in flight alone.
    pub(super) fn is_probing(&self) -> bool {
        self.probing.is_some()
    }

    /// Returns `true` if a packet that was sent on this connection is not acknowledged.
    pub(super) fn is_in_flight(&self) -> bool {
        self.sent.len() > self.held
    }

    /// Records that the hub closed the connection. If that has happened [`MAX_CLOSINGS`]
    /// times while the same packet was the oldest in flight, removes and returns this packet.
    pub(super) fn closed(&mut self) -> Option<SetAside> {
        let at = self.sent.iter().position(|sent| !sent.held)?;
        let oldest = &mut self.sent[at];
        oldest.closings += 1;
        if oldest.closings < MAX_CLOSINGS {
            return None;
        }
        let InFlight { publish, receipt, .. } = self.sent.remove(at)?;
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

    /// Returns the time of sending of the oldest packet in flight, if there is one.
    pub(super) fn oldest(&self) -> Option<Instant> {
        self.sent.iter().find(|sent| !sent.held).map(|sent| sent.at)
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
            window.send("t".into(), Bytes::new(), Some(*receipt)).unwrap();
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

    fn ids(packets: &[Publish]) -> Vec<u16> {
        packets.iter().map(|packet| packet.pkid).collect()
    }

    #[test]
    fn a_packet_is_marked_as_a_duplicate_only_if_the_hub_kept_the_session() {
        let mut window = window(&[10]);
        assert!(!window.again(false)[0].dup);
        assert!(window.again(true)[0].dup);
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_packet_that_ends_every_connection_is_set_aside() {
        let mut window = window(&[10, 11, 12]);
        assert_eq!(window.closed(), None);
        // The valid message before it is acknowledged as soon as it is sent alone.
        assert!(window.again(true).is_empty());
        assert_eq!(ids(&window.due()), [1]);
        assert!(!window.has_capacity() && window.is_probing());
        assert_eq!(window.acknowledged(1), Ok(Some(10)));
        assert_eq!(ids(&window.due()), [2, 3]);
        assert!(window.has_capacity() && !window.is_reserved());

        for closings in 1..MAX_CLOSINGS {
            assert_eq!(window.closed(), None);
            assert!(window.again(true).is_empty());
            let pause = if closings == 1 { Duration::ZERO } else { PROBE_PAUSE };
            assert_eq!(window.probe_at(), Some(Instant::now() + pause));
            tokio::time::advance(pause).await;
            assert_eq!(ids(&window.due()), [2]);
        }
        let aside = SetAside { topic: "t".into(), bytes: 1, receipt: Some(11) };
        assert_eq!(window.closed(), Some(aside));
        assert_eq!(ids(&window.again(true)), [3]);
        assert_eq!(window.probe_at(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn answers_are_sent_before_a_suspect_and_messages_after_it() {
        let mut window = window(&[10, 11]);
        let answer = |window: &mut Window| {
            window.send("t".into(), Bytes::new(), None).map(|packet| packet.pkid)
        };
        assert_eq!(answer(&mut window), Some(3));
        window.closed();
        assert_eq!(ids(&window.again(true)), [3]);
        assert_eq!(window.send("t".into(), Bytes::new(), Some(12)), None);
        assert_eq!(answer(&mut window), Some(5));

        // The suspect waits for the acknowledgements, and nothing else is sent meanwhile.
        assert!(window.due().is_empty());
        assert!(!window.has_capacity() && !window.is_probing());
        assert_eq!(window.probe_at(), None);
        window.acknowledged(5).unwrap();
        assert!(window.due().is_empty());
        window.acknowledged(3).unwrap();
        assert_eq!(ids(&window.due()), [1]);

        window.acknowledged(1).unwrap();
        let messages = window.due();
        assert_eq!(ids(&messages), [2, 4]);
        assert_eq!([messages[0].dup, messages[1].dup], [true, false]);
        assert!(window.has_capacity());
    }

    #[tokio::test(start_paused = true)]
    async fn a_close_without_a_packet_in_flight_counts_against_none() {
        let mut window = window(&[10]);
        for _ in 0..2 {
            window.closed();
            window.again(true);
            window.due();
        }
        for _ in 0..2 * MAX_CLOSINGS {
            window.again(true);
            assert!(!window.is_in_flight());
            assert_eq!(window.closed(), None);
        }
    }

    #[test]
    fn an_id_is_not_reused_before_its_packet_is_acknowledged() {
        let mut window = window(&[10]);
        for number in 0..70_000_u64 {
            let id = window.send("t".into(), Bytes::new(), Some(number)).unwrap().pkid;
            assert!(id > 1);
            assert_eq!(window.acknowledged(id), Ok(Some(number)));
        }
        (1..MAX_IN_FLIGHT as u64)
            .for_each(|it| drop(window.send("t".into(), Bytes::new(), Some(it))));
        assert!(!window.has_capacity());
    }
}
