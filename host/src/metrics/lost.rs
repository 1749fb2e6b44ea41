//! Entries that were not pushed by OTLP.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::config::OtlpSignal;

/// Numbers of the entries that a push has lost, for each signal that is pushed.
#[derive(Debug, Default)]
pub(crate) struct LostEntries(Mutex<BTreeMap<OtlpSignal, u64>>);

impl LostEntries {
    /// Adds entries of a signal. The first addition, also of none, creates its series.
    pub(crate) fn add(&self, signal: OtlpSignal, entries: u64) {
        *self.0.lock().entry(signal).or_default() += entries;
    }

    /// Returns the number of each signal that is pushed.
    pub(crate) fn counts(&self) -> BTreeMap<OtlpSignal, u64> {
        self.0.lock().clone()
    }
}
