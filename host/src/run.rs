//! Assembles a device from a configuration and runs it. [`ProcessParts`] contains everything
//! that the devices of a process share.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use plugin::{Lent, Plugin, SystemClock};
use tokio::runtime::Handle;
use tokio::task::{JoinSet, spawn_blocking};

use crate::config::{Config, Configured};
use crate::connection::{Connection, Dial};
use crate::control::{ControlHandles, Remote};
use crate::device::Device;
use crate::device::admission::RouterAdmission;
use crate::device::certificate::{self, Renewer};
use crate::device::counts::Counts;
use crate::device::desired::Desired;
use crate::device::desired::accepted::Accepted;
use crate::device::messages::MessageReceiver;
use crate::device::own_thread;
use crate::device::renewal::CertificateRenewal;
use crate::device::status::{self, StatusSources};
use crate::device::systemd::ServiceManager;
use crate::identity::Identity;
use crate::journal::Journal;
use crate::known_good::KnownGood;
use crate::lent::durable::{self, Durable};
use crate::lent::http::Http;
use crate::lent::log::{Log, RecentLines};
use crate::lent::metrics::Metrics;
use crate::lent::power::boot::Machine;
use crate::lent::telemetry::Telemetry;
use crate::lent::twin::Twin;
use crate::metrics::MetricsText;
use crate::otlp::{Lines, Push};
use crate::plugins::slot::{Changes, Loaded, Slot};
use crate::plugins::{self, Loader};
use crate::router::{Router, Table, Tracing};
use crate::supervision::Supervisor;
use crate::swap::switches::Switches;
use crate::swap::{self, Operator, Swap, Watch};
use crate::trace::Tracer;
use crate::{memory, metrics};

pub use check::{CheckReport, CheckedPlugin, check};
pub use error::RunError;
use fleet::{EarlierRuns, FleetParts};
use host_metrics::PushTask;
pub use identity::{
    AssignedHub, Provisioned, SignIn, provision, provisioned, renew, sign_in, with_certificate,
};
pub use key::{create_key, signing_request};
use prepare::{DataDirectory, Prepared, prepare_or_fall_back};

mod check;
mod error;
mod fleet;
mod host_metrics;
mod host_status;
mod identity;
mod key;
mod prepare;
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
    let lines = Lines::collect();
    let mut stop = std::pin::pin!(stop);
    let mut service_manager = ServiceManager::of_environment();
    let supervisor = Supervisor::new(service_manager.watchdog());
    // Opened first, because the data directory contains the last working configuration.
    let durable = Durable::open(&config.host, &identity, machine).await?;
    let known = KnownGood::in_data(&durable.directory);
    let earlier = EarlierRuns::read(&durable.directory, &known).await;
    let data = DataDirectory { path: &durable.directory, known: &known, earlier: &earlier };
    let Prepared { shared, fleet, way, control } =
        Box::pin(prepare_or_fall_back(config, &identity, data, &supervisor)).await?;
    let push = host_metrics::push(&shared.config, lines).await?;
    let Some(dial) = way.dial(&mut service_manager, &supervisor, stop.as_mut()).await? else {
        service_manager.stopping();
        durable.journal.close().await;
        return Ok(());
    };
    let (journal, jobs) = (Arc::clone(&durable.journal), Arc::clone(&durable.jobs));
    let switches = Arc::new(Switches::new(Arc::clone(&journal)));
    let changes = Changes::new(());
    let (certificate, provisioning) = (dial.certificate().cloned(), dial.provisioning().cloned());
    let tracer = push.as_ref().and_then(Push::tracer);
    let mut device = shared.device(dial, Some(durable), &changes, tracer);
    device.router.table().slots().values().for_each(|slot| switches.apply(slot));
    device.service_manager = service_manager;
    device.service_manager.ready();
    let router = Arc::clone(&device.router);
    let status = host_status::of(&device, shared.loader.clone(), Arc::clone(&jobs));
    let (loader, listen) = (shared.loader.clone(), shared.config.host.metrics.listen);
    let metrics = host_metrics::of(&device, loader, Arc::clone(&jobs), Arc::clone(&journal));
    let push = push.map(|push| PushTask::start(push, &device, &metrics, &supervisor));
    let metrics: MetricsText = Arc::new(move || metrics.text());
    let mut background =
        shared.background_tasks(&device, &journal, switches, &changes, known, fleet.as_ref());
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
    if let Some(address) = listen {
        let serving = metrics::listener::serve(address, Arc::clone(&metrics));
        background.tasks.spawn(supervisor.watch("metrics", serving));
    }
    let handles = ControlHandles {
        router: Arc::clone(&router),
        operator: background.operator,
        status,
        metrics,
        jobs,
        log: Arc::clone(&shared.log),
    };
    let granted = shared.config.host.remote.methods.clone();
    let remote = Remote::new(granted, handles.clone(), shared.config.file.clone());
    device.reserved = Some(Arc::new(remote));
    if let Some(control) = control {
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
        ended = own_thread::run(device, stop) => {
            ended.map_err(RunError::Thread)?;
            None
        }
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
    if let Some(push) = push {
        push.finish().await;
    }
    swap::stop_all(&router).await;
    journal.close().await;
    if is_renamed { Err(RunError::Renamed) } else { Ok(()) }
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
    configured: Configured,
    /// Configuration with the installed plugins.
    pub(crate) config: Config,
    pub(crate) loader: Loader,
    plugins: BTreeMap<String, Loaded<Plugin>>,
    http: Http,
    log: Arc<RecentLines>,
    pub(crate) counts: Arc<Counts>,
    pub(crate) supervisor: Supervisor,
}

impl ProcessParts {
    /// Creates the engine and, for [`Plugins::Now`], loads the plugins. Runs on a blocking
    /// thread.
    pub(crate) async fn load(
        configured: impl Into<Configured>,
        when: Plugins,
        supervisor: Supervisor,
    ) -> Result<ProcessParts, RunError> {
        let configured = configured.into();
        let config = configured.merged()?;
        let loading = spawn_blocking(move || {
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
        Ok(ProcessParts { configured, config, loader, plugins, http, log, counts, supervisor })
    }

    /// Creates a device with its own connection and twin, and starts to connect. Without
    /// `durable`, nothing is persisted. `changes` is notified when the plugins change.
    pub(crate) fn device(
        &self,
        dial: Dial,
        durable: Option<Durable>,
        changes: &Changes,
        tracer: Option<Arc<Tracer>>,
    ) -> Device {
        let identity = dial.identity().clone();
        let client_id = identity.client_id();
        let device_id = identity.device.as_str().into();
        let admission = dial.admission();
        let connection = Connection::new(dial, &self.supervisor);
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
        let plugin_metrics = Arc::new(Metrics::default());
        let (state, jobs, power) = durable::handles(durable.as_ref());
        let lent = Lent {
            device_id,
            clock: Arc::new(SystemClock),
            log: Arc::new(Log {
                recent: durable.is_some().then(|| Arc::clone(&self.log)),
                device: shared_log.clone(),
            }),
            twin: Arc::clone(&twin) as _,
            telemetry: Arc::clone(&telemetry) as _,
            state,
            jobs,
            metrics: plugin_metrics.lent(durable.is_none()),
            power,
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
        let jobs = durable.as_ref().map(|durable| Arc::clone(&durable.jobs));
        let tracing = tracer.map(|tracer| Tracing { tracer, jobs });
        let router = Router::new(table, lent, journal).with_log_name(shared_log);
        let field = self.config.host.otlp.traceparent_key.clone();
        let router = Arc::new(router.with_tracing(tracing, field));
        admission.set(RouterAdmission::new(&router));
        let (grace, counts) = (self.config.host.grace, Arc::clone(&self.counts));
        let service_manager = ServiceManager::none();
        let supervisor = self.supervisor.clone();
        let receiver = self.config.hub.messages.as_deref();
        let messages = receiver.map(|it| MessageReceiver::new(it, &router, durable.as_ref()));
        Device {
            client_id,
            connection,
            router,
            reserved: None,
            messages,
            twin,
            telemetry,
            plugin_metrics,
            grace,
            counts,
            service_manager,
            supervisor,
            credential_answers: Default::default(),
            durable,
            workers: Handle::current(),
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
        fleet: Option<&FleetParts>,
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
            self.configured.clone(),
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
        let reports = fleet.map(|fleet| {
            let (operator, loader) = (operator.clone(), self.loader.clone());
            let (router, twin) = (Arc::clone(router), Arc::clone(twin));
            let (worker, reports) = fleet.worker(operator, loader, router, twin, changes);
            tasks.spawn(supervisor.watch("fleet", worker.run()));
            reports
        });
        if let Some(key) = self.config.host.report_plugins_under.clone() {
            let operator = operator.clone();
            let sources = StatusSources {
                router: Arc::clone(router),
                compiling: self.loader.compiling().clone(),
                refused: Box::new(move || operator.configuration().refused),
                fleet: reports,
            };
            let pulse = supervisor.pulse("status");
            let (twin, beat) = (Arc::clone(twin), pulse.clone());
            let status = status::run(key, sources, twin, changes.clone(), beat);
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
