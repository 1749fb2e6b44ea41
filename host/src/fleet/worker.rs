//! Worker of a device: follows the desired properties, and carries out the planner's actions.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use plugin::TwinAccess as _;
use serde_json::{Map, Value};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::{Instant, sleep_until};
use tokio_util::task::AbortOnDropHandle;
use tracing::{error, info, warn};

use super::activation::{Activation, Site};
use super::failure::Failure;
use super::health;
use super::planner::{ActivationProgress, EventTime, FleetAction, FleetEvent, Planner};
use super::record::{FleetRecord, Installed, RecordFile};
use super::report::{FleetReports, Report};
use super::wish::{RefusedWish, Wish};
use crate::config::desired::DesiredPlugin;
use crate::config::{Config, ImageSection};
use crate::supervision::caught;

/// Maximum number of events that wait for the worker.
const MAX_EVENTS: usize = 64;

/// Time before another attempt to persist the record.
const WRITE_PAUSE: Duration = Duration::from_secs(60);

/// Worker of a device.
pub(crate) struct Worker {
    site: Arc<Site>,
    config: Arc<Config>,
    planner: Planner,
    first: Vec<FleetAction>,
    /// File of the record; `None` if nothing is persisted.
    file: Option<RecordFile>,
    /// Time of the next attempt to persist the record, if the last one failed.
    unsaved: Option<Instant>,
    reports: watch::Sender<BTreeMap<String, Report>>,
    sender: mpsc::Sender<FleetEvent>,
    events: mpsc::Receiver<FleetEvent>,
    /// Steps in progress, by plugin.
    steps: HashMap<String, AbortOnDropHandle<()>>,
    /// Last restoration of each plugin. The next installation of the plugin waits for it.
    restorations: HashMap<String, JoinHandle<()>>,
}

impl Worker {
    /// Creates a worker for the versions in `record`, which are in force. Returns the channel of
    /// its reports.
    pub(crate) fn new(
        site: Site,
        config: Arc<Config>,
        record: FleetRecord,
        file: Option<RecordFile>,
    ) -> (Worker, FleetReports) {
        *site.needed.lock() = record.needed();
        let trusted = site.supplies.fingerprint();
        let (planner, first) = Planner::new(record, trusted);
        let (reports, receiver) = watch::channel(planner.reports());
        let (sender, events) = mpsc::channel(MAX_EVENTS);
        let worker = Worker {
            site: Arc::new(site),
            config,
            planner,
            first,
            file,
            unsaved: None,
            reports,
            sender,
            events,
            steps: HashMap::new(),
            restorations: HashMap::new(),
        };
        (worker, receiver)
    }

    /// Works until the future is dropped.
    pub(crate) async fn run(mut self) {
        let mut twin = self.site.reported.twin.changes();
        let mut connections = self.site.reported.twin.connections();
        let first = std::mem::take(&mut self.first);
        self.carry_out(first).await;
        if self.config.fleet.is_none() {
            self.handle(FleetEvent::Wishes { version: 0, wishes: self.local_wishes() }).await;
        }
        twin.mark_changed();
        let mut seen = None;
        loop {
            let due = self.planner.next_due();
            let unsaved = self.unsaved;
            tokio::select! {
                Ok(()) = twin.changed(), if self.config.fleet.is_some() => {
                    self.read_twin(&mut seen).await;
                }
                Some(event) = self.events.recv() => self.handle(event).await,
                Ok(()) = connections.changed() => self.handle(FleetEvent::Connected).await,
                () = until(due) => self.handle(FleetEvent::Due).await,
                () = until(unsaved) => self.persist().await,
            }
        }
    }

    /// Reads the wishes from the desired properties, if their version has changed.
    async fn read_twin(&mut self, seen: &mut Option<u64>) {
        let Some(fleet) = &self.config.fleet else { return };
        let Ok(desired) = self.site.reported.twin.desired() else { return };
        if seen.replace(desired.version) == Some(desired.version) {
            return;
        }
        let body: Map<String, Value> =
            serde_json::from_str(&desired.body).expect("a document is a JSON object");
        let mut wishes = self.local_wishes();
        match body.get(&fleet.desired_key) {
            None | Some(Value::Null) => {}
            Some(Value::Object(entries)) => {
                for (index, (name, entry)) in entries.iter().enumerate() {
                    let wish = self.cloud_wish(name, entry, index);
                    wishes.insert(name.clone(), wish);
                }
            }
            Some(_) => warn!(key = fleet.desired_key, "desired plugins are not an object"),
        }
        self.handle(FleetEvent::Wishes { version: desired.version, wishes }).await;
    }

    /// Returns the wish in an entry of the desired properties.
    fn cloud_wish(&self, name: &str, entry: &Value, index: usize) -> Result<Wish, RefusedWish> {
        let fleet = self.config.fleet.as_ref().expect("the caller has checked it");
        let refused = |digest| move |failure| RefusedWish { digest, failure };
        let desired = DesiredPlugin::parse(entry).map_err(Failure::from).map_err(refused(None))?;
        let digest = Some(desired.digest);
        let checked = fleet.check(name, &desired, self.config.names(name));
        checked.map_err(Failure::from).map_err(refused(digest))?;
        if index >= fleet.max_plugins {
            let message = format!("`max_plugins` under [fleet] is {}", fleet.max_plugins);
            return Err(refused(digest)(Failure::not_allowed("too-many-plugins", message)));
        }
        Ok(Wish::Cloud(Box::new(desired)))
    }

    fn local_wishes(&self) -> BTreeMap<String, Result<Wish, RefusedWish>> {
        let wish = |image: &ImageSection| Ok(Wish::Local(Box::new(image.clone())));
        self.config.images.iter().map(|(name, image)| (name.clone(), wish(image))).collect()
    }

    async fn handle(&mut self, event: FleetEvent) {
        log(&event);
        let actions = self.planner.handle(event, &now());
        self.carry_out(actions).await;
    }

    /// Carries out actions in their order, then publishes the reports.
    async fn carry_out(&mut self, actions: Vec<FleetAction>) {
        for action in actions {
            match action {
                FleetAction::Persist => self.persist().await,
                FleetAction::Cancel { plugin } => drop(self.steps.remove(&plugin)),
                FleetAction::Restore { plugin, version } => self.restore(plugin, version),
                FleetAction::Activate { plugin, generation, wish, floor, running } => {
                    let (site, sender) = (Arc::clone(&self.site), self.sender.clone());
                    info!(plugin, image = %wish.image(), "version wanted");
                    let restored = self.restorations.remove(&plugin);
                    let attempt = ActivationAttempt {
                        plugin: plugin.clone(),
                        generation,
                        wish,
                        floor,
                        running,
                    };
                    self.begin(plugin, attempt.run(site, sender, restored));
                }
                FleetAction::Watch { plugin, generation, version } => {
                    let (site, sender) = (Arc::clone(&self.site), self.sender.clone());
                    let step = prove(site, sender, plugin.clone(), generation, version);
                    self.begin(plugin, step);
                }
            }
        }
        let reports = self.planner.reports();
        self.reports.send_if_modified(|before| {
            let is_changed = *before != reports;
            *before = reports;
            is_changed
        });
    }

    fn begin(&mut self, plugin: String, step: impl Future<Output = ()> + Send + 'static) {
        // The step that is replaced is cancelled.
        self.steps.insert(plugin, AbortOnDropHandle::new(tokio::spawn(step)));
    }

    /// Persists the record. If that fails, tries again later: the device works on.
    async fn persist(&mut self) {
        *self.site.needed.lock() = self.planner.record().needed();
        let Some(file) = self.file.clone() else { return };
        let record = self.planner.record().clone();
        let written = spawn_blocking(move || file.write(&record)).await;
        let error = match written {
            Ok(Ok(())) => {
                self.unsaved = None;
                return;
            }
            Ok(Err(error)) => error.to_string(),
            Err(error) => error.to_string(),
        };
        if self.unsaved.is_none() {
            error!("versions of the fleet not persisted, a restart may undo them: {error}");
        }
        self.unsaved = Some(Instant::now() + WRITE_PAUSE);
    }

    /// Begins to put a version into force again.
    fn restore(&mut self, plugin: String, version: Option<Installed>) {
        let section = version.as_ref().and_then(|version| {
            let wish = Wish::of_installed(&plugin, version, &self.config).map_err(Failure::from);
            wish.and_then(|wish| self.site.supplies.section_of(&plugin, &wish, version))
                .inspect_err(|failure| error!(plugin, "not restored: {}", failure.message))
                .ok()
        });
        let image = version.map(|version| version.image.to_string());
        let before = self.restorations.remove(&plugin);
        let (site, name) = (Arc::clone(&self.site), plugin.clone());
        let restoration = async move {
            finished(before).await;
            match site.installer.install(&name, section).await {
                Ok(()) => info!(plugin = name, image, "previous state of the plugin restored"),
                Err(error) => error!(plugin = name, image, "plugin not restored: {error}"),
            }
        };
        self.restorations.insert(plugin, tokio::spawn(restoration));
    }
}

/// Attempt to activate a version.
struct ActivationAttempt {
    plugin: String,
    generation: u64,
    wish: Wish,
    floor: u64,
    running: Option<Installed>,
}

impl ActivationAttempt {
    /// Activates the version, and sends the outcome to the worker.
    async fn run(
        self,
        site: Arc<Site>,
        sender: mpsc::Sender<FleetEvent>,
        restored: Option<JoinHandle<()>>,
    ) {
        finished(restored).await;
        let (plugin, generation) = (&self.plugin, self.generation);
        let (progress, mut progresses) = mpsc::channel(MAX_EVENTS);
        let forward = async {
            while let Some(progress) = progresses.recv().await {
                let plugin = plugin.clone();
                let event = FleetEvent::Progress { plugin, generation, progress };
                if sender.send(event).await.is_err() {
                    return;
                }
            }
        };
        let (wish, running) = (&self.wish, self.running.as_ref());
        let floor = self.floor;
        let site = &*site;
        let activation = async move {
            // The queue is larger than the number of states. A percentage that finds no place is
            // followed by another one.
            let report = move |it: ActivationProgress| drop(progress.try_send(it));
            let activation = Activation { site, plugin, wish, floor, running, progress: &report };
            let outcome = caught(activation.run()).await;
            let outcome =
                outcome.unwrap_or_else(|panic| Err(Failure::refused("host-fault", panic)));
            outcome.map(|version| version.map(Box::new))
        };
        let (outcome, ()) = tokio::join!(activation, forward);
        let plugin = self.plugin.clone();
        // The worker may have been dropped.
        sender.send(FleetEvent::Activated { plugin, generation, outcome }).await.ok();
    }
}

/// Waits for the end of a task, if there is one.
async fn finished(task: Option<JoinHandle<()>>) {
    if let Some(task) = task {
        // A panic of the task is logged by the runtime's hook.
        task.await.ok();
    }
}

/// Waits until a version has proved itself, and sends the outcome to the worker.
async fn prove(
    site: Arc<Site>,
    sender: mpsc::Sender<FleetEvent>,
    plugin: String,
    generation: u64,
    version: Installed,
) {
    let limit = site.supplies.health_time();
    let component = version.component;
    let outcome = health::prove(&site.router, &site.changes, &plugin, &component, limit).await;
    sender.send(FleetEvent::Proved { plugin, generation, outcome }).await.ok();
}

fn log(event: &FleetEvent) {
    match event {
        FleetEvent::Progress { plugin, progress: ActivationProgress::State(state), .. } => {
            info!(plugin, state = state.name(), "version in work");
        }
        FleetEvent::Activated { plugin, outcome: Ok(Some(version)), .. } => {
            let (image, release) = (version.image.to_string(), version.release);
            info!(plugin, image, release, "version activated");
        }
        FleetEvent::Activated { plugin, outcome: Err(Failure { reason, message, .. }), .. } => {
            warn!(plugin, reason, "version not activated: {message}");
        }
        FleetEvent::Proved { plugin, outcome: Ok(()), .. } => {
            info!(plugin, "version proved healthy");
        }
        FleetEvent::Proved { plugin, outcome: Err(Failure { reason, message, .. }), .. } => {
            error!(plugin, reason, "version rolled back: {message}");
        }
        _ => {}
    }
}

fn now() -> EventTime {
    EventTime { instant: Instant::now(), text: format!("{:.3}", Timestamp::now()) }
}

/// Waits until a time; forever if there is none.
async fn until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due).await,
        None => std::future::pending().await,
    }
}
