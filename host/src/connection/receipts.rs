//! Which messages the hub has acknowledged, for whoever has sent them.

use parking_lot::Mutex;

use tokio::sync::Notify;

/// Holds no more than what was sent and is not yet taken from here.
#[derive(Default)]
pub(crate) struct Receipts {
    acknowledged: Mutex<Vec<u64>>,
    wake: Notify,
}

impl Receipts {
    /// The hub has acknowledged this one.
    pub(crate) fn put(&self, receipt: u64) {
        self.acknowledged.lock().push(receipt);
        self.wake.notify_one();
    }

    /// Those since the last time; waits until there is one. For one waiter.
    pub(crate) async fn next(&self) -> Vec<u64> {
        loop {
            let taken = std::mem::take(&mut *self.acknowledged.lock());
            if !taken.is_empty() {
                return taken;
            }
            self.wake.notified().await;
        }
    }
}
