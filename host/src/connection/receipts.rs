//! Outcomes of messages that were sent with a receipt.

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The outcome of a message, with the number that its sender chose.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Receipt {
    /// A message that the hub acknowledged.
    Acknowledged(u64),
    /// A message that the hub does not accept, and that is no longer sent.
    SetAside(u64),
}

/// The queue of receipts, for a single receiver.
#[derive(Default)]
pub(crate) struct Receipts {
    pending: Mutex<Vec<Receipt>>,
    wake: Notify,
}

impl Receipts {
    /// Adds a receipt and wakes the receiver.
    pub(crate) fn push(&self, receipt: Receipt) {
        self.pending.lock().push(receipt);
        self.wake.notify_one();
    }

    /// Waits for receipts, and returns all since the last call. Only one task can wait at a
    /// time.
    pub(crate) async fn next(&self) -> Vec<Receipt> {
        loop {
            let taken = std::mem::take(&mut *self.pending.lock());
            if !taken.is_empty() {
                return taken;
            }
            self.wake.notified().await;
        }
    }
}
