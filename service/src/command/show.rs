//! Results on standard output, either as text or as JSON lines.

use std::io::{self, IsTerminal as _};

use behaviour_service::{MethodResult, Twin};
use program::say;
use protocol::id::client_id;
use protocol::registry::{DeviceIdentity, DeviceStatus};
use serde_json::{Map, Value};

/// Format of the results.
#[derive(Debug, Clone, Copy)]
pub(crate) struct OutputFormat {
    pub(crate) as_json: bool,
}

impl OutputFormat {
    /// Returns `true` if a person reads the results, and `false` for JSON and for pipes.
    pub(super) fn is_for_a_person(self) -> bool {
        !self.as_json && io::stdout().is_terminal()
    }

    pub(super) fn method_result(self, result: &MethodResult) {
        let MethodResult { status, payload } = result;
        match self.as_json {
            true => say(format_args!(r#"{{"status":{status},"payload":{}}}"#, payload.compact())),
            false => say(format_args!("{status} {}", payload.pretty())),
        }
    }

    pub(super) fn twin(self, twin: &Twin) -> serde_json::Result<()> {
        match self.as_json {
            true => json(&serde_json::to_value(twin)?),
            false => say(twin_text(twin)),
        }
        Ok(())
    }

    /// Prints the names of the columns of a list of devices, if a person reads it.
    pub(super) fn device_header(self) {
        if self.is_for_a_person() {
            say(row("DEVICE", "STATUS", "CONNECTION", "AUTHENTICATION"));
        }
    }

    /// Prints a device without its keys.
    pub(super) fn device(self, mut device: DeviceIdentity) -> serde_json::Result<()> {
        if let Some(authentication) = &mut device.authentication {
            authentication.symmetric_key = None;
        }
        match self.as_json {
            true => json(&serde_json::to_value(device)?),
            false => say(device_text(&device)),
        }
        Ok(())
    }
}

/// Prints a value on one line.
pub(super) fn json(value: &Value) {
    say(value);
}

fn device_text(device: &DeviceIdentity) -> String {
    let status = match device.status {
        DeviceStatus::Enabled => "enabled",
        DeviceStatus::Disabled => "disabled",
    };
    let connected = device.connection_state.as_deref().unwrap_or("Disconnected").to_lowercase();
    let authentication = device.authentication.as_ref().map_or("none", |it| it.kind.as_str());
    row(device.device_id.as_str(), status, &connected, authentication)
}

/// Returns a row of the list of devices.
fn row(device: &str, status: &str, connected: &str, authentication: &str) -> String {
    format!("{device:<32} {status:<8} {connected:<12} {authentication}")
}

/// Returns a summary of a twin: connection state, versions, tags and properties.
pub(super) fn twin_text(twin: &Twin) -> String {
    let connected = twin.connection_state.as_deref().unwrap_or("Disconnected").to_lowercase();
    let name = client_id(&twin.device_id, twin.module_id.as_ref());
    let mut text = format!("{name}: {connected}, version {}", twin.version);
    let properties = &twin.properties;
    for (name, section) in
        [("tags", &twin.tags), ("desired", &properties.desired), ("reported", &properties.reported)]
    {
        let version = section.get("$version").map_or(String::new(), |n| format!(" (version {n})"));
        let is_property = |(key, value): (&String, &Value)| {
            (!key.starts_with('$')).then(|| (key.clone(), value.clone()))
        };
        let shown: Map<String, Value> = section.iter().filter_map(is_property).collect();
        text += &format!("\n{name}{version}: {:#}", Value::Object(shown));
    }
    text
}
