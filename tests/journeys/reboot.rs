//! A reboot of the machine, as far as a test machine can show it: the command is
//! run, the boot id is another, and the job tells.

use rig::{Rig, config, set};
use serde_json::json;

#[tokio::test]
async fn a_reboot_that_was_asked_for_is_made_and_told_after_the_boot() {
    let folder = tempfile::tempdir().unwrap();
    let asked = folder.path().join("asked");
    let command = vec!["touch", asked.to_str().unwrap()];
    let mut rig = Rig::new()
        .real_reboot([config("property", "status.lastReboot")])
        .host(set("host.reboot_command", command))
        .start()
        .await;

    let answer = rig.service.call("rebootDevice", json!({"delaySeconds": 0.05})).await.unwrap();
    assert_eq!(answer.status, 202);
    while !asked.exists() {
        tokio::task::yield_now().await;
    }
    rig.stop_host().await.unwrap();
    let twin = rig.service.client.twin(&rig.service.device).await.unwrap();
    assert!(!twin.properties.reported.contains_key("status"));
    rig.boot_machine();
    rig.start_host().await;

    rig.until_reported("/status/rebooted", &json!(true)).await;
    let twin = rig.service.client.twin(&rig.service.device).await.unwrap();
    assert!(twin.properties.reported["status"]["lastReboot"].is_string());
}

#[tokio::test]
async fn a_machine_that_does_not_reboot_is_told_as_such_and_the_host_goes_on() {
    let rig = Rig::new()
        .real_reboot([config("boot_within_seconds", 1), set("methods", vec!["rebootDevice"])])
        .plugin("reply.wat", set("methods", vec!["echo"]))
        .host(set("host.reboot_command", vec!["false"]))
        .start()
        .await;

    let answer = rig.service.call("rebootDevice", json!({"delaySeconds": 0})).await.unwrap();
    assert_eq!(answer.status, 202);

    rig.until_reported("/rebooted", &json!(false)).await;
    assert_eq!(rig.service.call("echo", json!("on")).await.unwrap().payload, json!("on"));
}
