//! Journeys of a host on both wires: MQTT 3.1.1, and MQTT 5 with the profile `mqttV5`. Each
//! journey of the list at the end runs on both.

use std::collections::BTreeSet;

use hub::{Effect, Fault, Step};
use rig::{Rig, Running, SignedBy, config, set, until, within};
use serde_json::{Value, json};

use super::twin::until_seen;

fn rig(profile: &str) -> Rig {
    Rig::new().certificate(SignedBy::Itself).host(set("hub.profile", profile))
}

/// Calls `echo` until it is answered after a lost connection.
async fn until_connected_again(rig: &Running) {
    until("the host is connected again", || async {
        rig.service.call("echo", json!(2)).await.ok().filter(|it| it.status == 200)
    })
    .await;
}

async fn a_machine_is_rebooted_and_reports_afterwards(profile: &str) {
    let folder = tempfile::tempdir().unwrap();
    let requested = folder.path().join("requested");
    let command = vec!["touch", requested.to_str().unwrap()];
    let mut rig = rig(profile)
        .real_reboot([config("property", "status.lastReboot")])
        .host([set("hub.profile", profile), set("host.reboot_command", command)])
        .start()
        .await;
    let answer = rig.service.call("rebootDevice", json!({"delaySeconds": 0.05})).await.unwrap();
    assert_eq!(answer.status, 202);
    until("the reboot command runs", || async { requested.exists().then_some(()) }).await;
    rig.stop_host().await.unwrap();
    rig.boot_machine();
    rig.start_host().await;
    rig.until_reported("/status/rebooted", &json!(true)).await;
}

async fn a_method_is_answered_before_and_after_a_lost_connection(profile: &str) {
    let rig = rig(profile).plugin("reply.wat", set("methods", vec!["echo"])).start().await;
    for payload in [json!(null), json!({"a": [1, "ä"]}), json!("x".repeat(100_000))] {
        let answer = rig.service.call("echo", payload.clone()).await.unwrap();
        assert_eq!((answer.status, answer.payload), (200, payload));
    }
    assert!(rig.hub().drop_connection(&rig.service.device));
    until_connected_again(&rig).await;
}

async fn a_swapped_plugin_answers_with_its_next_version_and_loses_no_call(profile: &str) {
    let rig = rig(profile).plugin("version-one.wat", ()).start().await;
    for version in ["one", "two", "one"] {
        rig.swap("version-one", &format!("version-{version}.wat"));
        until(format!("version {version} answers"), || async {
            let answer = rig.service.call("ask", Value::Null).await.unwrap();
            assert_eq!(answer.status, 200, "{}", answer.payload);
            assert_eq!(answer.payload["first"], answer.payload["second"]);
            (answer.payload["first"] == version).then_some(())
        })
        .await;
    }
    rig.until_reported("/plugins/version-one/version", &json!(3)).await;
}

async fn a_method_that_cannot_run_is_refused_with_the_reason(profile: &str) {
    let rig = rig(profile)
        .plugin("sleeps.wat", [set("methods", vec!["sleep"]), set("limits.calls_at_once", 1)])
        .start()
        .await;
    let unknown = rig.service.call("unknown", json!(1)).await.unwrap();
    assert_eq!(unknown.status, 404);
    assert_eq!(unknown.payload["error"], "unknown-method");
    let service = rig.service.clone();
    let running = tokio::spawn(async move { service.call_until_free("sleep", json!(1500)).await });
    rig.service.until_busy("sleep").await;
    assert_eq!(running.await.unwrap().status, 200);
}

async fn state_reports_and_jobs_of_a_plugin_survive_a_restart(profile: &str) {
    let mut rig = rig(profile).plugin("keeps.wat", ()).start().await;
    assert_eq!(rig.service.call("k1", json!(17)).await.unwrap().status, 200);
    rig.stop_host().await.unwrap();
    rig.start_host().await;
    let last = rig.service.call("last", json!("k1")).await.unwrap();
    assert_eq!((last.status, last.payload), (200, json!(17)));
    rig.until_reported("/k1", &json!(17)).await;
    until("the job has run", || async {
        let answer = rig.service.call("waits", json!(17)).await.unwrap();
        (answer.status == 200).then_some(())
    })
    .await;
}

async fn a_repeated_method_gets_the_first_answer_and_does_not_run_again(profile: &str) {
    let rig = rig(profile).plugin("tells.wat", set("idempotency_key", "id")).start().await;
    let mut telemetry = rig.hub().telemetry();
    for id in ["a", "a", "b"] {
        let payload = json!({ "id": id });
        let answer = rig.service.call("tell", payload.clone()).await.unwrap();
        assert_eq!((answer.status, answer.payload), (200, payload));
    }
    // Each run sends a message, in the order of the runs.
    let (mut calls, mut last) = (Vec::new(), BTreeSet::new());
    while !last.contains(r#"{"id":"b"}"#) {
        let message = within("the message arrives", telemetry.recv()).await.unwrap();
        let body = String::from_utf8(message.body.to_vec()).unwrap();
        if message.properties.get("call").is_some() {
            calls.push(body.clone());
            last.insert(body);
        }
    }
    assert_eq!(calls, [r#"{"id":"a"}"#, r#"{"id":"b"}"#]);
}

async fn a_running_call_is_answered_before_the_host_ends(profile: &str) {
    let mut rig = rig(profile).plugin("sleeps.wat", set("limits.calls_at_once", 1)).start().await;
    let service = rig.service.clone();
    let running = tokio::spawn(async move { service.call_until_free("sleep", json!(500)).await });
    rig.service.until_busy("sleep").await;
    rig.stop_host().await.unwrap();
    assert_eq!(running.await.unwrap().status, 200);
    assert!(!rig.hub().is_connected(&rig.service.device));
}

async fn a_call_that_exceeds_the_grace_period_is_answered_with_draining(profile: &str) {
    let mut rig = rig(profile)
        .plugin("sleeps.wat", set("limits.calls_at_once", 1))
        .host([set("hub.profile", profile), set("host.grace", "50ms")])
        .start()
        .await;
    let service = rig.service.clone();
    let running =
        tokio::spawn(async move { service.call_until_free("sleep", json!(20_000)).await });
    rig.service.until_busy("sleep").await;
    rig.stop_host().await.unwrap();
    let answer = running.await.unwrap();
    assert_eq!((answer.status, &answer.payload["error"]), (503, &json!("draining")));
}

async fn a_plugin_sees_desired_properties_after_a_gap_and_sends_messages(profile: &str) {
    let mut rig = rig(profile).plugin("asks.wat", ()).start().await;
    let mut telemetry = rig.hub().telemetry();
    rig.service.desire(json!({"speed": 1})).await;
    until_seen(&rig, &json!({"speed": 1})).await;
    let lost = Fault::new(Step::Desired, Effect::Lose).of(&rig.service.device);
    rig.hub().faults().set(lost).unwrap();
    rig.service.desire(json!({"speed": 2})).await;
    rig.service.desire(json!({"belt": 3})).await;
    until_seen(&rig, &json!({"speed": 2, "belt": 3})).await;

    rig.service.call("send", json!(null)).await.unwrap();
    let message = within("the message arrives", telemetry.recv()).await.unwrap();
    assert_eq!(message.properties.get("$.ct"), Some("text/plain"));

    rig.stop_host().await.unwrap();
    rig.service.desire(json!({"belt": null, "made": "meanwhile"})).await;
    rig.start_host().await;
    until_seen(&rig, &json!({"speed": 2, "made": "meanwhile"})).await;
}

/// Creates a test of each journey on each wire.
macro_rules! on_both_wires {
    ($($journey:ident)*) => {
        mod classic {
            $(#[tokio::test]
            async fn $journey() {
                super::$journey("classic").await;
            })*
        }
        mod mqtt5 {
            $(#[tokio::test]
            async fn $journey() {
                super::$journey("mqttV5").await;
            })*
        }
    };
}

on_both_wires! {
    a_call_that_exceeds_the_grace_period_is_answered_with_draining
    a_machine_is_rebooted_and_reports_afterwards
    a_method_is_answered_before_and_after_a_lost_connection
    a_method_that_cannot_run_is_refused_with_the_reason
    a_plugin_sees_desired_properties_after_a_gap_and_sends_messages
    a_repeated_method_gets_the_first_answer_and_does_not_run_again
    a_running_call_is_answered_before_the_host_ends
    a_swapped_plugin_answers_with_its_next_version_and_loses_no_call
    state_reports_and_jobs_of_a_plugin_survive_a_restart
}
