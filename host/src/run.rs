//! Assembles a device from a configuration and runs it. [`ProcessParts`] contains everything
//! that the devices of a process share.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use plugin::{Lent, Nothing, Plugin, SystemClock};
use tokio::task::JoinSet;
use tracing::error;

use crate::config::Config;
use crate::connection::{Connection, Dial};
use crate::control::{Control, ControlHandles};
use crate::device::Device;
use crate::device::certificate::{self, Renewer};
use crate::device::counts::Counts;
use crate::device::desired::Desired;
use crate::device::desired::accepted::Accepted;
use crate::device::renewal::CertificateRenewal;
use crate::device::status;
use crate::device::systemd::ServiceManager;
use crate::identity::Identity;
use crate::journal::Journal;
use crate::known_good::KnownGood;
use crate::lent::durable::Durable;
use crate::lent::http::Http;
use crate::lent::log::{Log, RecentLines};
use crate::lent::power::boot::Machine;
use crate::lent::telemetry::Telemetry;
use crate::lent::twin::Twin;
use crate::memory;
use crate::plugins::slot::{Changes, Loaded, Slot};
use crate::plugins::{self, Loader};
use crate::router::{Router, Table};
use crate::supervision::Supervisor;
use crate::swap::switches::Switches;
use crate::swap::{self, Operator, Swap, Watch};

pub use check::{CheckReport, CheckedPlugin, check};
pub use error::RunError;
pub use identity::{
    AssignedHub, Provisioned, SignIn, provision, provisioned, renew, sign_in, with_certificate,
};
pub use key::{create_key, signing_request};
use way::Way;

mod check;
mod error;
mod host_status;
mod identity;
mod key;
mod way;

/// Time limit for the journal's last commit after an essential task has ended.
const LAST_COMMIT: Duration = Duration::from_secs(5);

/// Runs the host until `stop` completes.
///
/// After `stop`, the host accepts no new calls, waits for running calls within their grace
/// period, disconnects and returns. It reconnects without a limit on attempts.
///
/// # Errors
///
/// Returns an error if the host cannot start with this configuration, or if one of its
/// essential tasks ends.
pub async fn run(
    config: Config,
    identity: impl Into<Identity>,
    stop: impl Future<Output = ()>,
) -> Result<(), RunError> {
    run_on(&Machine::default(), config, identity, stop).await
}

/// Runs the host like [`run`], with boot information from `machine`.
pub async fn run_on(
    machine: &Machine,
    config: Config,
    identity: impl Into<Identity>,
    stop: impl Future<Output = ()>,
) -> Result<(), RunError> {
    let identity = identity.into();
    let mut stop = std::pin::pin!(stop);
    let mut service_manager = ServiceManager::of_environment();
    let supervisor = Supervisor::new(service_manager.watchdog());
    // Opened first, because the data directory contains the last working configuration.
    let durable = Durable::open(&config.host, &identity, machine).await?;
    let known = KnownGood::in_data(&durable.directory);
    let (shared, way, control) =
        prepare_or_fall_back(config, &identity, &known, &durable.directory, &supervisor).await?;
    let Some(dial) = way.dial(&mut service_manager, &supervisor, stop.as_mut()).await? else {
        service_manager.stopping();
        durable.journal.close().await;
        return Ok(());
    };
    let (journal, jobs) = (Arc::clone(&durable.journal), Arc::clone(&durable.jobs));
    let switches = Arc::new(Switches::new(Arc::clone(&journal)));
    let changes = Changes::new(());
    let (certificate, provisioning) = (dial.certificate().cloned(), dial.provisioning().cloned());
    let mut device = shared.device(dial, Some(durable), &changes);
    device.router.table().slots().values().for_each(|slot| switches.apply(slot));
    device.service_manager = service_manager;
    device.service_manager.ready();
    let router = Arc::clone(&device.router);
    let status = host_status::of(&device, shared.loader.clone(), Arc::clone(&jobs));
    let mut background = shared.background_tasks(&device, &journal, switches, &changes, known);
    let issued = provisioning.as_ref().and_then(|provisioning| {
        Some((Arc::clone(provisioning), Arc::clone(provisioning.issued()?)))
    });
    if let Some(live) = certificate {
        let renewer = if issued.is_some() { Renewer::Host } else { Renewer::Operator };
        let follow = certificate::run(live, renewer, Arc::clone(&device.twin));
        background.tasks.spawn(supervisor.watch("certificate", follow));
    }
    if let Some((provisioning, issued)) = issued {
        let renewal = CertificateRenewal {
            provisioning,
            issued,
            outbox: device.connection.outbox(),
            answers: device.credential_answers.subscribe(),
            device: device.client_id.clone(),
        };
        background.tasks.spawn(supervisor.watch("certificate renewal", renewal.run()));
    }
    if let Some(control) = control {
        let handles = ControlHandles {
            router: Arc::clone(&router),
            operator: background.operator,
            status,
            jobs,
            log: Arc::clone(&shared.log),
        };
        background.tasks.spawn(supervisor.watch("control", control.run(handles)));
    }
    let renamed = async {
        match &provisioning {
            Some(provisioning) => provisioning.renamed().await,
            None => std::future::pending().await,
        }
    };
    let mut is_renamed = false;
    let stop = async {
        tokio::select! {
            () = stop => {}
            () = renamed => is_renamed = true,
        }
    };
    let ended = tokio::select! {
        () = device.run(stop) => None,
        ended = supervisor.ended() => Some(ended),
    };
    supervisor.stopping();
    if let Some(ended) = ended {
        background.tasks.abort_all();
        // The task that ended may be the journal's writer, so closing the journal could hang.
        tokio::time::timeout(LAST_COMMIT, journal.close()).await.ok();
        return Err(ended.into());
    }
    background.tasks.shutdown().await;
    swap::stop_all(&router).await;
    journal.close().await;
    if is_renamed { Err(RunError::Renamed) } else { Ok(()) }
}

/// Prepares everything that can fail before the first connection. If a configuration has worked
/// before, the plugins are loaded after the start, and the last working configuration replaces
/// an unusable one.
async fn prepare_or_fall_back(
    config: Config,
    identity: &Identity,
    known: &KnownGood,
    data: &Path,
    supervisor: &Supervisor,
) -> Result<(ProcessParts, Way, Option<Control>), RunError> {
    let good = config.file.as_deref().and_then(|file| known.configuration(file));
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
    data: &Path,
    supervisor: &Supervisor,
) -> Result<(ProcessParts, Way, Option<Control>), RunError> {
    let way = Way::new(identity, &config, data)?;
    let shared = ProcessParts::load(config, plugins, supervisor.clone()).await?;
    let control = Control::open(&shared.config, data)?;
    Ok((shared, way, control))
}

/// Time at which the plugins are loaded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Plugins {
    /// Before the first connection; a plugin that does not load is an error.
    Now,
    /// After the start, by [`Swap`].
    Later,
}

/// Parts that all devices of a process share.
pub(crate) struct ProcessParts {
    config: Config,
    loader: Loader,
    plugins: BTreeMap<String, Loaded<Plugin>>,
    http: Http,
    log: Arc<RecentLines>,
    pub(crate) counts: Arc<Counts>,
    supervisor: Supervisor,
}

impl ProcessParts {
    /// Creates the engine and, for [`Plugins::Now`], loads the plugins. Runs on a blocking
    /// thread.
    pub(crate) async fn load(
        config: Config,
        when: Plugins,
        supervisor: Supervisor,
    ) -> Result<ProcessParts, RunError> {
        let loading = tokio::task::spawn_blocking(move || {
            let http = Http::new(&config)?;
            let loader = Loader::new(&config)?;
            let plugins = match when {
                Plugins::Now => plugins::load_all(&loader, &config)?,
                Plugins::Later => BTreeMap::new(),
            };
            Ok::<_, RunError>((config, loader, plugins, http))
        });
        let (config, loader, plugins, http) =
            loading.await.expect("loading does not panic and is not cancelled")?;
        let (log, counts) = (Arc::default(), Arc::default());
        Ok(ProcessParts { config, loader, plugins, http, log, counts, supervisor })
    }

    /// Creates a device with its own connection and twin, and starts to connect. Without
    /// `durable`, nothing is persisted. `changes` is notified when the plugins change.
    pub(crate) fn device(&self, dial: Dial, durable: Option<Durable>, changes: &Changes) -> Device {
        let identity = dial.identity().clone();
        let client_id = identity.client_id();
        let device_id = identity.device.as_str().into();
        let connection = Connection::open(dial, &self.supervisor);
        let journal = durable.as_ref().map(|durable| Arc::clone(&durable.journal));
        let twin = Arc::new(Twin::new(client_id.clone(), journal.clone()));
        let telemetry = Arc::new(Telemetry::new(
            identity,
            connection.outbox(),
            self.config.host.telemetry,
            journal.clone(),
            &self.supervisor,
        ));
        // The devices of a simulation have one log, and persist nothing.
        let shared_log = durable.is_none().then(|| client_id.clone());
        let memory = self.loader.queue_memory();
        twin.count_in(&memory);
        telemetry.count_in(&memory);
        if let Some(durable) = &durable {
            durable.jobs.count_in(&memory);
        }
        let lent = Lent {
            device_id,
            clock: Arc::new(SystemClock),
            log: Arc::new(Log {
                recent: durable.is_some().then(|| Arc::clone(&self.log)),
                device: shared_log.clone(),
            }),
            twin: Arc::clone(&twin) as _,
            telemetry: Arc::clone(&telemetry) as _,
            state: match &durable {
                Some(durable) => Arc::clone(&durable.state) as _,
                None => Arc::new(Nothing),
            },
            jobs: match &durable {
                Some(durable) => Arc::clone(&durable.jobs) as _,
                None => Arc::new(Nothing),
            },
            power: match &durable {
                Some(durable) => Arc::clone(&durable.power) as _,
                None => Arc::new(Nothing),
            },
            http: Arc::new(self.http.clone()),
        };
        let slots = self.config.plugins.iter().map(|(name, section)| {
            let (patience, changes) = (section.patience, changes.clone());
            let slot = match self.plugins.get(name) {
                Some(loaded) => Slot::new(name, loaded.clone(), patience, changes),
                None => Slot::loading(name, patience, changes),
            };
            (name.clone(), Arc::new(slot))
        });
        let table = Table::new(&self.config.plugins, slots.collect());
        let router = Arc::new(Router::new(table, lent, journal).with_log_name(shared_log));
        let (grace, counts) = (self.config.host.grace, Arc::clone(&self.counts));
        let service_manager = ServiceManager::none();
        let supervisor = self.supervisor.clone();
        Device {
            client_id,
            connection,
            router,
            twin,
            telemetry,
            grace,
            counts,
            service_manager,
            supervisor,
            credential_answers: Default::default(),
            durable,
        }
    }

    /// Starts the tasks that follow the files, the twin and the plugins of a device.
    fn background_tasks(
        &self,
        device: &Device,
        journal: &Arc<Journal>,
        switches: Arc<Switches>,
        changes: &Changes,
        known: KnownGood,
    ) -> BackgroundTasks {
        let (router, twin) = (&device.router, &device.twin);
        let mut tasks = JoinSet::new();
        let supervisor = &self.supervisor;
        journal.supervise(supervisor.pulse("journal"));
        let pulse = supervisor.pulse("swap");
        let (swap, operator) = Swap::new(
            self.loader.clone(),
            Arc::clone(router),
            changes.clone(),
            self.config.clone(),
            switches,
            Some(known),
            pulse.clone(),
        );
        tasks.spawn(pulse.over(swap.run(Watch::new())));
        let desired = Desired {
            router: Arc::clone(router),
            twin: Arc::clone(twin),
            accepted: Arc::new(Accepted::new(Arc::clone(journal))),
        };
        tasks.spawn(supervisor.watch("desired", desired.run(changes.clone())));
        if let Some(key) = self.config.host.report_plugins_under.clone() {
            let (router, twin) = (Arc::clone(router), Arc::clone(twin));
            let operator = operator.clone();
            let refused = move || operator.configuration().refused;
            let compiling = self.loader.compiling().clone();
            let pulse = supervisor.pulse("status");
            let beat = pulse.clone();
            let status = status::run(key, router, compiling, refused, twin, changes.clone(), beat);
            tasks.spawn(pulse.over(status));
        }
        let router = Arc::clone(router);
        let memory = memory::release_unused(move || router.plugins(), Arc::clone(&self.counts));
        tasks.spawn(supervisor.watch("memory", memory));
        BackgroundTasks { tasks, operator }
    }
}

/// Tasks that run alongside a device's event loop.
struct BackgroundTasks {
    tasks: JoinSet<()>,
    operator: Operator,
}
