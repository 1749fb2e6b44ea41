//! Connection state of a device, as services see it.

/// The connection state of a device. Not persisted: a hub that starts has no
/// connections.
#[derive(Debug, Clone, Default)]
pub(super) struct Presence {
    pub(super) connected: bool,
    /// Time of the last connect or disconnect.
    pub(super) changed: Option<String>,
    pub(super) last_activity: Option<String>,
}

impl Presence {
    /// Returns the name that IoT Hub has for the state.
    pub(super) fn connection_state(&self) -> &'static str {
        if self.connected { "Connected" } else { "Disconnected" }
    }
}
