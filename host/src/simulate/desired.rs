//! DesiredPlugins that the cloud names for simulated devices.
//!
//! Each device follows its own desired properties, and reports its own states. The devices share
//! what they have fetched: manifests, signatures and components by digest, and compiled code.

use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::task::{JoinSet, spawn_blocking};

use super::installer::{DeviceInstaller, SharedVersions};
use crate::config::{Config, Configured};
use crate::device::Device;
use crate::device::status::{self, StatusSources};
use crate::fleet::{FleetRecord, Reported, Site, Supplies, Worker};
use crate::plugins::slot::Changes;
use crate::plugins::{Compiling, Loader};
use crate::run::RunError;
use crate::supervision::Supervisor;

/// Parts for the plugins from registries of all devices.
pub(super) struct DesiredPlugins {
    config: Arc<Config>,
    supplies: Arc<Supplies>,
    versions: Arc<SharedVersions>,
    /// Directory of the content store, if it is removed at the end.
    temporary: Option<PathBuf>,
}

impl DesiredPlugins {
    /// Returns `None` if the configuration names no plugins from registries.
    pub(super) async fn new(
        config: &Config,
        loader: Loader,
    ) -> Result<Option<DesiredPlugins>, RunError> {
        if !config.fetches() {
            return Ok(None);
        }
        let name = format!("behaviour-simulate-{}", std::process::id());
        let temporary = match config.host.data {
            Some(_) => None,
            None => Some(std::env::temp_dir().join(name)),
        };
        let data = config.host.data.clone().or(temporary.clone());
        let data = data.expect("one of both is present");
        let config = Arc::new(config.clone());
        let reading = Arc::clone(&config);
        let supplies = spawn_blocking(move || Supplies::new(&reading, &data)).await;
        let supplies = supplies.expect("reading does not panic and is not cancelled")?.shared();
        let versions = Arc::new(SharedVersions::new(loader));
        Ok(Some(DesiredPlugins { config, supplies: Arc::new(supplies), versions, temporary }))
    }

    /// Starts the tasks of a device, which end when the set is dropped.
    pub(super) fn follow(
        &self,
        device: &Device,
        changes: &Changes,
        supervisor: &Supervisor,
    ) -> JoinSet<()> {
        let (router, twin) = (&device.router, &device.twin);
        let configured = Configured::from(Config::clone(&self.config));
        let installer = DeviceInstaller {
            versions: Arc::clone(&self.versions),
            router: Arc::clone(router),
            changes: changes.clone(),
            configured: tokio::sync::Mutex::new(configured),
        };
        let key = self.config.host.report_plugins_under.clone();
        let site = Site {
            supplies: Arc::clone(&self.supplies),
            installer: Arc::new(installer),
            router: Arc::clone(router),
            changes: changes.clone(),
            reported: Reported { twin: Arc::clone(twin), key: key.clone() },
            needed: Mutex::default(),
        };
        let (worker, reports) =
            Worker::new(site, Arc::clone(&self.config), FleetRecord::default(), None);
        let mut tasks = JoinSet::new();
        tasks.spawn(supervisor.watch("fleet", worker.run()));
        if let Some(key) = key {
            let sources = StatusSources {
                router: Arc::clone(router),
                compiling: Compiling::default(),
                refused: Box::new(|| None),
                fleet: Some(reports),
            };
            let pulse = supervisor.pulse("status");
            let (twin, beat) = (Arc::clone(twin), pulse.clone());
            let status = status::run(key, sources, twin, changes.clone(), beat);
            tasks.spawn(pulse.over(status));
        }
        tasks
    }
}

impl Drop for DesiredPlugins {
    fn drop(&mut self) {
        if let Some(directory) = &self.temporary {
            // It may not exist, if nothing was fetched.
            let _ = std::fs::remove_dir_all(directory);
        }
    }
}
