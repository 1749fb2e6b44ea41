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

mod backoff;
mod config;
mod connection;
#[cfg(unix)]
pub mod control;
mod device;
mod ids;
mod journal;
mod lent;
mod memory;
mod not_kept;
mod plugins;
mod router;
mod run;
mod simulate;
mod swap;

pub use config::{Config, ConfigError, HostSection, HttpError, HubSection, PluginSection};
pub use journal::JournalError;
pub use lent::power::RebootCommand;
pub use lent::power::boot::Machine;
pub use lent::telemetry::{TelemetryLimits, WhenFull};
pub use memory::share_heap;
pub use plugins::PluginError;
pub use run::{StartError, check, run, run_on};
pub use simulate::{Figures, Fleet, FleetError, simulate};
