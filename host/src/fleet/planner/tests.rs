//! Journeys of a plugin through the planner, without disk, network and clock.

use oci::Digest;
use serde_json::{Value, json};

use super::*;
use crate::config::desired::DesiredPlugin;
use crate::fleet::record::Installed;

/// Planner of the plugin `p`, with the actions and reports of its last event.
struct Rig {
    planner: Planner,
    actions: Vec<FleetAction>,
    now: EventTime,
    version: u64,
}

fn digest(number: u32) -> Digest {
    Digest::of(number.to_string().as_bytes())
}

fn entry(number: u32) -> Value {
    json!({"image": format!("registry.example.com/p@{}", digest(number)), "methods": ["m"]})
}

fn wish(entry: &Value) -> Wish {
    Wish::Cloud(Box::new(DesiredPlugin::parse(entry).unwrap()))
}

fn installed(number: u32, release: u64) -> Installed {
    Installed {
        entry: entry(number),
        is_local: false,
        image: digest(number),
        manifest: None,
        component: digest(number + 100),
        release,
        is_proved: false,
        proposals: Default::default(),
        desired_version: 0,
        since: String::new(),
    }
}

impl Rig {
    fn new(record: FleetRecord) -> Rig {
        let (planner, actions) = Planner::new(record, "keys".to_owned());
        let now =
            EventTime { instant: Instant::now(), text: "2026-01-01T00:00:00.000Z".to_owned() };
        Rig { planner, actions, now, version: 0 }
    }

    fn handle(&mut self, event: FleetEvent) {
        self.actions = self.planner.handle(event, &self.now);
    }

    /// Sets the desired entry of the plugin.
    fn desire(&mut self, entry: Option<&Value>) {
        self.version += 1;
        let wishes = entry.map(|entry| ("p".to_owned(), Ok(wish(entry))));
        self.handle(FleetEvent::Wishes {
            version: self.version,
            wishes: wishes.into_iter().collect(),
        });
    }

    /// Returns the generation of the activation that was begun last.
    fn begun(&self) -> (u64, u64) {
        let begun = self.actions.iter().find_map(|action| match action {
            FleetAction::Activate { generation, floor, .. } => Some((*generation, *floor)),
            _ => None,
        });
        begun.unwrap_or_else(|| panic!("{:?}", self.actions))
    }

    fn watched(&self) -> u64 {
        let watched = self.actions.iter().find_map(|action| match action {
            FleetAction::Watch { generation, .. } => Some(*generation),
            _ => None,
        });
        watched.unwrap_or_else(|| panic!("{:?}", self.actions))
    }

    fn progress(&mut self, generation: u64, state: FleetState) {
        let progress = ActivationProgress::State(state);
        self.handle(FleetEvent::Progress { plugin: "p".to_owned(), generation, progress });
    }

    fn activated(&mut self, generation: u64, outcome: Result<Installed, Failure>) {
        let outcome = outcome.map(|version| Some(Box::new(version)));
        self.handle(FleetEvent::Activated { plugin: "p".to_owned(), generation, outcome });
    }

    fn proved(&mut self, generation: u64, outcome: Result<(), Failure>) {
        self.handle(FleetEvent::Proved { plugin: "p".to_owned(), generation, outcome });
    }

    /// Desires a version and lets it become active and prove itself.
    fn run(&mut self, number: u32, release: u64) {
        self.desire(Some(&entry(number)));
        self.activated(self.begun().0, Ok(installed(number, release)));
        self.proved(self.watched(), Ok(()));
    }

    fn report(&self) -> Report {
        self.planner.reports().remove("p").unwrap()
    }

    fn check(&self, state: FleetState, wanted: u32, running: Option<u32>, reason: Option<&str>) {
        let report = self.report();
        assert_eq!(report.state, state);
        assert_eq!(report.digest, Some(digest(wanted)));
        assert_eq!(report.running_digest, running.map(digest));
        assert_eq!(report.reason.as_deref(), reason);
    }

    /// Returns the version that the last actions put into force again.
    fn restored(&self) -> Option<Option<Digest>> {
        self.actions.iter().find_map(|action| match action {
            FleetAction::Restore { version, .. } => Some(version.as_ref().map(|it| it.image)),
            _ => None,
        })
    }

    fn restart(self) -> Rig {
        Rig::new(self.planner.record().clone())
    }
}

fn refused(reason: &'static str) -> Failure {
    Failure::refused(reason, "no")
}

#[tokio::test]
async fn a_version_goes_through_all_states_and_is_persisted_before_it_counts_as_active() {
    let mut rig = Rig::new(FleetRecord::default());
    rig.desire(Some(&entry(1)));
    let (generation, _) = rig.begun();
    rig.check(FleetState::Downloading, 1, None, None);
    for state in [FleetState::Verifying, FleetState::Compiling, FleetState::Starting] {
        rig.progress(generation, state);
        rig.check(state, 1, None, None);
    }
    rig.activated(generation, Ok(installed(1, 7)));
    assert_eq!(rig.actions[0], FleetAction::Persist);
    rig.check(FleetState::Active, 1, None, None);
    assert_eq!(rig.report().desired_version, 1);
    assert_eq!(rig.planner.record().plugins["p"].floor, 0);

    rig.proved(rig.watched(), Ok(()));
    assert_eq!(rig.planner.record().plugins["p"].floor, 7);
    rig.desire(Some(&entry(1)));
    assert_eq!(rig.actions, []);
}

#[tokio::test]
async fn a_version_that_fails_its_first_calls_gives_way_to_the_one_before_for_good() {
    let mut rig = Rig::new(FleetRecord::default());
    rig.run(1, 1);
    rig.desire(Some(&entry(2)));
    rig.activated(rig.begun().0, Ok(installed(2, 2)));
    rig.proved(rig.watched(), Err(Failure::unhealthy("no")));
    assert_eq!(rig.restored(), Some(Some(digest(1))));
    assert_eq!(rig.actions[0], FleetAction::Persist);
    rig.check(FleetState::RolledBack, 2, Some(1), Some("unhealthy"));

    let mut rig = rig.restart();
    rig.desire(Some(&entry(2)));
    rig.check(FleetState::RolledBack, 2, Some(1), Some("unhealthy"));
    assert_eq!(rig.actions, []);
    // Another entry with the same image is another attempt.
    let mut changed = entry(2);
    changed["config"] = json!({"a": 1});
    rig.desire(Some(&changed));
    rig.begun();
}

#[tokio::test]
async fn a_refused_version_is_not_tried_again_after_a_restart_until_the_keys_change() {
    for (failure, is_tried_again) in
        [(refused("not-loadable"), false), (Failure::untrusted("signature-invalid", "no"), true)]
    {
        let mut rig = Rig::new(FleetRecord::default());
        rig.run(1, 1);
        rig.desire(Some(&entry(2)));
        rig.activated(rig.begun().0, Err(failure.clone()));
        assert_eq!(rig.restored(), None);
        rig.check(FleetState::Refused, 2, Some(1), Some(failure.reason));

        let record = rig.planner.record().clone();
        let mut rig = rig.restart();
        rig.desire(Some(&entry(2)));
        assert_eq!(rig.actions, []);
        rig.check(FleetState::Refused, 2, Some(1), Some(failure.reason));

        let (planner, actions) = Planner::new(record, "other keys".to_owned());
        let mut rig = Rig { planner, actions, ..rig };
        rig.desire(Some(&entry(2)));
        assert_eq!(!rig.actions.is_empty(), is_tried_again);
    }
}

#[tokio::test]
async fn a_registry_that_fails_is_asked_again_after_the_time_that_it_names() {
    let mut rig = Rig::new(FleetRecord::default());
    rig.desire(Some(&entry(1)));
    let kind = Consequence::Retry(Some(Duration::from_secs(60)));
    let failure = Failure { kind, reason: "too-many-requests", message: "later".to_owned() };
    rig.activated(rig.begun().0, Err(failure));
    rig.check(FleetState::Downloading, 1, None, Some("too-many-requests"));
    assert_eq!(rig.planner.next_due(), Some(rig.now.instant + Duration::from_secs(60)));

    rig.handle(FleetEvent::Due);
    assert_eq!(rig.actions, []);
    rig.now.instant += Duration::from_secs(60);
    rig.handle(FleetEvent::Due);
    rig.check(FleetState::Downloading, 1, None, Some("too-many-requests"));
    rig.activated(rig.begun().0, Ok(installed(1, 1)));
    rig.check(FleetState::Active, 1, None, None);
}

#[tokio::test]
async fn a_new_connection_ends_a_wait_that_no_registry_has_asked_for() {
    let mut rig = Rig::new(FleetRecord::default());
    rig.desire(Some(&entry(1)));
    rig.activated(rig.begun().0, Err(Failure::retry("unavailable", "no")));
    rig.handle(FleetEvent::Connected);
    let (generation, _) = rig.begun();
    let kind = Consequence::Retry(Some(Duration::from_secs(60)));
    let failure = Failure { kind, reason: "too-many-requests", message: "later".to_owned() };
    rig.activated(generation, Err(failure));
    rig.handle(FleetEvent::Connected);
    assert_eq!(rig.actions, []);
}

#[tokio::test]
async fn waits_double_up_to_their_limit() {
    let mut rig = Rig::new(FleetRecord::default());
    rig.desire(Some(&entry(1)));
    let mut waits = Vec::new();
    for _ in 0..10 {
        rig.activated(rig.begun().0, Err(Failure::retry("unavailable", "no")));
        let due = rig.planner.next_due().unwrap();
        waits.push((due - rig.now.instant).as_secs());
        rig.now.instant = due;
        rig.handle(FleetEvent::Due);
    }
    assert_eq!(waits, [5, 10, 20, 40, 80, 160, 320, 640, 900, 900]);
}

#[tokio::test]
async fn a_newer_entry_cancels_the_activation_and_restores_what_it_was_starting() {
    let mut rig = Rig::new(FleetRecord::default());
    rig.run(1, 1);
    rig.desire(Some(&entry(2)));
    let (first, _) = rig.begun();
    rig.desire(Some(&entry(3)));
    assert_eq!(rig.restored(), None);
    let (second, _) = rig.begun();
    // The end of the cancelled activation is ignored.
    rig.activated(first, Ok(installed(2, 2)));
    assert_eq!(rig.actions, []);
    rig.progress(second, FleetState::Starting);
    rig.desire(Some(&entry(1)));
    assert_eq!(rig.restored(), Some(Some(digest(1))));
    rig.check(FleetState::Active, 1, None, None);
}

#[tokio::test]
async fn a_removed_plugin_leaves_only_its_highest_release_number() {
    let mut rig = Rig::new(FleetRecord::default());
    rig.run(1, 5);
    rig.desire(None);
    assert_eq!(rig.restored(), Some(None));
    assert!(rig.planner.reports().is_empty());
    assert_eq!(rig.planner.record().needed(), [].into());
    rig.desire(Some(&entry(2)));
    assert_eq!(rig.begun().1, 5);
    let mut lower = entry(3);
    lower["allowDowngrade"] = json!(true);
    rig.desire(Some(&lower));
    assert_eq!(rig.begun().1, 0);
}

#[tokio::test]
async fn the_version_before_needs_no_permission_and_an_older_one_does() {
    let mut rig = Rig::new(FleetRecord::default());
    rig.run(1, 1);
    rig.run(2, 2);
    rig.run(3, 3);
    rig.desire(Some(&entry(1)));
    assert_eq!(rig.begun().1, 3);
    let mut back = entry(2);
    back["config"] = json!({"a": 1});
    rig.desire(Some(&back));
    assert_eq!(rig.begun().1, 0);
}

#[tokio::test]
async fn a_version_that_has_not_proved_itself_is_none_to_return_to() {
    let mut rig = Rig::new(FleetRecord::default());
    rig.run(1, 1);
    for number in [2, 3] {
        rig.desire(Some(&entry(number)));
        rig.activated(rig.begun().0, Ok(installed(number, 2)));
    }
    rig.proved(rig.watched(), Err(Failure::unhealthy("no")));
    assert_eq!(rig.restored(), Some(Some(digest(1))));
}

#[tokio::test]
async fn a_version_on_probation_is_active_again_when_its_refused_successor_is_taken_back() {
    for failure in [refused("not-loadable"), Failure::unhealthy("trap")] {
        let mut rig = Rig::new(FleetRecord::default());
        rig.desire(Some(&entry(1)));
        rig.activated(rig.begun().0, Ok(installed(1, 1)));
        rig.desire(Some(&entry(2)));
        let state = match failure.kind {
            Consequence::Unhealthy => FleetState::RolledBack,
            _ => FleetState::Refused,
        };
        let reason = failure.reason;
        rig.activated(rig.begun().0, Err(failure));
        rig.check(state, 2, Some(1), Some(reason));
        let probation = rig.watched();
        rig.desire(Some(&entry(1)));
        rig.check(FleetState::Active, 1, None, None);
        assert!(rig.actions.is_empty());
        rig.proved(probation, Ok(()));
        rig.check(FleetState::Active, 1, None, None);
    }
}

#[tokio::test]
async fn a_probation_continues_after_a_restart_even_without_a_connection() {
    let mut rig = Rig::new(FleetRecord::default());
    rig.run(1, 1);
    rig.desire(Some(&entry(2)));
    rig.activated(rig.begun().0, Ok(installed(2, 2)));

    let mut rig = rig.restart();
    rig.proved(rig.watched(), Err(Failure::unhealthy("no")));
    assert_eq!(rig.restored(), Some(Some(digest(1))));
    rig.check(FleetState::RolledBack, 2, Some(1), Some("unhealthy"));
    rig.desire(Some(&entry(2)));
    rig.check(FleetState::RolledBack, 2, Some(1), Some("unhealthy"));
}

#[tokio::test]
async fn a_version_during_whose_trial_the_host_keeps_ending_is_given_up() {
    for is_active in [false, true] {
        let mut rig = Rig::new(FleetRecord::default());
        rig.run(1, 1);
        rig.desire(Some(&entry(2)));
        let (generation, _) = rig.begun();
        rig.progress(generation, FleetState::Compiling);
        assert_eq!(rig.actions, [FleetAction::Persist]);
        if is_active {
            rig.activated(generation, Ok(installed(2, 2)));
        }
        let mut record = rig.planner.record().clone();
        for _ in 0..3 {
            assert!(record.host_started("2026-01-01T00:00:00.000Z"));
        }
        let running = record.plugins["p"].running.as_ref().unwrap();
        assert_eq!(running.image, digest(1));
        let mut rig = Rig::new(record);
        rig.desire(Some(&entry(2)));
        let state = if is_active { FleetState::RolledBack } else { FleetState::Refused };
        rig.check(state, 2, Some(1), Some("host-ended"));
    }
}

#[tokio::test]
async fn a_change_of_capabilities_is_part_of_the_report() {
    let mut rig = Rig::new(FleetRecord::default());
    rig.desire(Some(&entry(1)));
    let (generation, _) = rig.begun();
    let change = crate::fleet::report::CapabilityChange {
        added: ["http"].into(),
        removed: ["power"].into(),
    };
    let progress = ActivationProgress::Capabilities(change);
    rig.handle(FleetEvent::Progress { plugin: "p".to_owned(), generation, progress });
    let mut status = serde_json::Map::from_iter([("state".to_owned(), json!("loading"))]);
    rig.report().add_to(&mut status);
    let expected = json!({
        "state": "downloading",
        "digest": digest(1),
        "desiredVersion": 1,
        "since": "2026-01-01T00:00:00.000Z",
        "capabilityChange": {"added": ["http"], "removed": ["power"]},
    });
    assert_eq!(Value::from(status), expected);
}
