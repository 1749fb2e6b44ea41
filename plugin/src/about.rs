//! The description of a loaded plugin: everything about it that is fixed once it
//! is loaded.
//!
//! Calls and the interfaces read it. The machinery that runs a plugin, its engine
//! and its linked component, is in [`plugin`](crate::plugin) and out of their reach.

use crate::component::imports::{Exports, Imports};
use crate::{HttpSettings, Limits};
use std::collections::BTreeMap;
use tokio::sync::Semaphore;

/// The fixed facts of a plugin.
pub(crate) struct About {
    /// The name in the host's configuration.
    pub(crate) name: String,
    /// The limits of its calls.
    pub(crate) limits: Limits,
    /// The keys and values that the interface `config` returns.
    pub(crate) config: BTreeMap<String, String>,
    /// The hosts and limits of the capability `http`.
    pub(crate) http: HttpSettings,
    /// Places of the requests of all its calls at once.
    pub(crate) http_places: Semaphore,
    /// The imports, all of which are lent, and the capabilities among them.
    pub(crate) imports: Imports,
    /// The optional exports.
    pub(crate) exports: Exports,
}
