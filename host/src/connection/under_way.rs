//! The number of answers in progress.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// A counter of answers in progress. Clones share the count.
#[derive(Clone, Default)]
pub(crate) struct Answers(Arc<AnswerCount>);

#[derive(Default)]
struct AnswerCount {
    under_way: AtomicUsize,
    none: Notify,
}

/// A guard that counts one answer as in progress. While there are any, the renewal of the
/// token is postponed as long as possible.
pub(crate) struct UnderWay(Answers);

impl Answers {
    /// Counts one more answer until the returned guard is dropped.
    pub(crate) fn begin(&self) -> UnderWay {
        self.0.under_way.fetch_add(1, Ordering::SeqCst);
        UnderWay(self.clone())
    }

    pub(crate) fn under_way(&self) -> usize {
        self.0.under_way.load(Ordering::SeqCst)
    }

    /// Waits until no answer is in progress.
    pub(crate) async fn none(&self) {
        loop {
            let none = self.0.none.notified();
            if self.under_way() == 0 {
                return;
            }
            none.await;
        }
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let Answers(inner) = &self.0;
        if inner.under_way.fetch_sub(1, Ordering::SeqCst) == 1 {
            inner.none.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn what_waits_for_the_last_answer_goes_on_after_it() {
        let answers = Answers::default();
        assert!(answers.none().now_or_never().is_some());

        let (first, second) = (answers.begin(), answers.clone().begin());
        let waits = tokio::spawn({
            let answers = answers.clone();
            async move { answers.none().await }
        });
        tokio::task::yield_now().await;
        drop(first);
        tokio::task::yield_now().await;
        assert!(!waits.is_finished());
        drop(second);
        waits.await.unwrap();
    }
}
