//! The program on the device: owns the connection and the twin of one device,
//! and routes its direct methods to plugins.
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
//! // `identity` is the device's connection string. This device ends once it is connected.
//! run(config, identity, hub.connected(&device)).await?;
//! # Ok(())
//! # }
//! ```
//!
//! At its first start everything that can be wrong with a configuration or a plugin is
//! known before the first connection; later starts fall back to what worked last. It
//! never sets up logging: it emits `tracing` events, those of plugins under the target
//! `plugin`.
//!
//! `cargo run -p behaviour-host --example device` is a whole device, with a hub in the same
//! process.
//!
//! # Layout
//!
//! * `backoff`: pauses between attempts that grow and spread.
//! * `config`: `host.toml`, parsed into settings. Imports no other module.
//! * [`control`]: the operator's socket, its messages and its client.
//! * `connection`: MQTT to IoT Hub. The only module that knows a packet.
//! * `device`: one device's event loop, and what reports on it or follows its twin.
//! * `ids`: request ids and call ids that are unique within a run.
//! * `journal`: the file that outlives the process, and its one writing thread.
//! * `known_good`: the configuration and the versions that worked last, on disk.
//! * `lent`: the handles that plugins reach: twin, telemetry, state, jobs, power, HTTP, log.
//! * `memory`: returns unused memory to the system.
//! * `plugins`: loads components; the slot that holds a plugin's versions and health.
//! * `router`: from a method's name to a plugin, and from any outcome to one answer.
//! * `run`: assembles a device from a configuration and runs it.
//! * `simulate`: many devices in one process, to load-test a hub.
//! * `supervision`: ends the host when a task of it has ended, and knows which are stuck.
//! * `swap`: replaces plugins while the host runs: files, configuration, operator.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may stop at the first surprise"))]

#[cfg(not(unix))]
compile_error!("behaviour-host needs Unix: its sockets, its signals and the identity of files");

mod backoff;
mod config;
mod connection;
pub mod control;
mod device;
mod ids;
mod journal;
mod known_good;
mod lent;
mod memory;
mod plugins;
mod router;
mod run;
mod simulate;
mod supervision;
mod swap;

/// Decodes the packets of a hub; returns their number. For fuzzing only.
#[doc(hidden)]
#[must_use]
pub fn read_packets(bytes: &[u8]) -> usize {
    connection::read_packets(bytes)
}

pub use config::{
    CommitLimits, Config, ConfigError, HostSection, HttpError, HubSection, Patience, PluginSection,
    RebootCommand, RebootLimits, TelemetryLimits, WhenFull,
};
pub use journal::JournalError;
pub use known_good::last_good;
pub use lent::power::boot::Machine;
pub use memory::share_heap;
pub use plugins::PluginError;
pub use run::{CheckReport, CheckedPlugin, RunError, check, run, run_on};
pub use simulate::{Figures, Fleet, FleetError, simulate};
pub use supervision::TaskEnded;
