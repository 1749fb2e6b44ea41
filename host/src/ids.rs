//! Unique ids of calls and of requests to the hub.
//!
//! A random prefix distinguishes the ids of different runs of the host.

use std::sync::atomic::{AtomicU64, Ordering};

use protocol::id::RequestId;

/// Sequence of unique ids.
#[derive(Debug)]
pub(crate) struct IdSequence {
    run: u32,
    next: AtomicU64,
}

impl IdSequence {
    pub(crate) fn new() -> IdSequence {
        let time = || jiff::Timestamp::now().as_microsecond() as u32;
        IdSequence { run: getrandom::u32().unwrap_or_else(|_| time()), next: AtomicU64::new(1) }
    }

    /// Returns the next id: eight hex digits, a dash and a number, such as `9f3c21ab-1`.
    pub(crate) fn text(&self) -> String {
        format!("{:08x}-{}", self.run, self.next.fetch_add(1, Ordering::Relaxed))
    }

    /// Returns the next id as a request id.
    pub(crate) fn rid(&self) -> RequestId {
        self.text().parse().expect("hex digits, a dash and digits make a request id")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn consecutive_ids_differ() {
        let ids = IdSequence::new();
        assert_ne!(ids.rid(), ids.rid());
    }
}
