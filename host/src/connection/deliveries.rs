//! Methods already delivered, so that none runs twice.
//!
//! MQTT delivers at QoS 1 at least once: a packet whose acknowledgement the hub has not
//! seen comes again, on the same connection or, marked as a duplicate, on the next one.
//! The request id alone is not enough: a hub that was restarted, or that counts for
//! each connection, uses an id again for another method. So an id counts as a repeat on
//! the connection on which it arrived, and on a later one only if it is marked.

use std::collections::{HashMap, VecDeque};

use protocol::id::RequestId;

/// Request ids that are remembered; the oldest is forgotten for the next.
const REMEMBERED: usize = 8192;

#[derive(Default)]
pub(crate) struct Deliveries {
    /// The number of the connection on which each came last.
    connections: HashMap<RequestId, u64>,
    oldest_first: VecDeque<RequestId>,
}

impl Deliveries {
    /// Notes a delivery; says whether it is the first of its method.
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
