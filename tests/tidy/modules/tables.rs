//! The allowed arrows between the modules of each crate.

/// The modules of a crate from the lowest to the highest, each with those that it may name.
type Modules = &'static [(&'static str, &'static [&'static str])];

/// The table of each package that has one.
pub(super) const TABLES: &[(&str, Modules)] = &[("hub", HUB)];

/// `state` is the registry and the twins, `sessions` and `methods` what is in flight.
/// MQTT (`session`) and REST (`rest`) do not name each other.
const HUB: Modules = &[
    ("ca", &[]),
    ("command_error", &[]),
    ("faults", &[]),
    ("mqtt", &[]),
    ("query", &[]),
    ("telemetry", &[]),
    ("policy", &["faults"]),
    ("sessions", &["faults", "mqtt"]),
    ("methods", &["faults", "mqtt", "sessions"]),
    ("state", &["faults", "policy"]),
    ("config", &["ca", "state"]),
    ("rest", &["faults", "methods", "policy", "query", "sessions", "state"]),
    ("session", &["faults", "methods", "mqtt", "sessions", "state", "telemetry"]),
    ("listener", &["rest", "session"]),
    ("websocket", &["mqtt", "session"]),
];
