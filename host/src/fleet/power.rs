//! Losses of power at each point of two activations, on a disk that forgets what was not synced.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use oci::Digest;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::Instant;

use super::planner::{ActivationProgress, EventTime, FleetAction, FleetEvent, Planner};
use super::record::{FleetRecord, Installed, RecordFile};
use super::report::FleetState;
use super::restored::restored;
use super::wish::Wish;
use crate::atomic_file::disk_log::{self, DiskStep};
use crate::config::Config;
use crate::config::desired::DesiredPlugin;
use crate::content::ContentStore;
use crate::known_good::KnownGood;

/// Number of outcomes of each loss of power.
const OUTCOMES: u64 = 20;

/// Device that works on the plugin `p`.
struct Rig {
    directory: TempDir,
    store: ContentStore,
    file: RecordFile,
    planner: Planner,
}

fn store(directory: &Path) -> ContentStore {
    ContentStore::in_data(directory, 1000)
}

fn entry(component: &[u8]) -> Value {
    let image = Digest::of(&[component, b"image"].concat());
    json!({"image": format!("r.example/p@{image}"), "methods": ["m"]})
}

impl Rig {
    fn new() -> Rig {
        let directory = tempfile::tempdir().unwrap();
        let (store, file) = (store(directory.path()), RecordFile::in_data(directory.path()));
        let (planner, _) = Planner::new(FleetRecord::default(), String::new());
        Rig { directory, store, file, planner }
    }

    fn handle(&mut self, event: FleetEvent) -> Vec<FleetAction> {
        let now = EventTime { instant: Instant::now(), text: String::new() };
        let actions = self.planner.handle(event, &now);
        if actions.contains(&FleetAction::Persist) {
            self.file.write(self.planner.record()).unwrap();
        }
        actions
    }

    /// Activates a version as the worker does, and marks the reports.
    fn activate(
        &mut self,
        component: &[u8],
        release: u64,
        active: &'static str,
        proved: &'static str,
    ) {
        let (entry, digest) = (entry(component), Digest::of(component));
        let desired = DesiredPlugin::parse(&entry).unwrap();
        let image = desired.digest;
        let wishes = [("p".to_owned(), Ok(Wish::Cloud(Box::new(desired))))].into();
        let actions = self.handle(FleetEvent::Wishes { version: release, wishes });
        let begun = |action: &FleetAction| match action {
            FleetAction::Activate { generation, .. } => Some(*generation),
            _ => None,
        };
        let generation = actions.iter().find_map(begun).unwrap();
        self.store.reserve(&digest, component.len() as u64, &BTreeSet::new()).unwrap();
        let part = self.store.part(&digest);
        fs::write(&part, component).unwrap();
        // A source of images syncs the file.
        disk_log::written(&part, component);
        disk_log::synced(&part);
        self.store.commit(&digest).unwrap();
        let progress = ActivationProgress::State(FleetState::Compiling);
        self.handle(FleetEvent::Progress { plugin: "p".to_owned(), generation, progress });
        let version = Installed {
            entry,
            is_local: false,
            image,
            manifest: None,
            component: digest,
            release,
            is_proved: false,
            proposals: Default::default(),
            desired_version: release,
            since: String::new(),
        };
        let outcome = Ok(Some(Box::new(version)));
        let plugin = "p".to_owned();
        let actions = self.handle(FleetEvent::Activated { plugin, generation, outcome });
        disk_log::mark(active);
        let watched = |action: &FleetAction| match action {
            FleetAction::Watch { generation, .. } => Some(*generation),
            _ => None,
        };
        let generation = actions.iter().find_map(watched).unwrap();
        let plugin = "p".to_owned();
        self.handle(FleetEvent::Proved { plugin, generation, outcome: Ok(()) });
        disk_log::mark(proved);
    }
}

/// Starts a host on the disk after some steps. Returns the component that runs and the lowest
/// accepted release number.
fn start_after(steps: &[DiskStep], from: &Path, seed: u64) -> (Option<Vec<u8>>, u64) {
    let directory = tempfile::tempdir().unwrap();
    let mut random = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let choose = |end: usize| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        usize::try_from(random % end as u64).unwrap()
    };
    disk_log::restore(&disk_log::files_after(steps, choose), from, directory.path());
    let toml = "host.trust.keys = [\"k.pem\"]\n[fleet]\nimages = [\"r.example/p\"]\n";
    let config = Config::parse(toml, directory.path()).unwrap();
    let mut record = RecordFile::in_data(directory.path()).begin_run();
    let (store, known) = (store(directory.path()), KnownGood::in_data(directory.path()));
    let sections = restored(&config, &mut record, &store, &known);
    let running = sections.get("p").map(|section| fs::read(&section.file).unwrap());
    (running, record.plugins.get("p").map_or(0, |plugin| plugin.floor))
}

#[tokio::test]
async fn a_reported_version_survives_a_loss_of_power_and_a_working_one_always_runs() {
    drop(disk_log::take());
    let mut rig = Rig::new();
    rig.activate(b"one", 1, "one is active", "one has proved itself");
    rig.activate(b"two", 2, "two is active", "two has proved itself");
    let steps = disk_log::take();
    assert!(steps.len() > 20, "{steps:?}");
    for cut in 0..=steps.len() {
        let steps = &steps[..cut];
        let is_reported = |name: &str| {
            steps.iter().any(|step| matches!(step, DiskStep::Mark(mark) if *mark == name))
        };
        for seed in 0..OUTCOMES {
            let (running, floor) = start_after(steps, rig.directory.path(), seed);
            let running = running.as_deref();
            let place = format!("after {cut} steps, outcome {seed}: {running:?}");
            match (is_reported("one is active"), is_reported("two is active")) {
                (_, true) => assert_eq!(running, Some(&b"two"[..]), "{place}"),
                (true, false) => {
                    assert!(matches!(running, Some(b"one" | b"two")), "{place}");
                }
                (false, false) => assert!(matches!(running, None | Some(b"one")), "{place}"),
            }
            assert!(floor == 2 || !is_reported("two has proved itself"), "{place}, floor {floor}");
        }
    }
}
