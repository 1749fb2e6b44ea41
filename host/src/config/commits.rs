//! Limits on commits to disk: the keys of `[host]` that contain `commits`.

/// Limits on the rate of commits to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitLimits {
    /// Maximum number of commits per minute.
    pub per_minute: u32,
    /// Maximum number of commits per minute that contain changes of one plugin.
    pub per_plugin: u32,
}

impl CommitLimits {
    /// Capacity of a token bucket, in minutes of its rate.
    pub(crate) const BURST_MINUTES: f64 = 60.0;
}

impl Default for CommitLimits {
    fn default() -> CommitLimits {
        // A commit writes about 25 kB, so two per second write 4.3 GB a day. At that rate,
        // flash memory of 8 GB with 3,000 erase cycles lasts fifteen years, or a few years if
        // write amplification is high. One plugin can use at most half of the rate.
        CommitLimits { per_minute: 120, per_plugin: 60 }
    }
}
