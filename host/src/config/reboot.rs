//! Settings of reboots that plugins request: the keys of `[host]` that contain `reboot`.

use std::time::Duration;

/// Command that reboots the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RebootCommand {
    /// Program and its arguments.
    pub command: Vec<String>,
    /// `true` to log the command instead of running it.
    pub dry_run: bool,
}

/// Limits on reboots by all plugins together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RebootLimits {
    /// Maximum number of reboots within an hour.
    pub per_hour: usize,
    /// Minimum time between a boot and the next reboot.
    pub min_uptime: Duration,
}

impl Default for RebootLimits {
    fn default() -> RebootLimits {
        // If a plugin requests a reboot at every start, the operator has five minutes to log
        // in, and most of an hour after the third reboot.
        RebootLimits { per_hour: 3, min_uptime: Duration::from_secs(300) }
    }
}
