//! Gate that holds the loading of chosen files back, for tests.

use std::collections::BTreeSet;
use std::sync::Arc;

use parking_lot::{Condvar, Mutex};

/// Gate that every load passes. Clones share it.
#[derive(Clone, Default)]
pub(crate) struct Gate(Arc<(Mutex<BTreeSet<String>>, Condvar)>);

/// A closed gate for one file, which opens when it is dropped.
pub(crate) struct Closed {
    gate: Gate,
    digest: String,
}

impl Gate {
    /// Holds all loads of the file with this digest back.
    pub(crate) fn close(&self, digest: &str) -> Closed {
        self.0.0.lock().insert(digest.to_owned());
        Closed { gate: self.clone(), digest: digest.to_owned() }
    }

    /// Waits until the gate is open for the file with this digest. Blocks.
    pub(super) fn pass(&self, digest: &str) {
        let mut closed = self.0.0.lock();
        while closed.contains(digest) {
            self.0.1.wait(&mut closed);
        }
    }
}

impl Drop for Closed {
    fn drop(&mut self) {
        self.gate.0.0.lock().remove(&self.digest);
        self.gate.0.1.notify_all();
    }
}
