//! Tests of replacing a plugin's file while the host runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use rig::{Rig, Running, config, set, until, within};
use serde_json::{Value, json};
use tokio::task::JoinSet;

/// The number of calls in flight during the swaps.
const IN_FLIGHT: usize = 32;

const SWAPS: usize = 100;

#[tokio::test]
async fn a_restarted_host_runs_the_new_component() {
    let mut rig = Rig::new().plugin("reply.wat", set("methods", vec!["ask"])).start().await;
    assert_eq!(rig.service.call("ask", json!("old")).await.unwrap().payload, json!("old"));

    rig.stop_host().await.unwrap();
    rig.swap("reply", "answers.wat");
    rig.start_host().await;

    assert_eq!(rig.service.call("ask", json!("new")).await.unwrap().status, 204);
}

/// Calls the plugin until this version answers.
async fn until_answered_by(rig: &Running, version: &str) {
    until(format!("version {version} answers"), || async {
        let answer = rig.service.call("ask", Value::Null).await.unwrap();
        (answer.payload["first"] == version).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_hundred_swaps_under_load_lose_no_call_and_mix_no_versions() {
    let rig = Rig::new().plugin("version-one.wat", ()).start().await;
    let done = Arc::new(AtomicBool::new(false));
    let mut callers = JoinSet::new();
    for _ in 0..IN_FLIGHT {
        let (service, done) = (rig.service.clone(), Arc::clone(&done));
        callers.spawn(async move {
            let mut answers = [0_usize; 2];
            while !done.load(Ordering::Relaxed) {
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

    done.store(true, Ordering::Relaxed);
    let answers = within("the callers end", callers.join_all()).await;
    let sum = |version: usize| answers.iter().map(|answers| answers[version]).sum::<usize>();
    assert!(sum(0) > SWAPS && sum(1) > SWAPS, "{answers:?}");
    rig.until_reported("/plugins/version-one/version", &json!(SWAPS + 1)).await;
}

#[tokio::test]
async fn a_query_over_the_fleet_finds_the_devices_that_run_a_version() {
    let rig = Rig::new().plugin("reply.wat", ()).start().await;
    rig.until_reported("/plugins/reply/state", &json!("active")).await;
    let devices_with = async |digest: &str| {
        let text = format!(
            "SELECT * FROM devices WHERE properties.reported.plugins.reply.digest = '{digest}'"
        );
        rig.service.client.query(&text, None).next_page().await.unwrap().unwrap_or_default()
    };
    let digest = async || {
        let reported = rig.service.reported().await;
        reported["plugins"]["reply"]["digest"].as_str().unwrap().to_owned()
    };
    let old = digest().await;
    assert_eq!(devices_with(&old).await.len(), 1);

    rig.swap("reply", "answers.wat");
    rig.until_reported("/plugins/reply/version", &json!(2)).await;
    assert!(devices_with(&old).await.is_empty());
    assert_eq!(devices_with(&digest().await).await.len(), 1);
}

#[tokio::test]
async fn a_version_that_does_not_start_is_reported_and_the_old_one_still_answers() {
    let rig = Rig::new().plugin("version-one.wat", ()).start().await;
    // The new version refuses to start as a successor, with the digest of its predecessor as
    // the reason.
    rig.swap("version-one", "lasts.wat");
    rig.until_reported("/plugins/version-one/state", &json!("active")).await;
    let plugin = until("the failed start is reported", || async {
        let plugin = rig.service.reported().await["plugins"]["version-one"].take();
        (!plugin["lastError"].is_null()).then_some(plugin)
    })
    .await;
    let digest = plugin["digest"].as_str().unwrap();
    assert_eq!(plugin["lastError"], format!("start: {digest}"));
    until_answered_by(&rig, "one").await;
}

#[tokio::test]
async fn a_refused_configuration_is_reported_until_it_is_corrected() {
    let rig = Rig::new().plugin("reply.wat", ()).start().await;
    rig.until_reported("/plugins/reply/state", &json!("active")).await;
    let configuration = rig.data().with_file_name("host.toml");
    let text = std::fs::read_to_string(&configuration).unwrap();

    std::fs::write(&configuration, format!("mistake = 1\n{text}")).unwrap();
    let error = until("the refused configuration is reported", || async {
        let error = rig.service.reported().await["pluginsConfiguration"]["lastError"].take();
        error.as_str().map(str::to_owned)
    })
    .await;
    assert!(error.starts_with("line 1: unknown key `mistake`"), "{error}");
    assert_eq!(rig.service.call("ask", json!(1)).await.unwrap().status, 200);

    std::fs::write(&configuration, text).unwrap();
    until("the error is removed", || async {
        rig.service.reported().await.get("pluginsConfiguration").is_none().then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_plugin_that_keeps_failing_is_disabled_and_reported_until_it_works() {
    let rig = Rig::new()
        .plugin("misbehaves.wat", [set("disable_after", 2), set("failing_for", "0s")])
        .start()
        .await;
    for _ in 0..2 {
        assert_eq!(rig.service.call("trap", json!(1)).await.unwrap().status, 500);
    }
    let refused = rig.service.call("echo", json!(1)).await.unwrap();
    assert_eq!((refused.status, &refused.payload["error"]), (503, &json!("disabled")));
    rig.until_reported("/plugins/misbehaves/state", &json!("disabled")).await;

    rig.service.until_status("echo", 200).await;
    rig.until_reported("/plugins/misbehaves/state", &json!("active")).await;
    assert!(rig.service.reported().await["plugins"]["misbehaves"]["lastError"].is_null());
}

#[tokio::test]
async fn a_version_is_started_with_its_predecessor_which_is_notified_of_its_stop() {
    let rig = Rig::new().plugin("follows.wat", set("failing_for", "0s")).start().await;
    rig.until_reported("/started", &json!("nobody")).await;
    rig.swap("follows", "misbehaves.wat");
    rig.until_reported("/stopped", &json!(true)).await;
    rig.until_reported("/plugins/follows/version", &json!(2)).await;
    let second = rig.service.reported().await["plugins"]["follows"]["digest"].take();

    // A version that a rollback restores is also started with its predecessor.
    for _ in 0..3 {
        assert_eq!(rig.service.call("trap", json!(1)).await.unwrap().status, 500);
    }
    rig.until_reported("/started", &second).await;
    rig.until_reported("/plugins/follows/version", &json!(1)).await;
}

#[tokio::test]
async fn a_plugin_is_notified_when_the_host_ends_and_its_last_report_arrives_later() {
    let mut rig = Rig::new().plugin("follows.wat", ()).start().await;
    rig.until_reported("/started", &json!("nobody")).await;
    rig.stop_host().await.unwrap();
    rig.start_host().await;
    rig.until_reported("/stopped", &json!(true)).await;
}

#[tokio::test]
async fn a_plugin_receives_all_desired_changes_that_it_missed_in_one_patch() {
    let mut rig = Rig::new().plugin("follows.wat", config("retry", true)).start().await;
    rig.service.desire(json!({"a": 1, "b": {"c": 2}})).await;
    rig.until_reported("/seen", &json!({"a": 1, "b": {"c": 2}})).await;
    rig.service.desire(json!({"a": null, "b": {"d": 3}})).await;
    rig.until_reported("/seen/b", &json!({"c": 2, "d": 3})).await;
    rig.stop_host().await.unwrap();
}

#[tokio::test]
async fn rejected_desired_properties_are_reported_before_and_after_a_restart() {
    let mut rig = Rig::new().plugin("follows.wat", config("reject", true)).start().await;
    rig.service.desire(json!({"a": 1})).await;
    rig.until_reported("/plugins/follows/desired/rejected", &json!("reject")).await;
    let version = rig.service.reported().await["plugins"]["follows"]["desired"]["version"].take();
    rig.stop_host().await.unwrap();
    rig.start_host().await;

    rig.service.desire(json!({"a": 2})).await;
    let next = json!(version.as_u64().unwrap() + 1);
    rig.until_reported("/plugins/follows/desired/version", &next).await;
    rig.stop_host().await.unwrap();
}
