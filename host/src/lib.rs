//! Plugin host for an IoT Hub device: owns the device's connection and twin, and routes direct
//! methods to plugins.
//!
//! ```
//! use behaviour_host::{Config, run};
//!
//! # #[tokio::main]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let hub = hub::Hub::start(hub::HubConfig::default()).await?;
//! # let identity = hub.create_device(&"my-device".parse()?)?;
//! # let device = identity.device.clone();
//! # let directory = tempfile::tempdir()?;
//! # std::fs::write(directory.path().join("ca.pem"), hub.ca_pem())?;
//! # let _component = fixtures::write("reply.wat", directory.path());
//! let host_toml = r#"
//!     hub.ca_file = "ca.pem"
//!     host.data = "data"
//!     plugins.echo = { file = "reply.wasm", methods = ["*"] }
//! "#;
//! # let host_toml = format!("{host_toml}\nhost.compile_cache = \"compiled\"\nhost.control_socket = \"c/s\"");
//! let config = Config::parse(&host_toml, directory.path())?;
//! // `identity` is the device's connection string or its registration. This host stops once it has connected.
//! run(config, identity, hub.connected(&device)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! The first start checks the configuration and loads every plugin before it connects. Later
//! starts fall back to the last working configuration and versions.
//!
//! The crate emits `tracing` events and never installs a subscriber. Log lines of plugins
//! have the target `plugin`.
//!
//! `cargo run -p behaviour-host --example device` runs a complete device and a hub in one
//! process.
//!
//! # Layout
//!
//! * `assignment`: the assignment of a device to a hub, on disk.
//! * `atomic_file`: atomic replacement of small files.
//! * `backoff`: exponential back-off with jitter.
//! * `batches`: a bounded queue whose entries are taken in batches.
//! * `config`: `host.toml`, parsed into settings. Imports no other module.
//! * [`control`]: the operator's socket, its messages and its client.
//! * `connection`: the MQTT connection to IoT Hub. The only module that handles packets.
//! * `content`: fetched components by digest, on disk.
//! * `device`: a device's event loop, its status reports and its desired properties.
//! * `fleet`: plugins from registries, which the cloud or the configuration names.
//! * `identity`: the identity that a device starts with.
//! * `ids`: request ids and call ids that are unique across runs.
//! * `journal`: the database of persisted data, and its single writer thread.
//! * `known_good`: the last working configuration and plugin versions, on disk.
//! * `lent`: the interfaces that plugins call: twin, telemetry, state, jobs, power, HTTP, log.
//! * `memory`: returns unused memory to the system.
//! * `metrics`: the metrics of a host as text, and their listener.
//! * `otlp`: the push of metrics, traces and logs by OTLP/HTTP.
//! * `pkcs11`: keys in tokens, such as a TPM.
//! * `plugins`: loads components, and holds a plugin's versions and health in a slot.
//! * `record`: records calls as test cases, at the operator's request.
//! * `router`: maps a method name to a plugin, and every outcome to one answer.
//! * `run`: assembles a device from a configuration and runs it.
//! * `secret_file`: files that other users must not be able to read.
//! * `simulate`: many devices in one process, to load-test a hub.
//! * `supervision`: ends the host if one of its tasks ends, and detects stuck tasks.
//! * `swap`: replaces plugins in a running host after changes of their files or the
//!   configuration, and at the operator's request.
//! * `trace`: spans of calls and the sampling of traces.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a failed `unwrap` fails the test"))]

#[cfg(not(unix))]
compile_error!("behaviour-host needs Unix sockets, signals and inode numbers");

mod assignment;
mod atomic_file;
mod backoff;
mod batches;
mod config;
mod connection;
mod content;
pub mod control;
mod device;
mod fleet;
mod identity;
mod ids;
mod issued;
mod journal;
mod known_good;
mod lent;
mod memory;
mod metrics;
mod otlp;
mod pkcs11;
mod plugins;
mod record;
mod router;
mod run;
mod secret_file;
mod simulate;
mod supervision;
mod swap;
mod trace;
mod trusted_keys;

/// Decodes the packets in `bytes` and returns their number. For fuzzing only.
#[doc(hidden)]
#[must_use]
pub fn read_packets(bytes: &[u8]) -> usize {
    connection::read_packets(bytes)
}

/// Returns the settings of a plugin in the desired properties. The error is one line. For fuzzing
/// only.
#[doc(hidden)]
pub fn read_desired_plugin(config: &Config, json: &[u8]) -> Result<plugin::PluginSettings, String> {
    fleet::read_entry(config, json)
}

/// Reads a record of the plugins from registries, and returns it after a start of the host with
/// empty desired properties. For fuzzing only.
#[doc(hidden)]
#[must_use]
pub fn read_fleet_record(json: &[u8]) -> Option<Vec<u8>> {
    fleet::read_record(json)
}

pub use config::{
    Attestation, CommitLimits, Compression, Config, ConfigError, FleetSection, HostSection,
    HttpError, HubSection, IdentitySection, ImagePattern, ImageSection, IssuedSection, KeySource,
    MetricsSection, OtlpEndpoint, OtlpReceiver, OtlpSection, OtlpSignal, OtlpUrlError, Patience,
    Pkcs11Uri, PluginSection, ProvisioningSection, RebootCommand, RebootLimits, RegistrySection,
    RemoteMethod, RemoteSection, SignatureRule, TelemetryLimits, TokenAttributes, TrustSection,
    UriError, WhenFull,
};
pub use connection::{CertificateError, ProvisioningFailure};
pub use fleet::SuppliesError;
pub use identity::{Identity, Registration, RegistrationCredential, WeakKey};
pub use journal::JournalError;
pub use known_good::last_good;
pub use lent::power::boot::Machine;
pub use memory::share_heap;
pub use otlp::{FieldProblem, OtlpError};
pub use pkcs11::{TokenError, release_tokens};
pub use plugins::PluginError;
pub use record::{MAX_CALLS as MAX_RECORDED_CALLS, RecordedCall};
pub use run::{
    AssignedHub, CheckReport, CheckedPlugin, Provisioned, RunError, SignIn, check, create_key,
    provision, provisioned, renew, run, run_on, sign_in, signing_request, with_certificate,
};
pub use simulate::{Figures, Fleet, FleetError, simulate};
pub use supervision::TaskEnded;
pub use trusted_keys::TrustedKeyError;
