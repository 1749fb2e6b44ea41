//! Tests of a reboot of the machine, with a simulated reboot command and boot id.

use std::time::Duration;

use rig::{Rig, TIMEOUT, config, set, until};
use serde_json::json;
use service::{ServiceError, ServiceErrorKind};

#[tokio::test]
async fn a_requested_reboot_happens_and_is_reported_after_the_boot() {
    let folder = tempfile::tempdir().unwrap();
    let requested = folder.path().join("requested");
    let command = vec!["touch", requested.to_str().unwrap()];
    let mut rig = Rig::new()
        .real_reboot([config("property", "status.lastReboot")])
        .host(set("host.reboot_command", command))
        .start()
        .await;

    let answer = rig.service.call("rebootDevice", json!({"delaySeconds": 0.05})).await.unwrap();
    assert_eq!(answer.status, 202);
    until("the reboot command runs", || async { requested.exists().then_some(()) }).await;
    rig.stop_host().await.unwrap();
    assert_eq!(rig.service.reported().await.get("status"), None);
    rig.boot_machine();
    rig.start_host().await;

    rig.until_reported("/status/rebooted", &json!(true)).await;
    assert!(rig.service.reported().await["status"]["lastReboot"].is_string());
}

#[tokio::test]
async fn a_failed_reboot_is_reported_and_the_host_continues() {
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

#[tokio::test]
async fn a_service_is_notified_of_each_reboot_that_failed() {
    let rig = Rig::new()
        .real_reboot([config("boot_within_seconds", 1), config("delay_seconds", 0)])
        .host(set("host.reboot_command", vec!["false"]))
        .start()
        .await;
    let service = &rig.service;

    for _ in 0..2 {
        let reboot = service::reboot::reboot(&service.client, &service.device, TIMEOUT, |_| {});
        let error = reboot.await.unwrap_err();
        assert_eq!(error.to_string(), "device `device-1` has reported that it was not rebooted");
        assert_eq!(error.kind(), ServiceErrorKind::Device);
    }
}

#[tokio::test]
async fn a_service_waits_for_the_outcome_of_a_reboot_until_its_timeout() {
    let rig = Rig::new()
        .reboot([config("property", "another"), config("delay_seconds", 0)])
        .start()
        .await;
    let service = &rig.service;

    let wait = Duration::from_millis(50);
    let reboot = service::reboot::reboot(&service.client, &service.device, wait, |_| {});
    let error = reboot.await.unwrap_err();

    assert!(matches!(error, ServiceError::NotReported { timeout, .. } if timeout == wait));
    let expected = "device `device-1` has reported no new rebootTime within 50ms";
    assert_eq!(error.to_string(), expected);
}
