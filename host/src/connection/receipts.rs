//! Outcomes of messages that were sent with a receipt.

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Outcome of a message, with the number that its sender gave it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Receipt {
    /// The hub has acknowledged it.
    Acknowledged(u64),
    /// The hub does not accept it. It is not sent again.
    SetAside(u64),
}

/// Holds what was sent and not yet taken from here, and no more.
#[derive(Default)]
pub(crate) struct Receipts {
    waiting: Mutex<Vec<Receipt>>,
    wake: Notify,
}

impl Receipts {
    pub(crate) fn put(&self, receipt: Receipt) {
        self.waiting.lock().push(receipt);
        self.wake.notify_one();
    }

    /// Waits for, and takes, the receipts since the last call. Supports one waiter.
    pub(crate) async fn next(&self) -> Vec<Receipt> {
        loop {
            let taken = std::mem::take(&mut *self.waiting.lock());
            if !taken.is_empty() {
                return taken;
            }
            self.wake.notified().await;
        }
    }
}
