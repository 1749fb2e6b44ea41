//! Detection of bursts from the number of concurrent calls.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Minimum peak of a burst.
const MIN_PEAK: usize = 32;

/// Factor by which the number of concurrent calls must fall before a burst is over.
const DECLINE: usize = 4;

/// Peaks of the number of concurrent calls.
#[derive(Default)]
pub(super) struct Concurrency {
    /// Peak since the last check.
    recent_peak: AtomicUsize,
    /// Peak since memory was last released.
    peak: AtomicUsize,
}

impl Concurrency {
    /// Records the number of running calls.
    pub(super) fn record(&self, running: usize) {
        // Loading first avoids a write: few calls exceed the peak.
        if self.recent_peak.load(Relaxed) < running {
            self.recent_peak.fetch_max(running, Relaxed);
        }
    }

    /// Returns `true` once after a burst has ended. Each call starts a new observation
    /// period with the running calls.
    pub(super) fn is_over(&self, running: usize) -> bool {
        let recent_peak = self.recent_peak.swap(running, Relaxed).max(running);
        let peak = self.peak.fetch_max(recent_peak, Relaxed).max(recent_peak);
        let over = peak >= MIN_PEAK && peak / DECLINE > recent_peak;
        if over {
            self.peak.store(recent_peak, Relaxed);
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_over_when_concurrency_falls_below_a_quarter() {
        let concurrency = Concurrency::default();
        concurrency.record(100);
        assert!(!concurrency.is_over(90), "the burst has just happened");
        assert!(!concurrency.is_over(40), "90 were running at the last check");
        assert!(!concurrency.is_over(3), "40 were running at the last check");
        assert!(concurrency.is_over(3));
        assert!(!concurrency.is_over(3), "the end was already reported");
    }

    #[test]
    fn a_steady_load_is_not_a_burst() {
        let concurrency = Concurrency::default();
        for running in [64, 30, 64, 20, 40, 64] {
            concurrency.record(running);
            assert!(!concurrency.is_over(running / 2));
        }
    }

    #[test]
    fn a_few_calls_are_not_a_burst() {
        let concurrency = Concurrency::default();
        concurrency.record(MIN_PEAK - 1);
        assert!(!concurrency.is_over(0));
        assert!(!concurrency.is_over(0));
    }
}
