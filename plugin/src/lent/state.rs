//! The state of plugins.

use super::HostError;
use futures_util::future::BoxFuture;

/// Keeps what plugins remember, each apart from the others.
///
/// Keys and values have been checked against the plugin's limits. How much all
/// of a plugin's keys and values may take together is for the store to hold:
/// `most_bytes`, which is [`Limits::state_bytes`](crate::Limits::state_bytes).
/// What a future has done is on disk before it is ready.
pub trait StateStore: Send + Sync {
    /// The value of a key.
    fn get<'a>(
        &'a self,
        plugin: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, HostError>>;

    /// The keys that begin with `prefix`, in order, `limit` of them at most.
    fn keys<'a>(
        &'a self,
        plugin: &'a str,
        prefix: &'a str,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<String>, HostError>>;

    /// Sets the value of a key.
    fn set<'a>(
        &'a self,
        plugin: &'a str,
        key: String,
        value: Vec<u8>,
        most_bytes: usize,
    ) -> BoxFuture<'a, Result<(), HostError>>;

    /// Deletes a key, which need not be there.
    fn delete<'a>(&'a self, plugin: &'a str, key: String) -> BoxFuture<'a, Result<(), HostError>>;

    /// Sets the key to `value`, or deletes it, if its value is `expected`, in one
    /// step; says whether it was.
    fn swap<'a>(
        &'a self,
        plugin: &'a str,
        key: String,
        expected: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
        most_bytes: usize,
    ) -> BoxFuture<'a, Result<bool, HostError>>;
}
