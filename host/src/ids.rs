//! Unique ids: of the host's own requests to the hub, and of calls.
//!
//! A random prefix tells the ids of one run of the program from those of the next, in
//! the hub's answers and in the log.

use std::sync::atomic::{AtomicU64, Ordering};

use protocol::id::RequestId;

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

    /// Returns eight hex digits, a dash and a number: `9f3c21ab-1`.
    pub(crate) fn text(&self) -> String {
        format!("{:08x}-{}", self.run, self.next.fetch_add(1, Ordering::Relaxed))
    }

    pub(crate) fn rid(&self) -> RequestId {
        self.text().parse().expect("hex digits, a dash and digits make a request id")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_two_are_alike() {
        let ids = IdSequence::new();
        assert_ne!(ids.rid(), ids.rid());
    }
}
