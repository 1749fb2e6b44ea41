//! Cloud-to-device messages.

use serde_json::json;

use super::{Rig, UNKNOWN_DEVICE_HINT, check};

#[tokio::test(flavor = "multi_thread")]
async fn a_message_is_sent_purged_and_its_outcome_printed_once() {
    let rig = Rig::start().await;
    rig.hub.create_device(&"d1".parse().unwrap()).unwrap();
    let sent = rig.json(&["messages", "send", "d1", "hi", "--id", "m-1", "--ack", "full"]);
    assert_eq!(sent, json!({ "messageId": "m-1" }));
    let chosen = rig.text(&["messages", "send", "d1", "--property", "a=b", "--expires-in", "10m"]);
    assert_eq!(chosen.trim().len(), 36, "{chosen}");
    assert_eq!(rig.text(&["messages", "purge", "d1"]), "2 messages\n");

    let outcome = rig.json(&["messages", "feedback"]);
    assert_eq!(outcome["originalMessageId"], "m-1");
    assert_eq!(outcome["statusCode"], "Purged");
    assert_eq!(rig.text(&["messages", "feedback"]), "");
    rig.text(&["messages", "send", "d1", "--id", "m-2", "--ack", "negative"]);
    assert_eq!(rig.json(&["messages", "purge", "d1"]), json!({ "purged": 1 }));
    let line = rig.text(&["messages", "feedback"]);
    assert!(line.ends_with("Z  d1  m-2  Purged\n"), "{line}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_refused_message_names_the_reason() {
    let rig = Rig::start().await;
    let done = rig.run(&["messages", "send", "nobody", "hi"]);
    let unknown = "error: device `nobody`: DeviceNotFound (404001): nobody\n";
    check(&done, 4, &[unknown, UNKNOWN_DEVICE_HINT].concat());
    rig.hub.create_device(&"d1".parse().unwrap()).unwrap();
    let done = rig.run(&["messages", "send", "d1", "hi", "--expires-in", "3d"]);
    assert!(
        String::from_utf8_lossy(&done.stderr).contains("iothub-expiry: not within the next 2 days")
    );
    for wrong in [["--ack", "some"], ["--property", "a"], ["--property", "$.mid=1"]] {
        let arguments = [&["messages", "send", "d1", "hi"], &wrong[..]].concat();
        assert_eq!(rig.run(&arguments).status.code(), Some(2), "{wrong:?}");
    }
}
