//! Tests of the queue of reports, with scripted answers of a hub, a network and a disk.

use proptest::prelude::*;
use protocol::twin::merge;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::part::MAX_PATCH_BYTES;
use super::*;

fn patch(value: Value) -> Patch {
    value.as_object().unwrap().clone()
}

fn rid(text: &str) -> RequestId {
    text.parse().unwrap()
}

fn push(reports: &mut Reports, value: Value) -> oneshot::Receiver<Result<u64, HostError>> {
    push_of(reports, "p", value)
}

fn push_of(
    reports: &mut Reports,
    plugin: &str,
    value: Value,
) -> oneshot::Receiver<Result<u64, HostError>> {
    let (waiter, outcome) = oneshot::channel();
    reports.push(plugin, patch(value), Some(waiter)).unwrap();
    outcome
}

fn next(reports: &mut Reports, name: &str, now: Instant) -> Option<Value> {
    let body = reports.next(now, || rid(name))?;
    Some(serde_json::from_slice(&body).unwrap())
}

fn answer(reports: &mut Reports, name: &str, status: u16, now: Instant) -> Option<PatchOutcome> {
    reports.answered(&rid(name), status, Some(8), || "no".to_owned(), now)
}

#[test]
fn waiting_reports_are_merged_and_one_patch_is_in_flight_at_a_time() {
    let now = Instant::now();
    let mut reports = Reports::new();
    let first = push(&mut reports, json!({"a": 1}));
    let mut second = push(&mut reports, json!({"b": 2, "a": 3}));
    assert_eq!(next(&mut reports, "1", now), None);

    reports.connected();
    assert_eq!(next(&mut reports, "1", now), Some(json!({"a": 3, "b": 2})));
    let mut third = push(&mut reports, json!({"c": 1}));
    assert_eq!(next(&mut reports, "2", now), None);
    let patch = patch(json!({"a": 3, "b": 2}));
    assert_eq!(
        answer(&mut reports, "1", 204, now),
        Some(PatchOutcome::Accepted { patch, version: 8 })
    );

    assert_eq!(first.blocking_recv().unwrap(), Ok(8));
    assert_eq!(second.try_recv().unwrap(), Ok(8));
    third.try_recv().unwrap_err();
    assert_eq!(next(&mut reports, "2", now), Some(json!({"c": 1})));
}

#[test]
fn a_patch_is_sent_again_after_a_lost_connection_and_after_a_timeout() {
    let now = Instant::now();
    let mut reports = Reports::new();
    let mut outcome = push(&mut reports, json!({"a": 1}));
    reports.connected();
    assert!(next(&mut reports, "1", now).is_some());

    reports.lost(false);
    reports.connected();
    assert_eq!(next(&mut reports, "2", now), Some(json!({"a": 1})));
    assert_eq!(answer(&mut reports, "1", 204, now), None);
    assert_eq!(reports.due(), Some(now + ANSWER_WAIT));
    assert_eq!(next(&mut reports, "3", now + ANSWER_WAIT), Some(json!({"a": 1})));
    outcome.try_recv().unwrap_err();
}

#[test]
fn a_patch_is_retried_later_on_a_busy_hub() {
    let now = Instant::now();
    let mut reports = Reports::new();
    drop(push(&mut reports, json!({"a": 1})));
    reports.connected();
    assert!(next(&mut reports, "1", now).is_some());

    assert_eq!(answer(&mut reports, "1", 429, now), Some(PatchOutcome::Retry { status: 429 }));
    let due = reports.due().unwrap();
    assert_eq!(next(&mut reports, "2", due), Some(json!({"a": 1})));
}

#[test]
fn a_refused_patch_does_not_affect_other_plugins() {
    let now = Instant::now();
    let mut reports = Reports::new();
    let mut good = push_of(&mut reports, "good", json!({"good": 1}));
    let mut bad = push_of(&mut reports, "bad", json!({"bad": 1}));
    reports.connected();
    assert_eq!(next(&mut reports, "1", now), Some(json!({"good": 1, "bad": 1})));

    answer(&mut reports, "1", 400, now).unwrap();
    assert_eq!(next(&mut reports, "2", now), Some(json!({"good": 1})));
    answer(&mut reports, "2", 204, now).unwrap();
    assert_eq!(next(&mut reports, "3", now), Some(json!({"bad": 1})));
    answer(&mut reports, "3", 400, now).unwrap();

    assert_eq!(good.try_recv().unwrap(), Ok(8));
    assert_eq!(bad.try_recv().unwrap(), Err(HostError::Invalid("no".to_owned())));
    assert!(reports.is_done());
}

#[test]
fn a_refused_report_does_not_affect_other_reports_of_its_plugin() {
    let now = Instant::now();
    let mut reports = Reports::new();
    let mut good = push(&mut reports, json!({"good": 1}));
    let mut bad = push(&mut reports, json!({"bad": 1, "other": 2}));
    reports.connected();
    assert_eq!(next(&mut reports, "1", now), Some(json!({"bad": 1, "good": 1, "other": 2})));
    assert_eq!(answer(&mut reports, "1", 400, now), Some(PatchOutcome::Retry { status: 400 }));

    assert_eq!(next(&mut reports, "2", now), Some(json!({"bad": 1})));
    let refused =
        PatchOutcome::Refused { status: 400, message: "no".to_owned(), plugin: "p".to_owned() };
    assert_eq!(answer(&mut reports, "2", 400, now), Some(refused));
    assert_eq!(next(&mut reports, "3", now), Some(json!({"good": 1})));
    answer(&mut reports, "3", 204, now).unwrap();
    assert_eq!(next(&mut reports, "4", now), Some(json!({"other": 2})));
    answer(&mut reports, "4", 204, now).unwrap();

    assert!(reports.is_done());
    // Both reports are in the same part, so both callers get its outcome.
    for waiter in [&mut good, &mut bad] {
        assert_eq!(waiter.try_recv().unwrap(), Err(HostError::Invalid("no".to_owned())));
    }
}

#[test]
fn only_the_report_that_ends_every_connection_is_dropped() {
    let now = Instant::now();
    let mut reports = Reports::new();
    let mut poison = push_of(&mut reports, "poison", json!({"poison": 1}));
    let mut good = push_of(&mut reports, "good", json!({"good": 1}));
    for _ in 1..MAX_CLOSINGS {
        reports.connected();
        assert!(next(&mut reports, "1", now).is_some());
        assert_eq!(reports.lost(true), None);
    }
    reports.connected();
    assert_eq!(next(&mut reports, "2", now), Some(json!({"poison": 1})));
    assert_eq!(reports.lost(true).as_deref(), Some("poison"));
    assert!(matches!(poison.try_recv().unwrap(), Err(HostError::Invalid(_))));

    reports.connected();
    assert_eq!(next(&mut reports, "3", now), Some(json!({"good": 1})));
    answer(&mut reports, "3", 204, now).unwrap();
    assert_eq!(good.try_recv().unwrap(), Ok(8));
}

#[test]
fn a_patch_is_limited_by_its_length_as_json() {
    // IoT Hub does not count control characters, which take six bytes each in JSON.
    let escaped = |key: &str, texts| patch(json!({key: vec!["\u{1}".repeat(1000); texts]}));
    let uncounted = |key: &str| escaped(key, 20);
    let error = check(&escaped("a", 22)).unwrap_err();
    assert!(matches!(error, HostError::TooLarge(reason) if reason.contains("131072")));
    check(&uncounted("a")).unwrap();

    let mut reports = Reports::new();
    reports.push("p", uncounted("a"), None).unwrap();
    reports.push("p", uncounted("b"), None).unwrap();
    reports.push("q", uncounted("c"), None).unwrap();
    reports.connected();
    let body = reports.next(Instant::now(), || rid("1")).unwrap();
    assert!(body.len() <= MAX_PATCH_BYTES, "{}", body.len());
}

#[test]
fn an_invalid_patch_is_rejected_before_it_is_queued() {
    let error = check(&patch(json!({"a.b": 1}))).unwrap_err();
    assert!(matches!(error, HostError::Invalid(reason) if reason.starts_with("key `a.b`")));
}

#[test]
fn the_limit_of_reports_applies_to_each_plugin_separately() {
    let mut reports = Reports::new();
    // Two of these patches exceed the maximum size together, so they are not merged.
    let large = |n: usize| patch(json!({n.to_string(): vec!["x".repeat(4000); 5]}));
    for n in 0..MAX_WAITING {
        reports.push("greedy", large(n), None).unwrap();
    }
    let error = reports.push("greedy", large(0), None).unwrap_err();
    assert!(matches!(error, HostError::QuotaExceeded(_)), "{error:?}");
    reports.push("modest", large(0), None).unwrap();
}

#[test]
fn a_thousand_reports_and_lost_connections_leave_one_part_per_plugin() {
    let now = Instant::now();
    let mut reports = Reports::new();
    for n in 0..1000 {
        reports.push("p", patch(json!({"n": n, (n % 7).to_string(): n})), None).unwrap();
        reports.push("q", patch(json!({"m": n})), None).unwrap();
        reports.connected();
        next(&mut reports, "1", now).unwrap();
        reports.push("p", patch(json!({"n": n})), None).unwrap();
        reports.lost(false);
    }
    assert_eq!(reports.waiting.len(), 2);
    assert!(reports.unsaved.len() < 10_000);
}

#[test]
fn a_report_that_was_not_persisted_is_removed() {
    let mut reports = Reports::new();
    reports.push("p", patch(json!({"a": 1})), None).unwrap();
    reports.unsaved();
    reports.saved(true);
    let second = reports.push("p", patch(json!({"a": 2})), None).unwrap();
    let third = reports.push("p", patch(json!({"b": 3})), None).unwrap();
    reports.unsaved();
    reports.saved(false);
    reports.undo(third);
    reports.undo(second);

    reports.connected();
    assert_eq!(next(&mut reports, "1", Instant::now()), Some(json!({"a": 1})));
}

#[test]
fn undoing_a_report_keeps_an_older_report_merged_into_it() {
    let now = Instant::now();
    let mut reports = Reports::new();
    reports.push("p", patch(json!({"old": 1})), None).unwrap();
    reports.connected();
    next(&mut reports, "1", now).unwrap();
    let fails = reports.push("p", patch(json!({"new": 1})), None).unwrap();
    reports.lost(false);
    reports.undo(fails);

    reports.connected();
    let sent = next(&mut reports, "2", now).unwrap();
    assert_eq!(sent["old"], 1);
}

/// Returns the twin of a hub that has received everything on disk.
fn hub_after(disk: &BTreeMap<u64, ReportRecord>, mut twin: Patch) -> Patch {
    disk.values().for_each(|record| merge(&mut twin, &record.patch));
    twin
}

#[derive(Debug, Clone)]
enum Step {
    Report(usize, Patch),
    Send,
    Answer(u16),
    Disconnect,
    Save(bool),
}

fn step() -> impl Strategy<Value = Step> {
    let value = prop_oneof![
        Just(json!(1)),
        Just(json!(2)),
        Just(json!(null)),
        Just(json!({"x": 1})),
        Just(json!({"y": null, "x": 2})),
    ];
    let some = proptest::collection::btree_map("[abc]", value, 1..3);
    let some = some.prop_map(|map| map.into_iter().collect::<Patch>());
    prop_oneof![
        3 => (0_usize..2, some).prop_map(|(plugin, patch)| Step::Report(plugin, patch)),
        2 => Just(Step::Send),
        2 => prop_oneof![Just(204_u16), Just(204), Just(429), Just(500)].prop_map(Step::Answer),
        1 => Just(Step::Disconnect),
        2 => any::<bool>().prop_map(Step::Save),
    ]
}

proptest! {
    // Whenever the process ends, sending the persisted records to the hub results in the last
    // value of every accepted report.
    #[test]
    fn disk_and_hub_together_always_have_the_last_values(
        steps in proptest::collection::vec(step(), 1..60),
    ) {
        let now = Instant::now();
        let mut reports = Reports::new();
        let (mut disk, mut hub, mut wanted) = (BTreeMap::new(), Patch::new(), Patch::new());
        let mut save = |reports: &mut Reports, written: bool| {
            for (number, record) in reports.unsaved() {
                match record {
                    _ if !written => {}
                    Some(record) => drop(disk.insert(number, record)),
                    None => drop(disk.remove(&number)),
                }
            }
            reports.saved(written);
            disk.clone()
        };
        reports.connected();
        for step in steps {
            match step {
                Step::Report(plugin, patch) => {
                    let plugin = ["p", "q"][plugin];
                    if reports.push(plugin, patch.clone(), None).is_ok() {
                        merge(&mut wanted, &patch);
                        let disk = save(&mut reports, true);
                        prop_assert_eq!(&hub_after(&disk, hub.clone()), &wanted);
                    }
                }
                Step::Send => {
                    reports.next(now, || rid("1"));
                }
                Step::Answer(status) => {
                    let outcome = reports.answered(&rid("1"), status, None, String::new, now);
                    if let Some(PatchOutcome::Accepted { patch, .. }) = outcome {
                        merge(&mut hub, &patch);
                    }
                    reports.not_before = None;
                }
                Step::Disconnect => {
                    reports.lost(false);
                    reports.connected();
                }
                Step::Save(written) => {
                    let disk = save(&mut reports, written);
                    if written {
                        prop_assert_eq!(&hub_after(&disk, hub.clone()), &wanted);
                    }
                }
            }
        }
        reports.lost(false);
        reports.connected();
        while let Some(body) = reports.next(now, || rid("1")) {
            let patch: Patch = serde_json::from_slice(&body).unwrap();
            merge(&mut hub, &patch);
            reports.answered(&rid("1"), 204, None, String::new, now).unwrap();
        }
        prop_assert_eq!(hub, wanted);
    }
}

#[test]
fn all_reports_together_occupy_at_most_a_quarter_of_the_memory_budget() {
    const BUDGET: usize = 16 * 1024 * 1024;
    let (engine, now) = (crate::lent::size::tests::engine(BUDGET), Instant::now());
    let mut reports = Reports::new();
    reports.count_in(engine.queue_memory());
    // Each object has 7 bytes of text, and occupies a node of a map.
    let objects = vec![json!({"": 0}); 1000];
    let mut accepted = 0;
    let refused = loop {
        let report = patch(json!({"a": objects}));
        match reports.push(&format!("p{accepted}"), report, None) {
            Ok(_) => accepted += 1,
            Err(error) => break error,
        }
        assert!(engine.memory_in_use() <= BUDGET / 4);
    };
    assert!(matches!(refused, HostError::QuotaExceeded(reason) if reason.contains("memory")));
    assert!((1..10).contains(&accepted), "{accepted}");

    // A merged report occupies no more than the merged patch.
    let before = engine.memory_in_use();
    reports.connected();
    for number in 0..accepted {
        next(&mut reports, &number.to_string(), now);
        answer(&mut reports, &number.to_string(), 204, now);
    }
    assert!(engine.memory_in_use() < before);
    for value in 0..1000 {
        push(&mut reports, json!({"a": value}));
    }
    while next(&mut reports, "last", now).is_some() {
        answer(&mut reports, "last", 204, now);
    }
    assert_eq!(engine.memory_in_use(), 0);
}
