//! Tests of the twin, with scripted messages of a hub.

use super::*;
use crate::journal;
use crate::journal::tests::mutations;
use serde_json::json;

/// Returns a twin whose journal is in a deleted directory.
fn twin() -> Twin {
    let directory = tempfile::tempdir().unwrap();
    twin_on(journal::tests::journal(&directory))
}

fn twin_on(journal: Journal) -> Twin {
    Twin::new("d1".parse().unwrap(), Some(Arc::new(journal)))
}

fn rid(request: &TwinRequest) -> RequestId {
    match &request.topic {
        DeviceTopic::TwinGet { rid } | DeviceTopic::TwinReport { rid } => rid.clone(),
        other => panic!("{other}"),
    }
}

fn fetched(twin: &Twin, desired: Value) {
    twin.connected();
    let get = twin.next().unwrap();
    assert!(matches!(get.topic, DeviceTopic::TwinGet { .. }));
    let body = json!({"desired": desired, "reported": {"$version": 1}});
    twin.answered(&rid(&get), 200, None, body.to_string().as_bytes());
}

fn change(twin: &Twin, patch: Value, version: u64) {
    let patch = patch.as_object().unwrap().clone();
    twin.desired_changed(&DesiredPatch { patch, version });
}

#[tokio::test]
async fn the_twin_is_unknown_until_it_is_fetched() {
    let twin = twin();
    assert_eq!(twin.desired(), Err(HostError::Offline));
    fetched(&twin, json!({"a": 1, "$version": 3}));
    assert_eq!(twin.desired().unwrap(), Document { body: r#"{"a":1}"#.into(), version: 3 });
}

#[tokio::test]
async fn changes_of_desired_properties_are_merged_and_old_ones_ignored() {
    let twin = twin();
    fetched(&twin, json!({"a": 1, "$version": 3}));
    change(&twin, json!({"b": 2}), 4);
    change(&twin, json!({"a": 9}), 3);
    assert_eq!(twin.desired().unwrap().body, r#"{"a":1,"b":2}"#);
    assert!(twin.next().is_none());
}

#[tokio::test]
async fn a_gap_in_the_versions_fetches_the_whole_twin() {
    let twin = twin();
    fetched(&twin, json!({"$version": 3}));
    change(&twin, json!({"b": 2}), 6);
    assert!(matches!(twin.next().unwrap().topic, DeviceTopic::TwinGet { .. }));
}

#[tokio::test]
async fn a_report_is_visible_in_the_twin_once_the_hub_has_accepted_it() {
    let twin = twin();
    fetched(&twin, json!({"$version": 1}));
    twin.report("p", json!({"x": 1}).as_object().unwrap().clone()).await.unwrap();
    twin.ready().await;
    let report = twin.next().unwrap();
    assert_eq!(twin.reported().unwrap().version, 1);
    twin.answered(&rid(&report), 204, Some(2), b"");
    assert_eq!(twin.reported().unwrap(), Document { body: r#"{"x":1}"#.into(), version: 2 });
    assert!(twin.is_reported());
}

#[tokio::test(start_paused = true)]
async fn waiting_for_a_report_ends_with_the_reason_it_was_not_accepted() {
    let twin = twin();
    let patch = || json!({"x": 1}).as_object().unwrap().clone();
    let wait = Duration::from_secs(5);
    assert_eq!(twin.report_and_wait("p", patch(), wait).await, Err(HostError::Offline));
    twin.connected();
    assert_eq!(twin.report_and_wait("p", patch(), wait).await, Err(HostError::Timeout));
    assert!(!twin.is_reported());
}

#[tokio::test]
async fn a_report_survives_restarts_until_the_hub_has_accepted_it() {
    let directory = tempfile::tempdir().unwrap();
    let patch = || json!({"x": 1}).as_object().unwrap().clone();
    let first = twin_on(journal::tests::journal(&directory));
    first.report("p", patch()).await.unwrap();
    first.journal.as_ref().unwrap().close().await;
    drop(first);

    let second = twin_on(journal::tests::journal(&directory));
    second.connected();
    let get = second.next().unwrap();
    second.answered(&rid(&get), 200, None, br#"{"desired": {}, "reported": {}}"#);
    let report = second.next().unwrap();
    assert_eq!(report.body, br#"{"x":1}"#);
    second.answered(&rid(&report), 204, Some(2), b"");
    second.journal.as_ref().unwrap().close().await;
    drop(second);

    assert!(twin_on(journal::tests::journal(&directory)).is_reported());
}

#[tokio::test]
async fn a_report_is_rejected_and_not_sent_if_the_disk_is_full() {
    let directory = tempfile::tempdir().unwrap();
    let disk = journal::tests::TestDisk::default();
    let twin = twin_on(disk.journal(directory.path()));
    let patch = || json!({"x": 1}).as_object().unwrap().clone();

    disk.fill_after(0);
    let error = twin.report("p", patch()).await.unwrap_err();
    assert!(error.to_string().starts_with("not written to disk"), "{error}");
    assert!(twin.is_reported());

    disk.make_room();
    twin.report("p", patch()).await.unwrap();
    assert!(!twin.is_reported());
}

#[tokio::test(start_paused = true)]
async fn the_request_for_the_twin_is_retried() {
    let twin = twin();
    twin.connected();
    let first = rid(&twin.next().unwrap());
    twin.ready().await;
    let second = twin.next().unwrap();
    assert_ne!(rid(&second), first);
    twin.answered(&rid(&second), 500, None, br#"{"message":"later"}"#);
    twin.ready().await;
    assert!(matches!(twin.next().unwrap().topic, DeviceTopic::TwinGet { .. }));
}

#[test]
fn a_corrupt_report_never_causes_a_panic() {
    let record = br#"{"plugin":"p","patch":{"a":{"b":[1,"text",null]}}}"#;
    let key = u64::MAX.to_be_bytes();
    assert!(TwinState::read(&key, record).is_some());
    for value in mutations(record) {
        if let Some(found) = TwinState::read(&key, &value) {
            Reports::new().restore([found]);
        }
    }
}
