//! The methods that have begun: for a result, the time in which it is of use; for a repeated
//! probe, the fact that it was answered.

use std::collections::{HashMap, VecDeque};

use protocol::mqtt5::CorrelationId;
use tokio::time::Instant;

/// The number of methods that are remembered, the newest ones.
const MAX_METHODS: usize = 1024;

/// A method that has begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Executed {
    /// The time until which its caller waits; `None` if that is unknown.
    pub(super) until: Option<Instant>,
}

/// The newest methods that have begun, by request id.
#[derive(Default)]
pub(super) struct ExecutedMethods {
    by_id: HashMap<CorrelationId, Executed>,
    oldest_first: VecDeque<CorrelationId>,
}

impl ExecutedMethods {
    pub(super) fn insert(&mut self, request_id: CorrelationId, executed: Executed) {
        if self.oldest_first.len() >= MAX_METHODS
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.by_id.remove(&oldest);
        }
        self.oldest_first.push_back(request_id);
        self.by_id.insert(request_id, executed);
    }

    pub(super) fn get(&self, request_id: CorrelationId) -> Option<&Executed> {
        self.by_id.get(&request_id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_methods_are_remembered() {
        let id = |number: usize| {
            let mut bytes = [0; 16];
            bytes[..8].copy_from_slice(&number.to_be_bytes());
            CorrelationId::from(bytes)
        };
        let mut methods = ExecutedMethods::default();
        (0..=MAX_METHODS).for_each(|it| methods.insert(id(it), Executed { until: None }));
        assert_eq!(methods.get(id(0)), None);
        assert!(methods.get(id(1)).is_some() && methods.get(id(MAX_METHODS)).is_some());
        assert_eq!(methods.by_id.len(), MAX_METHODS);
    }
}
