//! The connection state of a device.

/// The connection state of a device, as shown to services. It is not persisted, since a
/// starting hub has no connections.
#[derive(Debug, Clone, Default)]
pub(super) struct Presence {
    pub(super) connected: bool,
    /// Time of the last connect or disconnect.
    pub(super) changed: Option<String>,
    pub(super) last_activity: Option<String>,
}

impl Presence {
    /// Returns the name of the state in IoT Hub.
    pub(super) fn connection_state(&self) -> &'static str {
        if self.connected { "Connected" } else { "Disconnected" }
    }
}
