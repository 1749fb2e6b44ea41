//! Journeys of a host with the profile `mqttV5` alone: the steps of methods.

use std::time::Duration;

use hub::{Effect, Fault, Step};
use protocol::method::MethodRequest;
use rig::{Rig, SignedBy, deadline, set, until, within};
use serde_json::{Value, json};

fn rig() -> Rig {
    Rig::new().certificate(SignedBy::Itself).host(set("hub.profile", "mqttV5"))
}

#[tokio::test]
async fn repeated_probes_and_lost_messages_run_no_method_twice() {
    let rig = rig().plugin("reply.wat", set("methods", vec!["echo"])).start().await;
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
async fn a_method_that_cannot_run_is_rejected_with_the_reason_and_does_not_run() {
    let mut rig = rig()
        .plugin("sleeps.wat", [set("methods", vec!["sleep"]), set("limits.calls_at_once", 1)])
        .plugin(
            "misbehaves.wat",
            [
                set("methods", vec!["spin"]),
                deadline("20ms"),
                set("disable_after", 1),
                set("failing_for", "0s"),
            ],
        )
        .plugin("tells.wat", [set("methods", vec!["tell"]), set("min_times.tell", "20s")])
        .start()
        .await;
    let service = rig.service.clone();
    let mut telemetry = rig.hub().telemetry();
    let refused = async |method: &str, seconds: u64| {
        let mut request = MethodRequest::new(method.parse().unwrap(), json!({"of": "refused"}));
        request.response_timeout = Duration::from_secs(seconds);
        let answer = service.client.invoke(&service.device, &request).await.unwrap();
        let payload = answer.payload.to_value();
        (answer.status, payload["error"].as_str().unwrap_or_default().to_owned())
    };
    assert_eq!(refused("unknown", 30).await, (404, "unknown-method".to_owned()));
    assert_eq!(refused("tell", 22).await, (408, "insufficient-time".to_owned()));
    // Each run of this plugin sends a message, and only the second call has run.
    let allowed = json!({"of": "allowed"});
    assert_eq!(service.call("tell", allowed.clone()).await.unwrap().payload, allowed);
    let message = within("the message of the run", telemetry.recv()).await.unwrap();
    assert_eq!(message.body, allowed.to_string());

    // A ready id holds the only call.
    let calls = service.clone();
    let running = tokio::spawn(async move { calls.call_until_free("sleep", json!(1500)).await });
    service.until_busy("sleep").await;
    assert_eq!(running.await.unwrap().status, 200);

    until("the plugin that fails is disabled", || async {
        let answer = service.call("spin", Value::Null).await.unwrap();
        (answer.status == 429).then_some(())
    })
    .await;

    let calls = service.clone();
    let running = tokio::spawn(async move { calls.call_until_free("sleep", json!(2000)).await });
    service.until_busy("sleep").await;
    let draining = until("the host that drains rejects a method of a free plugin", || async {
        let (status, error) = refused("tell", 30).await;
        (status == 429).then_some(error)
    });
    let (stopped, error) = tokio::join!(rig.stop_host(), draining);
    stopped.unwrap();
    assert_eq!(error, "busy");
    assert_eq!(running.await.unwrap().status, 200);
}
