//! Counters of the devices of this process.
//!
//! Devices count; readers read at any time. The numbers are not a snapshot: a call may
//! have been counted between two of them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// The numbers of all devices together.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    connected: AtomicUsize,
    most_connected: AtomicUsize,
    connects: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
    late: AtomicU64,
}

/// A connected device, until this is dropped.
pub(crate) struct Online(Arc<Counts>);

impl Counts {
    /// A device has connected.
    pub(crate) fn online(self: &Arc<Counts>) -> Online {
        let now = self.connected.fetch_add(1, Relaxed) + 1;
        self.most_connected.fetch_max(now, Relaxed);
        self.connects.fetch_add(1, Relaxed);
        Online(Arc::clone(self))
    }

    /// A method was answered with this status.
    pub(crate) fn answered(&self, status: i32) {
        self.answered.fetch_add(1, Relaxed);
        if status >= 400 {
            self.failed.fetch_add(1, Relaxed);
        }
    }

    /// Counts an answer that had no connection before its caller gave up. Returns the
    /// new count.
    pub(crate) fn late(&self) -> u64 {
        self.late.fetch_add(1, Relaxed) + 1
    }

    /// Devices that are connected now, and the most that were at once.
    pub(crate) fn devices(&self) -> (usize, usize) {
        (self.connected.load(Relaxed), self.most_connected.load(Relaxed))
    }

    /// Returns the number of connections made, first ones included.
    pub(crate) fn connects(&self) -> u64 {
        self.connects.load(Relaxed)
    }

    /// Methods that were answered, and those of them with a status of 400 or above.
    pub(crate) fn methods(&self) -> (u64, u64) {
        (self.answered.load(Relaxed), self.failed.load(Relaxed))
    }
}

impl Drop for Online {
    fn drop(&mut self) {
        self.0.connected.fetch_sub(1, Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_device_counts_as_connected_while_it_is() {
        let counts = Arc::new(Counts::default());

        let first = counts.online();
        let second = counts.online();
        drop(first);
        assert_eq!((counts.devices(), counts.connects()), ((1, 2), 2));
        drop(second);
        assert_eq!((counts.devices(), counts.connects()), ((0, 2), 2));
    }

    #[test]
    fn statuses_of_400_and_above_are_failures() {
        let counts = Counts::default();

        [200, 404, 599].into_iter().for_each(|status| counts.answered(status));
        assert_eq!(counts.methods(), (3, 2));
    }
}
