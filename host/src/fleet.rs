//! Plugins from registries: those that the cloud names in the desired properties, and those with
//! an `image` in `host.toml`.
//!
//! The [`Worker`] of a device follows the desired properties. Its [`Planner`](planner) decides the
//! steps, an [`Activation`](activation) carries them out, and [`FleetRecord`] persists the
//! versions that run and those that were refused. `[fleet]` bounds what the cloud may choose.
//! Without `[fleet]` and images, nothing of this module is created.
//!
//! This module does not replace plugins itself: it hands sections whose component is in the
//! content store to an [`Installer`].

mod activation;
mod cached;
mod failure;
mod fuzzing;
mod health;
mod installer;
mod places;
mod planner;
#[cfg(test)]
mod power;
mod record;
mod report;
mod reported;
mod restored;
mod supplies;
mod wish;
mod worker;

pub(crate) use activation::Site;
pub(crate) use fuzzing::{read_entry, read_record};
pub(crate) use installer::Installer;
pub(crate) use record::{FleetRecord, RecordFile};
pub(crate) use report::{FleetReports, Report};
pub(crate) use reported::Reported;
pub(crate) use restored::restored;
pub(crate) use supplies::Supplies;
pub use supplies::SuppliesError;
pub(crate) use worker::Worker;
