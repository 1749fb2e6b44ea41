//! The number of answers in progress.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Notify;

/// A counter of answers in progress. Clones share the count.
#[derive(Clone, Default)]
pub(crate) struct Answers(Arc<AnswerCount>);

#[derive(Default)]
struct AnswerCount {
    in_progress: AtomicUsize,
    none: Notify,
}

/// A guard that counts one answer as in progress. The renewal of the token is postponed while
/// any guard exists, as long as the token permits.
pub(crate) struct AnswerGuard(Answers);

impl Answers {
    /// Counts one more answer until the returned guard is dropped.
    pub(crate) fn begin(&self) -> AnswerGuard {
        self.0.in_progress.fetch_add(1, Ordering::SeqCst);
        AnswerGuard(self.clone())
    }

    /// Returns the number of answers in progress.
    pub(crate) fn in_progress(&self) -> usize {
        self.0.in_progress.load(Ordering::SeqCst)
    }

    /// Waits until no answer is in progress.
    pub(crate) async fn none(&self) {
        loop {
            let none = self.0.none.notified();
            if self.in_progress() == 0 {
                return;
            }
            none.await;
        }
    }
}

impl Drop for AnswerGuard {
    fn drop(&mut self) {
        let Answers(inner) = &self.0;
        if inner.in_progress.fetch_sub(1, Ordering::SeqCst) == 1 {
            inner.none.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    #[tokio::test]
    async fn waiting_for_the_answers_in_progress_ends_with_the_last_one() {
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
