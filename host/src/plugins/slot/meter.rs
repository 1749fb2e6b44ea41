//! Counters of the calls of one method, for metrics.
//!
//! A table of methods resolves the meter of each method once. A call then changes three atomic
//! numbers, without a lock and without an allocation.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use parking_lot::Mutex;

/// The outcomes of a method: an answer of the plugin, or the error code of ARCHITECTURE.md's
/// table of failures. The last one counts codes that the list lacks.
pub(crate) const OUTCOMES: [&str; 15] = [
    "answered",
    "refused",
    "busy",
    "disabled",
    "loading",
    "draining",
    "invalid-payload",
    "too-large",
    "no-export",
    "deadline-exceeded",
    "out-of-memory",
    "trapped",
    "host-fault",
    "bad-answer",
    "other",
];

/// The upper bounds of the buckets of durations, in microseconds. A call of a small plugin takes
/// some 100 µs, and the longest deadline is 300 s.
pub(crate) const BOUNDS: [u64; 16] = [
    100,
    250,
    500,
    1_000,
    2_500,
    5_000,
    10_000,
    25_000,
    50_000,
    100_000,
    250_000,
    500_000,
    1_000_000,
    5_000_000,
    30_000_000,
    300_000_000,
];

/// The calls of one method of one plugin, by outcome and by duration.
#[derive(Debug)]
pub(crate) struct Meter {
    since: Instant,
    outcomes: [AtomicU64; OUTCOMES.len()],
    /// The calls by bucket. The last bucket has no upper bound.
    durations: [AtomicU64; BOUNDS.len() + 1],
    total_micros: AtomicU64,
}

/// The numbers of a meter at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct MeterView {
    /// The calls by outcome, in the order of [`OUTCOMES`].
    pub(crate) outcomes: [u64; OUTCOMES.len()],
    /// The calls by bucket, in the order of [`BOUNDS`].
    pub(crate) durations: [u64; BOUNDS.len() + 1],
    pub(crate) total: Duration,
    /// Time since when the calls are counted.
    pub(crate) since: Instant,
}

impl Default for Meter {
    fn default() -> Meter {
        Meter {
            since: Instant::now(),
            outcomes: Default::default(),
            durations: Default::default(),
            total_micros: AtomicU64::default(),
        }
    }
}

impl Meter {
    /// Counts a call. `outcome` is one of [`OUTCOMES`].
    pub(crate) fn count(&self, outcome: &str, elapsed: Duration) {
        let index = OUTCOMES.iter().position(|known| *known == outcome);
        self.outcomes[index.unwrap_or(OUTCOMES.len() - 1)].fetch_add(1, Ordering::Relaxed);
        let micros = u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX);
        let bucket = BOUNDS.partition_point(|bound| *bound < micros);
        self.durations[bucket].fetch_add(1, Ordering::Relaxed);
        self.total_micros.fetch_add(micros, Ordering::Relaxed);
    }

    /// Returns the current numbers. A call that ends meanwhile may be in a part of them.
    pub(crate) fn view(&self) -> MeterView {
        let load = |number: &AtomicU64| number.load(Ordering::Relaxed);
        MeterView {
            outcomes: std::array::from_fn(|index| load(&self.outcomes[index])),
            durations: std::array::from_fn(|index| load(&self.durations[index])),
            total: Duration::from_micros(load(&self.total_micros)),
            since: self.since,
        }
    }
}

/// The meters of a plugin's methods. A meter lives as long as a table with its method, so their
/// number is that of the configured methods, whatever names callers choose.
#[derive(Debug, Default)]
pub(super) struct Meters(Mutex<BTreeMap<String, Weak<Meter>>>);

impl Meters {
    /// Returns the meter of a method, and creates it if no table has it.
    pub(super) fn of(&self, method: &str) -> Arc<Meter> {
        let mut meters = self.0.lock();
        if let Some(known) = meters.get(method).and_then(Weak::upgrade) {
            return known;
        }
        meters.retain(|_, meter| meter.strong_count() > 0);
        let meter = Arc::new(Meter::default());
        meters.insert(method.to_owned(), Arc::downgrade(&meter));
        meter
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_is_counted_by_its_outcome_and_its_duration() {
        let meter = Meter::default();
        meter.count("answered", Duration::from_micros(100));
        meter.count("trapped", Duration::from_micros(101));
        meter.count("a new code", Duration::from_secs(301));
        let view = meter.view();
        let counted: Vec<_> = OUTCOMES.iter().zip(view.outcomes).filter(|it| it.1 > 0).collect();
        assert_eq!(counted, [(&"answered", 1), (&"trapped", 1), (&"other", 1)]);
        assert_eq!((view.durations[0], view.durations[1], view.durations[16]), (1, 1, 1));
        assert_eq!(view.total, Duration::from_micros(301_000_201));
    }

    #[test]
    fn meters_of_methods_that_no_table_has_are_dropped() {
        let meters = Meters::default();
        let kept = meters.of("kept");
        for number in 0..100_000 {
            meters.of(&number.to_string());
        }
        assert_eq!(meters.0.lock().len(), 2);
        kept.count("answered", Duration::ZERO);
        assert_eq!(meters.of("kept").view().outcomes[0], 1);
    }
}
