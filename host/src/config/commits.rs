//! Commits to disk: the keys of `[host]` with `commits` in their names.

/// Limits on the rate of commits to disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CommitLimits {
    /// Commits of the whole host in a minute.
    pub per_minute: u32,
    /// Commits with changes of one plugin, in a minute.
    pub per_plugin: u32,
}

impl CommitLimits {
    /// Minutes whose commits can be made at once.
    pub(crate) const BURST_MINUTES: f64 = 60.0;
}

impl Default for CommitLimits {
    fn default() -> CommitLimits {
        // A commit writes about 25 kB: two in a second are 4.3 GB a day. Flash memory of 8 GB
        // with 3,000 erase cycles lasts fifteen years then, or some years where its controller
        // writes several times as much. A single plugin leaves half of that to the others.
        CommitLimits { per_minute: 120, per_plugin: 60 }
    }
}
