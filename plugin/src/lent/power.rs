//! The machine's power.

use super::HostError;
use futures_util::future::BoxFuture;
use std::time::Duration;

/// Reboots the machine. Only a plugin that was granted the capability reaches it.
pub trait Power: Send + Sync {
    /// Notes that the machine is to be rebooted after `delay`. `reason` is the
    /// plugin's text, safe for a log.
    fn request_reboot<'a>(
        &'a self,
        plugin: &'a str,
        delay: Duration,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<(), HostError>>;
}
