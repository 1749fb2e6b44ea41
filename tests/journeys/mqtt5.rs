//! Journeys of a host with the profile `mqttV5` alone: the steps of methods.

use hub::{Effect, Fault, Step};
use rig::{Rig, Running, SignedBy, set};
use serde_json::json;

async fn rig() -> Running {
    Rig::new()
        .certificate(SignedBy::Itself)
        .host(set("hub.profile", "mqttV5"))
        .plugin("reply.wat", set("methods", vec!["echo"]))
        .start()
        .await
}

#[tokio::test]
async fn repeated_probes_and_lost_messages_run_no_method_twice() {
    let rig = rig().await;
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
