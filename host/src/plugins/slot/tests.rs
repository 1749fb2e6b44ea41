//! Tests of a slot's decisions, with times chosen by the tests.

use std::time::Duration;

use super::inner::{LONGEST_REST, SHORTEST_REST};
use super::*;

pub(crate) type TestSlot = Slot<&'static str>;

fn loaded(plugin: &'static str, digest: &str) -> Loaded<&'static str> {
    Loaded { plugin, digest: digest.to_owned(), settings: Arc::default() }
}

/// Limits that apply without a minimum duration of the failures.
const IMMEDIATE: Patience =
    Patience { disable_after: 5, failing_for: Duration::ZERO, rollback: true };

pub(crate) fn slot() -> TestSlot {
    Slot::new("p", loaded("one", "d1"), IMMEDIATE, Changes::new(()))
}

fn knows(slot: &TestSlot, digest: &str) -> bool {
    slot.knows(digest, &Settings::default())
}

fn trap() -> (&'static str, String) {
    ("trapped", "unreachable".to_owned())
}

fn call(slot: &TestSlot, outcome: CallOutcome, now: Instant) -> Option<Change> {
    let call = slot.begin(now).unwrap();
    slot.ended(&call, outcome, 0, trap, now)
}

fn fail(slot: &TestSlot, times: u32, now: Instant) -> Option<Change> {
    (0..times).map(|_| call(slot, CallOutcome::Trapped, now)).last().unwrap()
}

async fn stop_all(slot: &TestSlot) {
    for chore in slot.chores() {
        let Chore::Stop(version) = chore else { panic!("{chore:?}") };
        assert!(version.idle().await);
    }
}

fn plugin(slot: &TestSlot, now: Instant) -> &'static str {
    slot.begin(now).unwrap().version.loaded.plugin
}

#[tokio::test]
async fn a_new_version_receives_all_calls_and_the_old_one_finishes_its_own() {
    let (slot, now) = (slot(), Instant::now());
    let old = slot.begin(now).unwrap();
    assert_eq!(slot.activate(loaded("two", "d2"), IMMEDIATE), 2);
    assert_eq!(plugin(&slot, now), "two");
    assert_eq!(old.version.loaded.plugin, "one");
    assert!(knows(&slot, "d2") && !knows(&slot, "d1"));

    let chores = slot.chores();
    let [Chore::Stop(left)] = chores.as_slice() else { panic!("{chores:?}") };
    assert_eq!(left.number, 1);
    let mut idle = std::pin::pin!(left.idle());
    assert!(futures_util::poll!(&mut idle).is_pending());
    assert_eq!(slot.ended(&old, CallOutcome::Trapped, 0, trap, now), None);
    drop(old);
    assert!(idle.await);
    assert_eq!(slot.view().last_error, None);
    assert_eq!(slot.chores().len(), 0);
}

#[tokio::test]
async fn a_version_that_fails_its_first_calls_is_rolled_back_and_rejected() {
    let (slot, now) = (slot(), Instant::now());
    call(&slot, CallOutcome::Answered, now);
    slot.activate(loaded("two", "d2"), IMMEDIATE);
    stop_all(&slot).await;
    assert_eq!(fail(&slot, 2, now), None);
    assert_eq!(fail(&slot, 1, now), Some(Change::RolledBack { from: 2, to: 1 }));
    assert_eq!(plugin(&slot, now), "one");
    assert!(knows(&slot, "d2"));
    let error = Some("version 2 failed its first calls: unreachable".to_owned());
    assert_eq!(slot.view().last_error, error);

    let chores = slot.chores();
    let [Chore::Stop(left), Chore::StartAgain { version, instead_of }] = chores.as_slice() else {
        panic!("{chores:?}")
    };
    assert_eq!((left.number, version.number, instead_of.as_str()), (2, 1, "d2"));
    assert!(slot.started(1, None));
    assert_eq!(slot.view().last_error, error);
    assert_eq!(slot.activate(loaded("three", "d3"), IMMEDIATE), 3);
}

#[tokio::test]
async fn a_version_that_is_activated_again_before_it_was_stopped_needs_no_start() {
    let (slot, now) = (slot(), Instant::now());
    let running = slot.begin(now).unwrap();
    slot.activate(loaded("two", "d2"), IMMEDIATE);
    let chores = slot.chores();
    let [Chore::Stop(first)] = chores.as_slice() else { panic!("{chores:?}") };
    fail(&slot, 3, now);
    drop(running);
    assert!(matches!(slot.chores().as_slice(), [Chore::Stop(second)] if second.number == 2));

    slot.activate(loaded("three", "d3"), IMMEDIATE);
    assert!(first.idle().await);
    assert!(!first.idle().await);
}

#[test]
fn a_file_with_other_settings_is_another_version() {
    let slot = slot();
    let text = "[plugins.p]\nfile = \"p\"\nmethods = [\"*\"]\ndeadline = \"1s\"\n";
    let config = crate::Config::parse(text, "".as_ref()).unwrap();
    assert!(knows(&slot, "d1"));
    assert!(!slot.knows("d1", &config.plugins["p"].settings));
}

#[test]
fn a_version_that_has_succeeded_once_is_not_rolled_back() {
    let (slot, now) = (slot(), Instant::now());
    slot.activate(loaded("two", "d2"), IMMEDIATE);
    call(&slot, CallOutcome::Refused, now);
    assert_eq!(fail(&slot, 4, now), None);
    assert_eq!(plugin(&slot, now), "two");
}

#[test]
fn a_plugin_that_keeps_failing_is_disabled_for_longer_each_time_until_it_succeeds() {
    let (slot, mut now) = (slot(), Instant::now());
    let second = Duration::from_secs(1);
    assert_eq!(fail(&slot, 5, now), Some(Change::Disabled(second)));
    assert_eq!(slot.begin(now).unwrap_err(), Disabled::Resting(second));
    assert_eq!(slot.view().state, SlotStatus::Disabled);
    for rest in [2, 4, 8, 16, 30, 30] {
        now += LONGEST_REST;
        assert_eq!(fail(&slot, 1, now), Some(Change::Disabled(rest * second)));
    }
    now += LONGEST_REST;
    assert_eq!(call(&slot, CallOutcome::Answered, now), Some(Change::Recovered));
    assert_eq!(slot.view().state, SlotStatus::Active);
    assert_eq!(fail(&slot, 5, now), Some(Change::Disabled(second)));
    let counters = slot.view().counters;
    assert_eq!((counters.disables, counters.disabled, counters.failed()), (8, 1, 16));
}

#[test]
fn failures_within_a_short_time_neither_roll_back_nor_disable() {
    let patience = Patience { failing_for: Duration::from_secs(10), ..IMMEDIATE };
    let (slot, now) = (slot(), Instant::now());
    call(&slot, CallOutcome::Answered, now);
    slot.activate(loaded("two", "d2"), patience);
    assert_eq!(fail(&slot, 1000, now), None);
    let almost = now + patience.failing_for - Duration::from_millis(1);
    assert_eq!(fail(&slot, 1000, almost), None);

    // A call of another caller succeeds and resets the count.
    call(&slot, CallOutcome::Answered, almost);
    assert_eq!(fail(&slot, 1000, almost + patience.failing_for / 2), None);
    assert_eq!(plugin(&slot, almost), "two");
}

#[test]
fn failures_over_a_longer_time_roll_back_and_disable() {
    let patience = Patience { failing_for: Duration::from_secs(10), ..IMMEDIATE };
    let (slot, now) = (slot(), Instant::now());
    slot.activate(loaded("two", "d2"), patience);
    assert_eq!(fail(&slot, 2, now), None);
    let later = now + patience.failing_for;
    assert_eq!(fail(&slot, 1, later), Some(Change::RolledBack { from: 2, to: 1 }));

    slot.set_patience(patience);
    assert_eq!(fail(&slot, 4, later), None);
    let later = later + patience.failing_for;
    assert_eq!(fail(&slot, 1, later), Some(Change::Disabled(SHORTEST_REST)));
}

#[test]
fn a_version_is_not_rolled_back_if_rollback_is_off() {
    let (slot, now) = (slot(), Instant::now());
    slot.activate(loaded("two", "d2"), Patience { rollback: false, ..IMMEDIATE });
    assert_eq!(fail(&slot, 5, now), Some(Change::Disabled(SHORTEST_REST)));
    assert_eq!(slot.view().active.unwrap().number, 2);
}

#[test]
fn a_plugin_without_a_limit_is_never_disabled() {
    let now = Instant::now();
    let slot = Slot::new(
        "p",
        loaded("one", "d1"),
        Patience { disable_after: 0, ..IMMEDIATE },
        Changes::new(()),
    );
    assert_eq!(fail(&slot, 1000, now), None);
}

#[test]
fn calls_that_did_not_run_do_not_affect_the_health() {
    let (slot, now) = (slot(), Instant::now());
    assert_eq!(fail(&slot, 4, now), None);
    assert_eq!(call(&slot, CallOutcome::Busy, now), None);
    assert_eq!(call(&slot, CallOutcome::Invalid, now), None);
    assert_eq!(fail(&slot, 1, now), Some(Change::Disabled(SHORTEST_REST)));
}

#[test]
fn an_operator_switches_a_plugin_off_and_on() {
    let (slot, now) = (slot(), Instant::now());
    slot.switch(false);
    assert_eq!(slot.begin(now).unwrap_err(), Disabled::SwitchedOff);
    assert_eq!(slot.view().state, SlotStatus::Off);
    slot.switch(true);
    slot.begin(now).unwrap();
}

#[test]
fn an_operator_can_roll_back_once() {
    let (slot, now) = (slot(), Instant::now());
    assert_eq!(slot.roll_back(), None);
    slot.activate(loaded("two", "d2"), IMMEDIATE);
    assert_eq!(slot.roll_back(), Some((2, 1)));
    assert_eq!(plugin(&slot, now), "one");
    assert_eq!(slot.roll_back(), None);
}

#[test]
fn a_version_that_did_not_start_accepts_no_calls_and_cannot_be_rolled_back_to() {
    let (slot, now) = (slot(), Instant::now());
    assert!(slot.started(1, Some("no sensor".to_owned())));
    assert_eq!(slot.begin(now).unwrap_err(), Disabled::NotStarted);
    slot.activate(loaded("two", "d2"), IMMEDIATE);
    assert_eq!(plugin(&slot, now), "two");
    assert!(slot.previous().is_none() && slot.chores().is_empty());
    assert!(!slot.started(1, None));
}

#[tokio::test]
async fn calls_wait_while_the_first_version_is_being_started() {
    let (slot, now) = (slot(), Instant::now());
    slot.starting();
    assert_eq!(slot.begin(now).unwrap_err(), Disabled::Starting);
    let mut started = std::pin::pin!(slot.until_started(Duration::ZERO));
    assert!(futures_util::poll!(&mut started).is_pending());
    slot.started(1, None);
    started.await;
    slot.begin(now).unwrap();
    assert_eq!(slot.view().counters.disabled, 0);
}

#[test]
fn calls_are_counted_by_outcome_with_their_time_and_memory() {
    let (slot, now) = (slot(), Instant::now());
    for (ms, bytes) in [(10, 4096), (30, 1024)] {
        let call = slot.begin(now).unwrap();
        let then = now + Duration::from_millis(ms);
        slot.ended(&call, CallOutcome::Answered, bytes, trap, then);
    }
    let counters = slot.view().counters;
    assert_eq!((counters.answered, counters.total_ms, counters.longest_ms), (2, 40, 30));
    assert_eq!(counters.memory_bytes, 4096);
}

#[test]
fn the_last_refused_or_failed_call_is_shown_with_its_error_code() {
    let (slot, now) = (slot(), Instant::now());
    let begun = slot.begin(now).unwrap();
    slot.ended(&begun, CallOutcome::Refused, 0, || ("refused", "failed: no sensor".into()), now);
    call(&slot, CallOutcome::Answered, now);
    call(&slot, CallOutcome::Busy, now);
    let failure = slot.view().last_call_error.unwrap();
    assert_eq!(
        (failure.error.as_str(), failure.message.as_str()),
        ("refused", "failed: no sensor")
    );
    assert_eq!(slot.view().last_error, None);
}

#[test]
fn a_version_is_shown_as_rolled_back_until_its_file_changes() {
    let (slot, settings) = (slot(), Settings::default());
    slot.activate(loaded("two", "d2"), IMMEDIATE);
    slot.roll_back();
    let rolled_back = RolledBack { version: Some(2), digest: "d2".to_owned() };
    assert!(slot.file_has("d2", &settings));
    assert_eq!(slot.view().rolled_back, Some(rolled_back));

    assert!(slot.file_has("d1", &settings));
    assert_eq!(slot.view().rolled_back, None);
    assert!(!slot.file_has("d2", &settings));
}
