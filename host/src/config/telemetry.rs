//! `[host.telemetry]`: limits of the queue of messages for the hub.

use serde::Deserialize;

/// Limits of the messages that wait for the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TelemetryLimits {
    /// Messages.
    pub messages: usize,
    /// Bytes of their topics and bodies.
    pub bytes: usize,
    /// Reaction to a full queue.
    pub when_full: WhenFull,
}

/// Reaction to a message for which the queue has no room.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhenFull {
    /// The oldest message: it is dropped, and counted.
    #[default]
    DropOldest,
    /// The new message: the plugin gets an error.
    Refuse,
}

impl Default for TelemetryLimits {
    fn default() -> TelemetryLimits {
        // Some minutes of a chatty plugin; a message may have 256 KiB.
        let (messages, bytes) = (1_000, 4 * 1024 * 1024);
        TelemetryLimits { messages, bytes, when_full: WhenFull::default() }
    }
}
