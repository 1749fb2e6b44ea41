//! Detection of redelivered methods, so that none runs twice.
//!
//! At QoS 1, MQTT delivers a packet at least once: if the hub has not received the
//! acknowledgement, it sends the packet again, on the same connection or, marked as a
//! duplicate, on the next one. The request id alone does not identify a method: a hub that
//! was restarted, or that numbers the requests of each connection, reuses ids. A known
//! id is therefore a repeat only if it arrives on the same connection or is marked as a
//! duplicate.

use std::collections::{HashMap, VecDeque};

use protocol::id::RequestId;

/// The maximum number of request ids to remember. Past it, a new id evicts the oldest.
const MAX_IDS: usize = 8192;

/// The request ids of recently delivered methods.
#[derive(Default)]
pub(crate) struct Deliveries {
    /// The number of the connection on which each id last arrived.
    connections: HashMap<RequestId, u64>,
    oldest_first: VecDeque<RequestId>,
}

impl Deliveries {
    /// Records a delivery. Returns `true` if it is the first delivery of its method.
    /// `marked` is the packet's DUP flag.
    pub(crate) fn is_first(&mut self, rid: &RequestId, connection: u64, marked: bool) -> bool {
        if let Some(known) = self.connections.get_mut(rid) {
            let again = marked || *known == connection;
            *known = connection;
            return !again;
        }
        if self.oldest_first.len() == MAX_IDS
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
    fn a_known_id_is_a_redelivery_on_the_same_connection_or_if_it_is_marked() {
        let mut deliveries = Deliveries::default();
        assert!(deliveries.is_first(&rid(1), 1, false));
        assert!(!deliveries.is_first(&rid(1), 1, false), "the same connection");
        assert!(!deliveries.is_first(&rid(1), 2, true), "marked, on the next connection");
        assert!(!deliveries.is_first(&rid(1), 2, false), "repeated on that connection");
        assert!(deliveries.is_first(&rid(2), 2, true), "marked, but unknown");
    }

    #[test]
    fn an_unmarked_id_on_a_new_connection_is_a_new_method() {
        let mut deliveries = Deliveries::default();
        assert!(deliveries.is_first(&rid(1), 1, false));
        assert!(deliveries.is_first(&rid(1), 2, false));
        assert!(!deliveries.is_first(&rid(1), 2, false));
    }

    #[test]
    fn the_oldest_id_is_evicted() {
        let mut deliveries = Deliveries::default();
        (0..=MAX_IDS).for_each(|number| assert!(deliveries.is_first(&rid(number), 1, false)));
        assert!(!deliveries.is_first(&rid(1), 1, false));
        assert!(deliveries.is_first(&rid(0), 1, false));
        assert_eq!(deliveries.connections.len(), MAX_IDS);
    }
}
