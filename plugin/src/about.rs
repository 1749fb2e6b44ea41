//! Immutable description of a loaded plugin.
//!
//! Calls and the interfaces read it. The engine and the linked component are in
//! [`plugin`](crate::plugin) and inaccessible to them.

use crate::component::imports::{Exports, Imports};
use crate::{HttpSettings, Limits};
use std::collections::BTreeMap;
use tokio::sync::Semaphore;

/// Immutable properties of a plugin.
pub(crate) struct About {
    /// Name in the host's configuration.
    pub(crate) name: String,
    /// Number of the loaded version, unique in the process.
    pub(crate) version: u64,
    /// Limits of the plugin's calls.
    pub(crate) limits: Limits,
    /// Keys and values returned by the interface `config`.
    pub(crate) config: BTreeMap<String, String>,
    /// Hosts and limits of the capability `http`.
    pub(crate) http: HttpSettings,
    /// Limit on the concurrent HTTP requests of all calls.
    pub(crate) http_slots: Semaphore,
    /// Imports, all of which the host provides, and the capabilities among them.
    pub(crate) imports: Imports,
    /// Optional exports.
    pub(crate) exports: Exports,
}
