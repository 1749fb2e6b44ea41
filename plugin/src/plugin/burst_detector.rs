//! Detection of bursts from the number of concurrent calls.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Minimum number of concurrent calls at the peak of a burst.
const MIN_PEAK: usize = 32;

/// Factor by which the number of concurrent calls must fall to end a burst.
const DECLINE: usize = 4;

/// Detector of the end of a burst, which tracks the peaks of the number of concurrent calls.
#[derive(Default)]
pub(super) struct BurstDetector {
    /// Peak since the last check.
    recent_peak: AtomicUsize,
    /// Peak since memory was last released.
    peak: AtomicUsize,
}

impl BurstDetector {
    /// Records the number of running calls.
    pub(super) fn record(&self, running: usize) {
        // Loading first avoids a write: few calls exceed the peak.
        if self.recent_peak.load(Relaxed) < running {
            self.recent_peak.fetch_max(running, Relaxed);
        }
    }

    /// Returns `true` once after a burst has ended. Each check starts a new observation period
    /// with the running calls.
    pub(super) fn has_ended(&self, running: usize) -> bool {
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
    fn a_burst_ends_when_concurrency_falls_below_a_quarter_of_its_peak() {
        let detector = BurstDetector::default();
        detector.record(100);
        assert!(!detector.has_ended(90), "the burst has just happened");
        assert!(!detector.has_ended(40), "90 were running at the last check");
        assert!(!detector.has_ended(3), "40 were running at the last check");
        assert!(detector.has_ended(3));
        assert!(!detector.has_ended(3), "the end was already reported");
    }

    #[test]
    fn a_steady_load_is_not_a_burst() {
        let detector = BurstDetector::default();
        for running in [64, 30, 64, 20, 40, 64] {
            detector.record(running);
            assert!(!detector.has_ended(running / 2));
        }
    }

    #[test]
    fn a_few_calls_are_not_a_burst() {
        let detector = BurstDetector::default();
        detector.record(MIN_PEAK - 1);
        assert!(!detector.has_ended(0));
        assert!(!detector.has_ended(0));
    }
}
