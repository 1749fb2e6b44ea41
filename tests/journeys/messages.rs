//! Tests of cloud-to-device messages from the service to a plugin.

use rig::{Rig, Running, set, until};
use serde_json::{Value, json};
use service::{HttpMessage, MessageProperties, Outcome};

/// Starts a rig whose plugin receives the messages of the device.
async fn rig() -> Running {
    Rig::new().plugin("mails.wat", ()).host(set("hub.messages", "mails")).start().await
}

async fn send(rig: &Running, body: &str, properties: &[(&str, &str)]) {
    let with = |bag: MessageProperties, (name, value): &(&str, &str)| bag.with(*name, *value);
    let start = MessageProperties::default().with(MessageProperties::ACK, "full");
    let properties = properties.iter().fold(start, with);
    let message = HttpMessage { properties, body: body.into() };
    rig.service.client.send_message(&rig.service.device, &message).await.unwrap();
}

/// Waits for the outcome of a message, which the host has acknowledged.
async fn outcome(rig: &Running) -> Outcome {
    let client = &rig.service.client;
    let feedback =
        until("there is feedback", || async { client.receive_feedback().await.unwrap() }).await;
    client.complete_feedback(&feedback.lock).await.unwrap();
    feedback.records[0].status_code
}

#[tokio::test]
async fn a_message_is_acknowledged_and_reaches_the_plugin() {
    let rig = rig().await;
    send(&rig, r#"{"got":1}"#, &[]).await;
    rig.until_reported("/got", &json!(1)).await;
    assert_eq!(outcome(&rig).await, Outcome::Success);
}

#[tokio::test]
async fn messages_that_arrive_while_the_host_is_stopped_reach_the_plugin_later() {
    let mut rig = rig().await;
    rig.stop_host().await.unwrap();
    send(&rig, r#"{"one":1}"#, &[]).await;
    send(&rig, r#"{"two":2}"#, &[]).await;
    rig.start_host().await;
    rig.until_reported("/one", &json!(1)).await;
    rig.until_reported("/two", &json!(2)).await;
}

#[tokio::test]
async fn a_message_that_is_rejected_or_needs_a_retry_does_not_block_the_next_one() {
    let rig = rig().await;
    send(&rig, "reject", &[("why", "because")]).await;
    send(&rig, "later", &[]).await;
    send(&rig, r#"{"got":2}"#, &[]).await;
    rig.until_reported("/got", &json!(2)).await;
    until("no message is queued", || async {
        let twin = rig.service.client.twin(&rig.service.device).await.unwrap();
        let twin = serde_json::to_value(twin).unwrap();
        (twin["cloudToDeviceMessageCount"] == 0).then_some(())
    })
    .await;
}

#[tokio::test]
async fn a_host_without_a_receiver_does_not_take_messages_from_the_hub() {
    let rig = Rig::new().plugin("mails.wat", ()).start().await;
    send(&rig, r#"{"got":1}"#, &[]).await;
    assert_eq!(rig.service.call("m", Value::Null).await.unwrap().status, 200);
    let purged = rig.service.client.purge_messages(&rig.service.device).await.unwrap();
    assert_eq!(purged, 1);
}
