//! Counters of the devices of this process.
//!
//! The counters are read one by one, so a reader does not get a consistent snapshot.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering::Relaxed};

/// Counters of all devices together.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    connected: AtomicUsize,
    max_connected: AtomicUsize,
    connects: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
    late: AtomicU64,
}

/// Guard that counts a device as connected until it is dropped.
pub(crate) struct Online(Arc<Counts>);

impl Counts {
    /// Counts a device as connected and returns its guard.
    pub(crate) fn online(self: &Arc<Counts>) -> Online {
        let now = self.connected.fetch_add(1, Relaxed) + 1;
        self.max_connected.fetch_max(now, Relaxed);
        self.connects.fetch_add(1, Relaxed);
        Online(Arc::clone(self))
    }

    /// Counts a method as answered with this status.
    pub(crate) fn answered(&self, status: i32) {
        self.answered.fetch_add(1, Relaxed);
        if status >= 400 {
            self.failed.fetch_add(1, Relaxed);
        }
    }

    /// Counts an answer that missed its caller's timeout. Returns the new count.
    pub(crate) fn late(&self) -> u64 {
        self.late.fetch_add(1, Relaxed) + 1
    }

    /// Returns the number of connected devices, and the maximum so far.
    pub(crate) fn devices(&self) -> (usize, usize) {
        (self.connected.load(Relaxed), self.max_connected.load(Relaxed))
    }

    /// Returns the number of connections made, including first connections.
    pub(crate) fn connects(&self) -> u64 {
        self.connects.load(Relaxed)
    }

    /// Returns the number of answered methods, and the number of those with a status of 400 or
    /// above.
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
    fn a_device_counts_as_connected_until_its_guard_is_dropped() {
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
