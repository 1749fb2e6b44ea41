//! The reserved direct methods, which the host answers itself.

use futures_util::future::BoxFuture;

/// Handler of the reserved methods.
pub(crate) trait ReservedMethods: Send + Sync {
    /// Answers the method whose name follows the reserved prefix. Returns the status and the
    /// payload as JSON.
    fn answer<'a>(&'a self, name: &'a str, payload: &'a [u8]) -> BoxFuture<'a, (i32, String)>;
}
