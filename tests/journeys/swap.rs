//! A behaviour is swapped: another file, the same host.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rig::{Rig, Running, config, set};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// Calls that are under way at every moment of the swaps.
const IN_FLIGHT: usize = 32;

const SWAPS: usize = 100;

#[tokio::test]
async fn a_host_that_is_started_again_runs_the_new_component() {
    let mut rig = Rig::new().plugin("reply.wat", set("methods", vec!["ask"])).start().await;
    assert_eq!(rig.service.call("ask", json!("old")).await.unwrap().payload, json!("old"));

    rig.stop_host().await.unwrap();
    rig.swap("reply", "answers.wat");
    rig.start_host().await;

    assert_eq!(rig.service.call("ask", json!("new")).await.unwrap().status, 204);
}

/// Calls until the version answers that is wanted.
async fn until_answered_by(rig: &Running, version: &str) {
    while rig.service.call("ask", Value::Null).await.unwrap().payload["first"] != version {}
}

#[tokio::test]
async fn a_hundred_swaps_under_load_lose_no_call_and_mix_no_answer() {
    let rig = Rig::new().plugin("version-one.wat", ()).start().await;
    let over = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let (service, over) = (rig.service.clone(), Arc::clone(&over));
        callers.spawn(async move {
            let mut answers = [0_usize; 2];
            while !over.load(Ordering::Relaxed) {
                let answer = service.call("ask", Value::Null).await.unwrap();
                assert_eq!(answer.status, 200, "{}", answer.payload);
                assert_eq!(answer.payload["first"], answer.payload["second"]);
                match answer.payload["first"].as_str().unwrap() {
                    "one" => answers[0] += 1,
                    "two" => answers[1] += 1,
                    other => panic!("{other}"),
                }
            }
            answers
        });
    }

    for swap in 0..SWAPS {
        let next = if swap.is_multiple_of(2) { "two" } else { "one" };
        rig.swap("version-one", &format!("version-{next}.wat"));
        until_answered_by(&rig, next).await;
    }

    over.store(true, Ordering::Relaxed);
    let answers = callers.join_all().await;
    let sum = |version: usize| answers.iter().map(|answers| answers[version]).sum::<usize>();
    assert!(sum(0) > SWAPS && sum(1) > SWAPS, "{answers:?}");
    rig.until_reported("/plugins/version-one/version", &json!(SWAPS + 1)).await;
}

#[tokio::test]
async fn a_query_over_the_fleet_finds_who_runs_what() {
    let rig = Rig::new().plugin("reply.wat", ()).start().await;
    rig.until_reported("/plugins/reply/state", &json!("active")).await;
    let who_runs = async |digest: &str| {
        let text = format!(
            "SELECT * FROM devices WHERE properties.reported.plugins.reply.digest = '{digest}'"
        );
        rig.service.client.query(&text, None).next_page().await.unwrap().unwrap_or_default()
    };
    let digest = async || {
        let twin = rig.service.client.twin(&rig.service.device).await.unwrap();
        twin.properties.reported["plugins"]["reply"]["digest"].as_str().unwrap().to_owned()
    };
    let old = digest().await;
    assert_eq!(who_runs(&old).await.len(), 1);

    rig.swap("reply", "answers.wat");
    rig.until_reported("/plugins/reply/version", &json!(2)).await;
    assert!(who_runs(&old).await.is_empty());
    assert_eq!(who_runs(&digest().await).await.len(), 1);
}

#[tokio::test]
async fn what_is_wrong_with_a_new_version_is_reported_and_the_old_one_answers() {
    let rig = Rig::new().plugin("version-one.wat", ()).start().await;
    // It starts as nobody's successor only, and gives the digest as its reason.
    rig.swap("version-one", "lasts.wat");
    let twin = async || {
        let twin = rig.service.client.twin(&rig.service.device).await.unwrap();
        twin.properties.reported["plugins"]["version-one"].clone()
    };
    rig.until_reported("/plugins/version-one/state", &json!("active")).await;
    while twin().await["lastError"].is_null() {}
    let plugin = twin().await;
    let digest = plugin["digest"].as_str().unwrap();
    assert_eq!(plugin["lastError"], format!("start: {digest}"));
    until_answered_by(&rig, "one").await;
}

#[tokio::test]
async fn a_plugin_that_keeps_failing_is_disabled_and_reported_until_it_works() {
    let rig = Rig::new().plugin("misbehaves.wat", set("disable_after", 2)).start().await;
    for _ in 0..2 {
        assert_eq!(rig.service.call("trap", json!(1)).await.unwrap().status, 500);
    }
    let turned_away = rig.service.call("echo", json!(1)).await.unwrap();
    assert_eq!((turned_away.status, &turned_away.payload["error"]), (503, &json!("disabled")));
    rig.until_reported("/plugins/misbehaves/state", &json!("disabled")).await;

    while rig.service.call("echo", json!(1)).await.unwrap().status != 200 {}
    rig.until_reported("/plugins/misbehaves/state", &json!("active")).await;
    let twin = rig.service.client.twin(&rig.service.device).await.unwrap();
    assert!(twin.properties.reported["plugins"]["misbehaves"]["lastError"].is_null());
}

#[tokio::test]
async fn a_version_is_told_whom_it_follows_and_the_one_before_that_it_goes() {
    let rig = Rig::new().plugin("follows.wat", ()).start().await;
    rig.until_reported("/started", &json!("nobody")).await;
    rig.swap("follows", "misbehaves.wat");
    rig.until_reported("/stopped", &json!(true)).await;
    rig.until_reported("/plugins/follows/version", &json!(2)).await;
    let twin = rig.service.client.twin(&rig.service.device).await.unwrap();
    let second = twin.properties.reported["plugins"]["follows"]["digest"].clone();

    // A version that is put back is told whom it follows, too.
    for _ in 0..3 {
        assert_eq!(rig.service.call("trap", json!(1)).await.unwrap().status, 500);
    }
    rig.until_reported("/started", &second).await;
    rig.until_reported("/plugins/follows/version", &json!(1)).await;
}

#[tokio::test]
async fn a_plugin_is_told_that_the_host_ends_and_what_it_reports_then_arrives_later() {
    let mut rig = Rig::new().plugin("follows.wat", ()).start().await;
    rig.until_reported("/started", &json!("nobody")).await;
    rig.stop_host().await.unwrap();
    rig.start_host().await;
    rig.until_reported("/stopped", &json!(true)).await;
}

#[tokio::test]
async fn a_plugin_hears_of_all_desired_changes_that_it_missed_in_one_patch() {
    let mut rig = Rig::new().plugin("follows.wat", config("retry", true)).start().await;
    desire(&rig, json!({"a": 1, "b": {"c": 2}})).await;
    rig.until_reported("/seen", &json!({"a": 1, "b": {"c": 2}})).await;
    desire(&rig, json!({"a": null, "b": {"d": 3}})).await;
    rig.until_reported("/seen/b", &json!({"c": 2, "d": 3})).await;
    rig.stop_host().await.unwrap();
}

async fn desire(rig: &Running, patch: Value) {
    let patch = json!({"properties": {"desired": patch}});
    rig.service.client.patch_twin(&rig.service.device, patch, None).await.unwrap();
}
