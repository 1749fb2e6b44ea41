//! Detection of methods that are delivered again, so that none runs twice.
//!
//! At QoS 1, MQTT delivers a packet at least once: if the hub has not received the
//! acknowledgement, it sends the packet again, on the same connection or, marked as a
//! duplicate, on the next one. The request id alone does not identify a method: a hub that
//! was restarted, or that numbers the requests of each connection, reuses ids. So a known
//! id is a repeat if it arrives on the same connection, or if it is marked as a duplicate.

use std::collections::{HashMap, VecDeque};

use protocol::id::RequestId;

/// The number of request ids that are remembered. A new id replaces the oldest one.
const REMEMBERED: usize = 8192;

#[derive(Default)]
pub(crate) struct Deliveries {
    /// The number of the connection on which each id arrived last.
    connections: HashMap<RequestId, u64>,
    oldest_first: VecDeque<RequestId>,
}

impl Deliveries {
    /// Records a delivery. Returns `true` if it is the first delivery of its method.
    /// `marked` is the duplicate flag of the packet.
    pub(crate) fn is_first(&mut self, rid: &RequestId, connection: u64, marked: bool) -> bool {
        if let Some(known) = self.connections.get_mut(rid) {
            let again = marked || *known == connection;
            *known = connection;
            return !again;
        }
        if self.oldest_first.len() == REMEMBERED
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.connections.remove(&oldest);
        }
        self.oldest_first.push_back(rid.clone());
        self.connections.insert(rid.clone(), connection);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rid(number: usize) -> RequestId {
        number.to_string().parse().unwrap()
    }

    #[test]
    fn a_method_is_known_again_on_its_connection_and_where_it_is_marked() {
        let mut deliveries = Deliveries::default();
        assert!(deliveries.is_first(&rid(1), 1, false));
        assert!(!deliveries.is_first(&rid(1), 1, false), "the same connection");
        assert!(!deliveries.is_first(&rid(1), 2, true), "marked on the next one");
        assert!(!deliveries.is_first(&rid(1), 2, false), "and again on that");
        assert!(deliveries.is_first(&rid(2), 2, true), "marked, but never seen");
    }

    #[test]
    fn an_id_that_a_hub_uses_again_is_another_method() {
        let mut deliveries = Deliveries::default();
        assert!(deliveries.is_first(&rid(1), 1, false));
        assert!(deliveries.is_first(&rid(1), 2, false));
        assert!(!deliveries.is_first(&rid(1), 2, false));
    }

    #[test]
    fn the_oldest_are_forgotten() {
        let mut deliveries = Deliveries::default();
        (0..=REMEMBERED).for_each(|number| assert!(deliveries.is_first(&rid(number), 1, false)));
        assert!(!deliveries.is_first(&rid(1), 1, false));
        assert!(deliveries.is_first(&rid(0), 1, false));
        assert_eq!(deliveries.connections.len(), REMEMBERED);
    }
}
