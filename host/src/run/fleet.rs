//! The plugins from registries of a device: the versions of earlier runs, and the worker that
//! installs others.

use std::path::Path;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use tokio::task::spawn_blocking;
use tracing::error;

use super::RunError;
use crate::config::{Config, Configured, PluginSection};
use crate::fleet::{
    FleetRecord, FleetReports, Installer, RecordFile, Reported, Site, Supplies, Worker, restored,
};
use crate::known_good::KnownGood;
use crate::lent::twin::Twin;
use crate::plugins::slot::Changes;
use crate::plugins::{self, Loader};
use crate::router::Router;
use crate::swap::Operator;

/// Parts for the plugins from registries.
pub(super) struct FleetParts {
    supplies: Arc<Supplies>,
    record: FleetRecord,
    file: RecordFile,
    config: Arc<Config>,
}

/// Record of earlier runs, with this start of the host counted.
#[derive(Clone)]
pub(super) struct EarlierRuns {
    file: RecordFile,
    record: FleetRecord,
    known: KnownGood,
}

impl EarlierRuns {
    /// Reads the record in the data directory, and counts this start of the host.
    pub(super) async fn read(data: &Path, known: &KnownGood) -> EarlierRuns {
        let (file, known) = (RecordFile::in_data(data), known.clone());
        let reading = spawn_blocking(move || {
            let record = file.begin_run();
            EarlierRuns { file, record, known }
        });
        reading.await.expect("reading does not panic and is not cancelled")
    }
}

/// Adds the versions of earlier runs to a configuration. Returns no parts if the configuration
/// names no plugins from registries. Blocks.
pub(super) fn configured(
    config: Config,
    data: &Path,
    earlier: &EarlierRuns,
) -> Result<(Configured, Option<FleetParts>), RunError> {
    if !config.fetches() {
        return Ok((config.into(), None));
    }
    let supplies = Arc::new(Supplies::new(&config, data)?);
    let mut record = earlier.record.clone();
    let sections = restored(&config, &mut record, supplies.store(), &earlier.known);
    let mut configured = Configured::from(config);
    for (plugin, section) in sections {
        let mut next = configured.clone();
        next.installed.insert(plugin.clone(), section);
        match next.merged() {
            Ok(_) => configured = next,
            Err(error) => {
                error!(plugin, "version not restored: {}", program::chain(&error));
                record.forget_running(&plugin);
            }
        }
    }
    let config = Arc::new(configured.text.clone());
    let file = earlier.file.clone();
    Ok((configured, Some(FleetParts { supplies, record, file, config })))
}

impl FleetParts {
    /// Creates the worker of a device, and the channel of its reports.
    pub(super) fn worker(
        &self,
        operator: Operator,
        loader: Loader,
        router: Arc<Router>,
        twin: Arc<Twin>,
        changes: &Changes,
    ) -> (Worker, FleetReports) {
        let key = self.config.host.report_plugins_under.clone();
        let site = Site {
            supplies: Arc::clone(&self.supplies),
            installer: Arc::new(SwapInstaller { operator, loader }),
            router,
            changes: changes.clone(),
            reported: Reported { twin, key },
            needed: Mutex::default(),
        };
        let (config, file) = (Arc::clone(&self.config), Some(self.file.clone()));
        Worker::new(site, config, self.record.clone(), file)
    }
}

/// Installer of a device whose plugins [`crate::swap`] replaces.
struct SwapInstaller {
    operator: Operator,
    loader: Loader,
}

impl Installer for SwapInstaller {
    fn compile<'a>(
        &'a self,
        plugin: &'a str,
        section: &'a PluginSection,
    ) -> BoxFuture<'a, Result<(), String>> {
        let (loader, name, section) = (self.loader.clone(), plugin.to_owned(), section.clone());
        Box::pin(async move {
            let compiling = spawn_blocking(move || {
                let file = plugins::read(&name, &section)?;
                // The result stays in the compile cache, from which the start loads it.
                loader.load(&name, &section, &file).map(drop)
            });
            let compiled = compiling.await.map_err(|_| "the compiler panicked".to_owned())?;
            compiled.map_err(|error| program::chain(&error).to_string())
        })
    }

    fn install<'a>(
        &'a self,
        plugin: &'a str,
        section: Option<PluginSection>,
    ) -> BoxFuture<'a, Result<(), String>> {
        Box::pin(async move { self.operator.install(plugin, section).await.map(drop) })
    }
}
