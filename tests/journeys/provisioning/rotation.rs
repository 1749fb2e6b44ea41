//! Rotation of the authority of a hub, which also issues the certificates of devices.

use std::fs;
use std::path::Path;

use host::{Config, Identity, Registration};
use hub::{Hub, HubConfig};
use protocol::id::DeviceId;
use protocol::provisioning::enrollment::{Attestation, Enrollment};
use rig::within;

use super::issued::TABLE;
use super::site::key;

/// Starts a hub whose authority is in its own directory. The registry is that of all hubs.
async fn hub(folder: &Path, authority: &str, mqtt_port: u16) -> Hub {
    let config = HubConfig {
        data: Some(folder.join("hub")),
        ca_folder: Some(folder.join(authority)),
        mqtt_port,
        ..HubConfig::default()
    };
    let hub = Hub::start(config).await.unwrap();
    let new = folder.join("ca.pem.new");
    fs::write(&new, hub.ca_pem()).unwrap();
    fs::rename(new, folder.join("ca.pem")).unwrap();
    hub
}

#[tokio::test]
async fn a_rotated_authority_costs_the_device_one_registration() {
    let folder = tempfile::tempdir().unwrap();
    let _plugin = fixtures::write("reply.wat", folder.path());
    let first = hub(folder.path(), "first", 0).await;
    let enrollment = Enrollment {
        registration_id: Some("pump-7".to_owned()),
        attestation: Attestation::symmetric_key(Some(key(7)), None),
        credential_policy_name: Some("default".to_owned()),
        ..Enrollment::default()
    };
    first.provisioning().create_enrollment(enrollment).unwrap();
    let port = first.mqtt_port();
    let toml = format!(
        "hub.ca_file = \"ca.pem\"\nhost.data = \"data\"\nhost.control_socket = \"c/s\"\n\
         plugins.reply = {{ file = \"reply.wasm\", methods = [\"*\"] }}\n\
         [provisioning]\nendpoint = \"localhost:{port}\"\nid_scope = \"{}\"\n{TABLE}",
        first.provisioning().id_scope(),
    );
    let settings = Config::parse(&toml, folder.path()).unwrap();
    let id = "pump-7".parse().unwrap();
    let registration = Registration::with_key(id, key(7).parse().unwrap()).unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stopped = async { drop(stopped.await) };
    let host = tokio::spawn(host::run(settings, Identity::Registration(registration), stopped));
    let device: DeviceId = "pump-7".parse().unwrap();
    within("the device connects", first.connected(&device)).await;
    let certificate = || fs::read_to_string(folder.path().join("data/device-certificate.pem"));
    let earlier = certificate().unwrap();

    first.stop().await;
    let second = hub(folder.path(), "second", port).await;
    within("the device connects with another certificate", second.connected(&device)).await;

    assert_ne!(certificate().unwrap(), earlier);
    stop.send(()).unwrap();
    within("the host stops", host).await.unwrap().unwrap();
}
