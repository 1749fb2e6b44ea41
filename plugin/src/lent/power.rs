//! Reboots of the machine.

use super::HostError;
use futures_util::future::BoxFuture;
use std::time::Duration;

/// Reboots the machine. Available to plugins with the capability `power`.
pub trait Power: Send + Sync {
    /// Schedules a reboot after `delay`. `reason` comes from the plugin and is escaped for
    /// the log.
    fn request_reboot<'a>(
        &'a self,
        plugin: &'a str,
        delay: Duration,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<(), HostError>>;
}
