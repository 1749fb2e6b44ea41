//! Devices that sign in with a certificate.

use protocol::registry::{DeviceIdentity, DeviceStatus};
use rig::{DEVICE, Rig, SignedBy, config, set, until};
use serde_json::json;

#[tokio::test]
async fn a_host_with_a_certificate_is_rebooted_by_the_service() {
    let folder = tempfile::tempdir().unwrap();
    let requested = folder.path().join("requested");
    let command = vec!["touch", requested.to_str().unwrap()];
    let mut rig = Rig::new()
        .certificate(SignedBy::Itself)
        .real_reboot([config("property", "status.lastReboot")])
        .host(set("host.reboot_command", command))
        .start()
        .await;
    rig.until_reported("/certificate/validUntil", &json!("2100-01-01T00:00:00Z")).await;

    let answer = rig.service.call("rebootDevice", json!({"delaySeconds": 0.05})).await.unwrap();
    assert_eq!(answer.status, 202);
    until("the reboot command runs", || async { requested.exists().then_some(()) }).await;
    rig.stop_host().await.unwrap();
    rig.boot_machine();
    rig.start_host().await;

    rig.until_reported("/status/rebooted", &json!(true)).await;
}

#[tokio::test]
async fn a_chain_through_an_intermediate_authority_signs_in() {
    let rig = Rig::new()
        .certificate(SignedBy::Authority)
        .plugin("reply.wat", set("methods", vec!["echo"]))
        .start()
        .await;

    assert_eq!(rig.service.call("echo", json!(1)).await.unwrap().payload, json!(1));
}

#[tokio::test]
async fn the_next_connection_uses_a_changed_certificate() {
    let rig = Rig::new().certificate(SignedBy::Authority).plugin("reply.wat", ()).start().await;
    rig.until_reported("/certificate/validUntil", &json!("2100-01-01T00:00:00Z")).await;
    let files = rig.certificate_files();

    // The other authority is not trusted, so the thumbprint of the new certificate is registered.
    let registration = files.write(DEVICE, SignedBy::Itself, 2101);
    let identity = DeviceIdentity {
        authentication: Some(registration),
        ..DeviceIdentity::new(DEVICE.parse().unwrap())
    };
    rig.service.client.update_identity(&identity).await.unwrap();
    rig.hub().drop_connection(&rig.service.device);

    rig.until_reported("/certificate/validUntil", &json!("2101-01-01T00:00:00Z")).await;
}

#[tokio::test]
async fn a_disabled_device_with_a_certificate_is_disconnected_until_it_is_enabled() {
    let rig = Rig::new().certificate(SignedBy::Itself).plugin("reply.wat", ()).start().await;
    let identity = rig.service.client.device(&rig.service.device).await.unwrap();
    assert_eq!(identity.authentication.as_ref().unwrap().kind, "selfSigned");

    let disabled = DeviceIdentity { status: DeviceStatus::Disabled, ..identity.clone() };
    rig.service.client.update_identity(&disabled).await.unwrap();

    until("the device is disconnected", || async {
        (!rig.hub().is_connected(&rig.service.device)).then_some(())
    })
    .await;
    rig.service.client.update_identity(&identity).await.unwrap();
    rig.ready().await;
}
