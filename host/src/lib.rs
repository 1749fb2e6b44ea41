//! The program on the device: owns the connection and the twin of one device,
//! and routes its direct methods to plugins.
//!
//! ```no_run
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let config = behaviour_host::Config::read("host.toml".as_ref())?;
//! let identity = std::env::var("IOTHUB_DEVICE_CONNECTION_STRING")?.parse()?;
//! behaviour_host::run(config, identity, async { drop(tokio::signal::ctrl_c().await) }).await?;
//! # Ok(()) }
//! ```
//!
//! Everything that can be wrong with a configuration or a plugin is known before
//! the first connection. It never sets up logging: it says what happens as
//! `tracing` events, those of plugins under the target `plugin`.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may stop at the first surprise"))]

mod accepted;
mod backoff;
mod boot;
mod config;
mod connection;
#[cfg(unix)]
pub mod control;
mod counts;
mod deliveries;
mod desired;
mod device;
mod http;
mod jobs;
mod journal;
mod kept;
mod memory;
mod not_kept;
mod plugins;
mod power;
mod repeats;
mod reports;
mod rids;
mod router;
mod running;
mod simulate;
mod slot;
mod start;
mod state;
mod status;
mod supervisor;
mod swap;
mod switches;
mod telemetry;
mod twin;
mod watch;

pub use boot::Machine;
pub use config::{Config, ConfigError, HostSection, HttpError, HubSection, PluginSection};
pub use journal::JournalError;
pub use memory::share_heap;
pub use plugins::PluginError;
pub use power::RebootCommand;
pub use running::{check, run, run_on};
pub use simulate::{Figures, Fleet, FleetError, simulate};
pub use start::StartError;
pub use telemetry::{TelemetryLimits, WhenFull};
