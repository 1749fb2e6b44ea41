//! The number of calls that run at once, watched for bursts.

use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Fewer calls at once are no burst.
const LEAST: usize = 32;

/// Nor are they, if so large a part of them still comes at once.
const PART: usize = 4;

/// The most calls that ran at once.
#[derive(Default)]
pub(super) struct AtOnce {
    /// Since it was looked at last.
    lately: AtomicUsize,
    /// Since memory was given back last.
    most: AtomicUsize,
}

impl AtOnce {
    /// Notes the number of calls that run now.
    pub(super) fn note(&self, running: usize) {
        // A look first: most calls are no more than there were before.
        if self.lately.load(Relaxed) < running {
            self.lately.fetch_max(running, Relaxed);
        }
    }

    /// Returns `true` if there was a burst that is over. Begins anew to look for the
    /// most of late, with those that run; and for the burst, if it is over.
    pub(super) fn is_over(&self, running: usize) -> bool {
        let lately = self.lately.swap(running, Relaxed).max(running);
        let most = self.most.fetch_max(lately, Relaxed).max(lately);
        let over = most >= LEAST && most / PART > lately;
        if over {
            self.most.store(lately, Relaxed);
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_is_over_when_less_than_a_quarter_of_it_comes() {
        let at_once = AtOnce::default();
        at_once.note(100);
        assert!(!at_once.is_over(90), "it has just been");
        assert!(!at_once.is_over(40), "90 were running when it was looked at");
        assert!(!at_once.is_over(3), "40 were");
        assert!(at_once.is_over(3));
        assert!(!at_once.is_over(3), "it was over before");
    }

    #[test]
    fn a_steady_load_is_no_burst() {
        let at_once = AtOnce::default();
        for running in [64, 30, 64, 20, 40, 64] {
            at_once.note(running);
            assert!(!at_once.is_over(running / 2));
        }
    }

    #[test]
    fn a_few_calls_are_no_burst() {
        let at_once = AtOnce::default();
        at_once.note(LEAST - 1);
        assert!(!at_once.is_over(0));
        assert!(!at_once.is_over(0));
    }
}
