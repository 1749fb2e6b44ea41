//! Tests of methods from the service to a plugin and back.

use json::Json;
use protocol::method::MethodRequest;
use rig::{Rig, config, deadline, set};
use serde_json::{Value, json};

#[tokio::test]
async fn every_kind_of_payload_is_returned_unchanged() {
    let rig = Rig::new().plugin("reply.wat", ()).start().await;
    for payload in [
        json!(null),
        json!(""),
        json!("{\"method_number\":\"42\"}"),
        json!({"nested": {"list": [null, {}, -0.25]}}),
        json!("ünïcödé \u{0}"),
        json!("x".repeat(120_000)),
    ] {
        let answer = rig.service.call("echo", payload.clone()).await.unwrap();
        assert_eq!((answer.status, answer.payload), (200, payload));
    }
}

#[tokio::test]
async fn the_text_of_a_payload_is_unchanged_in_both_directions() {
    let rig = Rig::new().plugin("reply.wat", ()).start().await;
    let text = r#"{"b":1.10, "a":[12345678901234567890123,1e2,0.1000000000000000055511151231257827],
        "b":"\ud83d\ude00\u0000"}"#;
    let payload: Json = text.parse().unwrap();
    let request = MethodRequest::new("echo".parse().unwrap(), payload);
    let answer = rig.service.client.invoke(&rig.service.device, &request).await.unwrap();
    assert_eq!((answer.status, answer.payload.get()), (200, text));
}

#[tokio::test]
async fn a_plugin_that_loops_is_stopped_and_the_next_call_works() {
    let rig = Rig::new().plugin("misbehaves.wat", deadline("50ms")).start().await;

    let answer = rig.service.call("spin", json!(null)).await.unwrap();
    assert_eq!((answer.status, &answer.payload["error"]), (504, &json!("deadline-exceeded")));

    let answer = rig.service.call("echo", json!("still here")).await.unwrap();
    assert_eq!(answer.payload, json!("still here"));
}

#[tokio::test]
async fn a_method_is_routed_to_the_plugin_that_names_it_or_to_the_catch_all_plugin() {
    let rig = Rig::new()
        .plugin("reply.wat", set("methods", vec!["echo"]))
        .plugin("answers.wat", ())
        .start()
        .await;

    assert_eq!(rig.service.call("echo", json!(1)).await.unwrap().payload, json!(1));
    assert_eq!(rig.service.call("nothing", json!(1)).await.unwrap().status, 204);
}

#[tokio::test]
async fn a_method_that_no_plugin_serves_is_answered_immediately() {
    let rig = Rig::new().plugin("reply.wat", set("methods", vec!["echo"])).start().await;

    let answer = rig.service.call("selfDestruct", json!(null)).await.unwrap();

    assert_eq!(answer.status, 404);
    assert_eq!(answer.payload["error"], "unknown-method");
    assert_eq!(answer.payload["message"], "no plugin serves `selfDestruct`");
}

#[tokio::test]
async fn the_reboot_of_the_tutorial_is_reported_in_the_twin() {
    let rig = Rig::new().reboot(config("delay_seconds", 0)).start().await;
    let timeout = std::time::Duration::from_secs(30);
    let mut steps = Vec::new();

    let time = service::reboot::reboot(&rig.service.client, &rig.service.device, timeout, |s| {
        steps.push(s.to_string());
    })
    .await
    .unwrap();

    let twin = rig.service.client.twin(&rig.service.device).await.unwrap();
    assert_eq!(twin.properties.reported["rebootTime"], Value::from(time.as_str()));
    let answer = r#"{"Response":"This is the response from the device"}"#;
    assert!(steps[0].starts_with("Hub localhost:"), "{}", steps[0]);
    assert_eq!(steps[1], "Invoking device to reboot...");
    assert_eq!(steps[2], format!("The device answered 200: {answer}"));
    assert_eq!(steps.last().unwrap(), &format!("Last reboot time: {time}"));
}

#[tokio::test]
async fn a_payload_sets_the_delay_of_a_reboot_and_settings_choose_what_is_reported() {
    let rig = Rig::new()
        .reboot([
            config("delay_seconds", 200),
            config("property", "status.lastReboot"),
            config("report", json!({"reason": "asked"})),
        ])
        .start()
        .await;

    let answer = rig.service.call("rebootDevice", json!({"delaySeconds": 0.01})).await.unwrap();

    assert_eq!(answer.status, 200);
    let twin = rig.service.client.twin(&rig.service.device).await.unwrap();
    assert_eq!(twin.properties.reported["reason"], "asked");
    assert!(twin.properties.reported["status"]["lastReboot"].is_string());
}
