//! Automatic configurations, persisted with the devices.
//!
//! This module does not interpret the documents.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use protocol::configuration::ConfigurationContent;
use protocol::error::HubError;
use serde::{Deserialize, Serialize};

use super::State;
use super::documents::Documents;
use super::etag;
use super::store::RecordKind;

/// The configurations, by id.
pub(super) type ConfigurationRecords = RwLock<Documents<ConfigurationRecord>>;

/// A persisted configuration.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct ConfigurationRecord {
    pub(crate) id: String,
    pub(crate) schema_version: Option<String>,
    pub(crate) labels: Option<BTreeMap<String, String>>,
    /// The content without empty kinds.
    pub(crate) content: ConfigurationContent,
    pub(crate) target_condition: String,
    pub(crate) priority: i32,
    /// Custom metrics: queries by name.
    pub(crate) metrics: BTreeMap<String, String>,
    pub(crate) created: String,
    pub(crate) updated: String,
    /// Number of writes.
    pub(crate) writes: u32,
}

impl ConfigurationRecord {
    /// Returns the etag.
    pub(crate) fn etag(&self) -> String {
        etag::of_identity(self.writes)
    }
}

impl State {
    /// Returns a configuration.
    pub(crate) fn configuration(&self, id: &str) -> Option<Arc<ConfigurationRecord>> {
        self.configurations.read().get(id).cloned()
    }

    /// Returns all configurations, ordered by id.
    pub(crate) fn configurations(&self) -> Vec<Arc<ConfigurationRecord>> {
        self.configurations.read().values().cloned().collect()
    }

    /// Returns `true` if there is a configuration.
    pub(crate) fn has_configurations(&self) -> bool {
        !self.configurations.read().is_empty()
    }

    /// Replaces a configuration by the result of `change`, which gets the current one and the
    /// number of all configurations; `None` deletes it. Returns once the change is on disk.
    pub(crate) fn change_configuration<E: From<HubError>>(
        &self,
        id: &str,
        change: impl FnOnce(
            Option<&ConfigurationRecord>,
            usize,
        ) -> Result<Option<ConfigurationRecord>, E>,
    ) -> Result<(), E> {
        let mut documents = self.configurations.write();
        let count = documents.len();
        let kind = RecordKind::Configuration;
        let queued =
            self.replace(&mut documents, kind, id.to_owned(), |current| change(current, count))?;
        drop(documents);
        self.count_change();
        Ok(queued.wait()?)
    }
}
