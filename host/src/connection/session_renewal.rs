//! Decision whether certificates are requested over the session.
//!
//! A hub that does not know the topics of these requests closes each connection on which the
//! device subscribes to the answers. The device then registers again for its next certificate.

use std::sync::atomic::{AtomicU32, Ordering};

/// The number of consecutive connections that may end before the hub grants the subscriptions.
/// A single end is most likely the network's.
const MAX_CLOSINGS: u32 = 3;

/// The record of the subscriptions to answers with certificates.
#[derive(Default)]
pub(super) struct SessionRenewal {
    /// The number of consecutive connections that the hub closed before it granted the
    /// subscriptions.
    closings: AtomicU32,
}

impl SessionRenewal {
    /// Returns `true` if the next connection subscribes to the answers.
    pub(super) fn is_possible(&self) -> bool {
        self.closings.load(Ordering::Relaxed) < MAX_CLOSINGS
    }

    /// Records that the hub has granted the subscriptions.
    pub(super) fn granted(&self) {
        if self.is_possible() {
            self.closings.store(0, Ordering::Relaxed);
        }
    }

    /// Records that the hub has closed a connection before it granted the subscriptions. Returns
    /// `true` if the device no longer subscribes to the answers.
    pub(super) fn closed(&self) -> bool {
        self.is_possible() && self.closings.fetch_add(1, Ordering::Relaxed) + 1 == MAX_CLOSINGS
    }

    /// Records that the hub has no such requests.
    pub(super) fn rule_out(&self) {
        self.closings.store(MAX_CLOSINGS, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hub_that_closes_each_connection_gets_no_more_requests() {
        let renewal = SessionRenewal::default();
        let closings: Vec<_> = (0..=MAX_CLOSINGS).map(|_| renewal.closed()).collect();
        assert_eq!(closings, [false, false, true, false]);
        renewal.granted();
        assert!(!renewal.is_possible());
    }

    #[test]
    fn connections_that_end_between_granted_ones_change_nothing() {
        let renewal = SessionRenewal::default();
        for _ in 0..MAX_CLOSINGS {
            assert!(!renewal.closed());
            renewal.granted();
        }
        assert!(renewal.is_possible());
    }
}
