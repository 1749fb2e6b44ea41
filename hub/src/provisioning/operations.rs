//! Registrations in progress.
//!
//! The outcome of a registration is known at once, and devices learn it by polling, as from
//! the service in Azure. Outcomes are kept after they were delivered, since a device that has
//! lost an answer polls again.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use protocol::provisioning::{OperationId, RegistrationId, RegistrationState};

use crate::stamps::guid;

/// Maximum number of kept outcomes. The oldest are forgotten first.
const MAX_OPERATIONS: usize = 20_000;

/// Outcomes of registrations by operation.
#[derive(Default)]
pub(super) struct Operations(Mutex<KeptOutcomes>);

#[derive(Default)]
struct KeptOutcomes {
    by_id: HashMap<OperationId, Outcome>,
    oldest_first: VecDeque<OperationId>,
}

struct Outcome {
    registration: RegistrationId,
    state: Arc<RegistrationState>,
}

impl Operations {
    /// Keeps the outcome of a registration and returns the id of its operation.
    pub(super) fn start(
        &self,
        registration: RegistrationId,
        state: RegistrationState,
    ) -> OperationId {
        // The form of the service in Azure: a number, the partition and a GUID.
        let id = format!("4.0000000000000000.{}", guid());
        let id: OperationId = id.parse().expect("55 characters of an operation id");
        let mut kept = self.0.lock();
        if kept.oldest_first.len() >= MAX_OPERATIONS
            && let Some(oldest) = kept.oldest_first.pop_front()
        {
            kept.by_id.remove(&oldest);
        }
        kept.oldest_first.push_back(id.clone());
        kept.by_id.insert(id.clone(), Outcome { registration, state: Arc::new(state) });
        id
    }

    /// Returns the outcome of an operation of this device.
    pub(super) fn outcome(
        &self,
        id: &OperationId,
        registration: &RegistrationId,
    ) -> Option<Arc<RegistrationState>> {
        let kept = self.0.lock();
        let outcome = kept.by_id.get(id).filter(|outcome| outcome.registration == *registration);
        outcome.map(|outcome| Arc::clone(&outcome.state))
    }
}

#[cfg(test)]
mod tests {
    use protocol::provisioning::AssignmentStatus;

    use super::*;

    #[test]
    fn an_outcome_is_kept_for_its_device_until_many_others_follow() {
        let operations = Operations::default();
        let device: RegistrationId = "d1".parse().unwrap();
        let state = RegistrationState::new(device.clone(), AssignmentStatus::Assigned);
        let first = operations.start(device.clone(), state.clone());
        assert!(operations.outcome(&first, &"d2".parse().unwrap()).is_none());
        for _ in 1..MAX_OPERATIONS {
            operations.start(device.clone(), state.clone());
        }
        assert_eq!(operations.outcome(&first, &"D1".parse().unwrap()).as_deref(), Some(&state));
        operations.start(device.clone(), state);
        assert!(operations.outcome(&first, &device).is_none());
    }
}
