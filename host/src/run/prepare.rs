//! Everything that can fail before the first connection, with the fallback to the last working
//! configuration.

use std::path::Path;

use tokio::task::spawn_blocking;
use tracing::error;

use super::fleet::{self, EarlierRuns, FleetParts};
use super::way::Way;
use super::{Plugins, ProcessParts, RunError};
use crate::config::Config;
use crate::control::Control;
use crate::identity::Identity;
use crate::known_good::KnownGood;
use crate::supervision::Supervisor;

/// Data directory, with the versions of earlier runs.
#[derive(Clone, Copy)]
pub(super) struct DataDirectory<'a> {
    pub(super) path: &'a Path,
    pub(super) known: &'a KnownGood,
    pub(super) earlier: &'a EarlierRuns,
}

/// Parts that can fail before the first connection.
pub(super) struct Prepared {
    pub(super) shared: ProcessParts,
    pub(super) fleet: Option<FleetParts>,
    pub(super) way: Way,
    pub(super) control: Option<Control>,
}

/// Prepares everything that can fail before the first connection. If a configuration has worked
/// before, the plugins are loaded after the start, and the last working configuration replaces
/// an unusable one.
pub(super) async fn prepare_or_fall_back(
    config: Config,
    identity: &Identity,
    data: DataDirectory<'_>,
    supervisor: &Supervisor,
) -> Result<Prepared, RunError> {
    let good = config.file.as_deref().and_then(|file| data.known.configuration(file));
    let plugins = if good.is_some() { Plugins::Later } else { Plugins::Now };
    let good = good.filter(|good| *good != config);
    let ca_file = config.hub.ca_file.clone();
    let error = match prepare(config, identity, plugins, data, supervisor).await {
        Ok(prepared) => return Ok(prepared),
        Err(error) => error,
    };
    let Some(good) = good else { return Err(error) };
    // The last working configuration may need the CA file of the command line. A second attempt
    // omits this file, because the refused `host.toml` may name a wrong one.
    let mut with_ca_file = good.clone();
    with_ca_file.hub.ca_file = good.hub.ca_file.clone().or(ca_file);
    for config in [with_ca_file, good] {
        if let Ok(prepared) = prepare(config, identity, plugins, data, supervisor).await {
            let hint = error.hint();
            let error = program::chain(&error);
            error!(hint, "configuration not usable, the last working one is in force: {error}");
            return Ok(prepared);
        }
    }
    Err(error)
}

/// Prepares everything that can fail before the first connection with this configuration.
async fn prepare(
    config: Config,
    identity: &Identity,
    plugins: Plugins,
    data: DataDirectory<'_>,
    supervisor: &Supervisor,
) -> Result<Prepared, RunError> {
    let way = Way::new(identity, &config, data.path)?;
    let (path, earlier) = (data.path.to_owned(), data.earlier.clone());
    let configuring = spawn_blocking(move || fleet::configured(config, &path, &earlier));
    let (configured, fleet) =
        configuring.await.expect("reading does not panic and is not cancelled")?;
    let shared = ProcessParts::load(configured, plugins, supervisor.clone()).await?;
    let control = Control::open(&shared.config, data.path)?;
    Ok(Prepared { shared, fleet, way, control })
}
