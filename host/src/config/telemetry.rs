//! `[host.telemetry]`: limits of the telemetry queue.

use serde::Deserialize;

/// Limits of the queue of messages to the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TelemetryLimits {
    /// Maximum number of messages.
    pub messages: usize,
    /// Maximum total size of topics and bodies, in bytes.
    pub bytes: usize,
    /// Behaviour when the queue is full.
    pub when_full: WhenFull,
}

/// Behaviour when a message is added to a full queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenFull {
    /// Drops the oldest message and counts it.
    #[default]
    DropOldest,
    /// Refuses the new message, so the plugin gets an error.
    Refuse,
}

impl Default for TelemetryLimits {
    fn default() -> TelemetryLimits {
        // Enough for a few minutes of a chatty plugin. A message can have 256 KiB.
        let (messages, bytes) = (1_000, 4 * 1024 * 1024);
        TelemetryLimits { messages, bytes, when_full: WhenFull::default() }
    }
}
