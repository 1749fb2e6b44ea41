//! Reboots for plugins: the keys of `[host]` with `reboot` in their names.

use std::time::Duration;

/// Command that reboots the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RebootCommand {
    /// The program and its arguments.
    pub command: Vec<String>,
    /// `true` if the command is only logged.
    pub dry_run: bool,
}

/// Limits on reboots, over all plugins and all boots of the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RebootLimits {
    /// Reboots within an hour.
    pub per_hour: usize,
    /// Shortest time from a boot to the next reboot.
    pub min_uptime: Duration,
}

impl Default for RebootLimits {
    fn default() -> RebootLimits {
        // A machine that a plugin reboots at every start has five minutes in which its
        // operator can reach it, and most of an hour after the third reboot.
        RebootLimits { per_hour: 3, min_uptime: Duration::from_secs(300) }
    }
}
