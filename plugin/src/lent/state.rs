//! Persistent state of plugins.

use super::HostError;
use futures_util::future::BoxFuture;

/// Stores the state of plugins, separately for each of them.
///
/// Keys and values have been checked against the plugin's limits. The store enforces
/// `max_bytes`, the total size of a plugin's keys and values:
/// [`Limits::state_bytes`](crate::Limits::state_bytes). Each future resolves after its
/// change has been persisted.
pub trait StateStore: Send + Sync {
    /// Returns the value of `key`.
    fn get<'a>(
        &'a self,
        plugin: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, HostError>>;

    /// Returns at most `limit` keys that start with `prefix`, in order.
    fn keys<'a>(
        &'a self,
        plugin: &'a str,
        prefix: &'a str,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<String>, HostError>>;

    /// Sets the value of `key`.
    fn set<'a>(
        &'a self,
        plugin: &'a str,
        key: String,
        value: Vec<u8>,
        max_bytes: usize,
    ) -> BoxFuture<'a, Result<(), HostError>>;

    /// Deletes `key`, if it exists.
    fn delete<'a>(&'a self, plugin: &'a str, key: String) -> BoxFuture<'a, Result<(), HostError>>;

    /// Atomically replaces the value of `key` if it is `expected`; a `value` of `None`
    /// deletes the key. Returns `true` if it was replaced.
    fn swap<'a>(
        &'a self,
        plugin: &'a str,
        key: String,
        expected: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
        max_bytes: usize,
    ) -> BoxFuture<'a, Result<bool, HostError>>;
}
