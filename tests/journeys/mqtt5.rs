//! Journeys of a host on both wires: MQTT 3.1.1, and MQTT 5 with the profile `mqttV5`.

use hub::{Effect, Fault, Step};
use rig::{Rig, Running, SignedBy, config, set, until, within};
use serde_json::{Value, json};

/// The connection profiles.
const PROFILES: [&str; 2] = ["classic", "mqttV5"];

fn rig(profile: &str) -> Rig {
    Rig::new().certificate(SignedBy::Itself).host(set("hub.profile", profile))
}

#[tokio::test]
async fn a_machine_is_rebooted_and_reports_afterwards() {
    for profile in PROFILES {
        let folder = tempfile::tempdir().unwrap();
        let requested = folder.path().join("requested");
        let command = vec!["touch", requested.to_str().unwrap()];
        let mut rig = rig(profile)
            .real_reboot([config("property", "status.lastReboot")])
            .host([set("hub.profile", profile), set("host.reboot_command", command)])
            .start()
            .await;
        let answer = rig.service.call("rebootDevice", json!({"delaySeconds": 0.05})).await.unwrap();
        assert_eq!(answer.status, 202, "{profile}");
        until("the reboot command runs", || async { requested.exists().then_some(()) }).await;
        rig.stop_host().await.unwrap();
        rig.boot_machine();
        rig.start_host().await;
        rig.until_reported("/status/rebooted", &json!(true)).await;
    }
}

#[tokio::test]
async fn a_method_is_answered_with_its_payload_before_and_after_a_swap_and_a_lost_connection() {
    for profile in PROFILES {
        let rig = rig(profile).plugin("reply.wat", set("methods", vec!["echo"])).start().await;
        for payload in [json!(null), json!({"a": [1, "ä"]}), json!("x".repeat(100_000))] {
            let answer = rig.service.call("echo", payload.clone()).await.unwrap();
            assert_eq!((answer.status, answer.payload), (200, payload), "{profile}");
        }
        assert!(rig.hub().drop_connection(&rig.service.device));
        until("the host is connected again", || async {
            rig.service.call("echo", json!(2)).await.ok().filter(|it| it.status == 200)
        })
        .await;
    }
}

#[tokio::test]
async fn a_method_that_cannot_run_is_refused_with_the_reason() {
    for profile in PROFILES {
        let rig = rig(profile)
            .plugin("sleeps.wat", [set("methods", vec!["sleep"]), set("limits.calls_at_once", 1)])
            .start()
            .await;
        let unknown = rig.service.call("unknown", json!(1)).await.unwrap();
        assert_eq!(unknown.status, 404, "{profile}");
        assert_eq!(unknown.payload["error"], "unknown-method");
        let service = rig.service.clone();
        let running =
            tokio::spawn(async move { service.call_until_free("sleep", json!(1500)).await });
        rig.service.until_busy("sleep").await;
        assert_eq!(running.await.unwrap().status, 200, "{profile}");
    }
}

#[tokio::test]
async fn repeated_probes_and_lost_messages_run_no_method_twice() {
    let rig = rig("mqttV5").plugin("reply.wat", set("methods", vec!["echo"])).start().await;
    let faults = [
        Fault::new(Step::Probe, Effect::Duplicate),
        Fault::new(Step::Method, Effect::Duplicate),
        Fault::new(Step::Acknowledge, Effect::Duplicate),
    ];
    for (number, fault) in (1..).zip(faults) {
        rig.hub().faults().set(fault.of(&rig.service.device)).unwrap();
        let answer = rig.service.call("echo", json!(number)).await.unwrap();
        assert_eq!((answer.status, answer.payload), (200, json!(number)));
        rig.hub().faults().until_happened(number).await;
    }
}

#[tokio::test]
async fn a_plugin_sees_desired_properties_after_a_gap_and_sends_messages() {
    for profile in PROFILES {
        let rig = rig(profile).plugin("asks.wat", ()).start().await;
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
        assert_eq!(message.properties.get("$.ct"), Some("text/plain"), "{profile}");
    }
}

/// Waits until the plugin reads these desired properties.
async fn until_seen(rig: &Running, expected: &Value) {
    until(format!("the plugin sees {expected}"), || async {
        let answer = rig.service.call("desired", Value::Null).await.unwrap();
        (answer.payload == *expected).then_some(())
    })
    .await;
}
