//! Documents with an id, in memory and on disk.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::sync::Arc;

use protocol::error::HubError;
use serde::Serialize;

use super::store::{PendingWrite, RecordChange, RecordKind};
use super::{State, server_error};

/// Documents by id.
pub(super) type Documents<T> = BTreeMap<String, Arc<T>>;

impl State {
    /// Replaces a document by the result of `change`, which gets the current one; `None`
    /// removes it. Queues the change for the disk under the caller's lock of the documents, so
    /// that changes are written in order.
    pub(super) fn replace<T: Serialize, E: From<HubError>>(
        &self,
        documents: &mut Documents<T>,
        kind: RecordKind,
        key: String,
        change: impl FnOnce(Option<&T>) -> Result<Option<T>, E>,
    ) -> Result<QueuedChange, E> {
        let entry = documents.entry(key.clone());
        let current = match &entry {
            Entry::Occupied(occupied) => Some(occupied.get().as_ref()),
            Entry::Vacant(_) => None,
        };
        let document = change(current)?;
        let value = document.as_ref().map(json);
        match (entry, document) {
            (entry, Some(document)) => drop(entry.insert_entry(Arc::new(document))),
            (Entry::Occupied(occupied), None) => drop(occupied.remove()),
            (Entry::Vacant(_), None) => {}
        }
        Ok(self.queue(vec![RecordChange { kind, key, value }]))
    }

    /// Queues changes for the disk.
    pub(super) fn queue(&self, changes: Vec<RecordChange>) -> QueuedChange {
        QueuedChange(self.store.as_ref().map(|store| store.write(changes)))
    }
}

/// Returns the persisted form of a document.
pub(super) fn json<T: Serialize>(document: &T) -> Vec<u8> {
    serde_json::to_vec(document).expect("documents are maps with string keys")
}

/// A change that may not be on disk yet.
#[must_use]
pub(crate) struct QueuedChange(pub(super) Option<PendingWrite>);

impl QueuedChange {
    /// Waits until this change and all earlier ones are on disk.
    pub(crate) fn wait(self) -> Result<(), HubError> {
        self.0.map_or(Ok(()), |written| written.wait().map_err(server_error))
    }
}
