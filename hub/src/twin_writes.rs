//! Changes of twins whose devices are notified.
//!
//! A device gets its notifications in the order of the versions: a twin is written and its
//! notification sent under the same lock.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::Arc;

use parking_lot::Mutex;
use protocol::error::HubError;
use tracing::warn;

use crate::sessions::Sessions;
use crate::state::{Entity, IfMatch, Overlay, Owner, State, TwinChange, TwinWrite};

/// Number of the locks, each for a part of the devices.
const LOCKS: usize = 32;

/// The way to change twins on behalf of services and configurations.
pub(crate) struct TwinWriter {
    state: Arc<State>,
    sessions: Arc<Sessions>,
    hasher: RandomState,
    locks: [Mutex<()>; LOCKS],
}

impl TwinWriter {
    pub(crate) fn new(state: Arc<State>, sessions: Arc<Sessions>) -> TwinWriter {
        let locks = std::array::from_fn(|_| Mutex::default());
        TwinWriter { state, sessions, hasher: RandomState::new(), locks }
    }

    /// Changes a twin and notifies its device.
    pub(crate) fn write(
        &self,
        owner: &Owner,
        write: TwinWrite,
        change: TwinChange,
        if_match: &IfMatch,
    ) -> Result<Arc<Entity>, HubError> {
        let _guard = self.locks[self.lock_of(owner)].lock();
        let (entity, patch) = self.state.write_twin(owner, write, change, if_match)?;
        if let Some(patch) = patch {
            self.sessions.push_desired(owner, &patch);
        }
        Ok(entity)
    }

    /// Brings overlays of configurations into force, and notifies the devices. Returns the
    /// number of changed twins.
    ///
    /// The twins of a lock share a commit, so that thousands of them take a few commits.
    pub(crate) fn overlay(&self, overlays: Vec<(Owner, Arc<Overlay>)>) -> usize {
        let mut parts: [Vec<_>; LOCKS] = std::array::from_fn(|_| Vec::new());
        for (owner, overlay) in overlays {
            parts[self.lock_of(&owner)].push((owner, overlay));
        }
        let parts = self.locks.iter().zip(parts);
        parts.map(|(lock, part)| self.overlay_part(lock, part)).sum()
    }

    fn overlay_part(&self, lock: &Mutex<()>, part: Vec<(Owner, Arc<Overlay>)>) -> usize {
        let _guard = lock.lock();
        let (mut notifications, mut last, mut changed) = (Vec::new(), None, 0);
        for (owner, overlay) in part {
            match self.state.overlay_twin(&owner, &overlay) {
                Ok(Some((patch, queued))) => {
                    changed += 1;
                    last = Some(queued);
                    notifications.extend(patch.map(|patch| (owner, patch)));
                }
                Ok(None) => {}
                // The device was deleted in the meantime.
                Err(_) => {}
            }
        }
        // Changes are written in order, so the last one is the last on disk.
        if let Some(Err(error)) = last.map(|queued| queued.wait()) {
            warn!(reason = error.message, "configurations not applied");
            return 0;
        }
        for (owner, patch) in notifications {
            self.sessions.push_desired(&owner, &patch);
        }
        changed
    }

    fn lock_of(&self, owner: &Owner) -> usize {
        self.hasher.hash_one(owner) as usize % LOCKS
    }
}
