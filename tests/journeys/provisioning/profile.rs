//! Devices that follow the connection profile of their assignment.

use protocol::id::DeviceId;
use protocol::mqtt5::ConnectionProfile;
use rig::within;
use serde_json::json;

use super::site::Site;
use super::{client_certificate, individual, settings_of};

/// Returns a site where `pump-1` can register with a certificate, and the lines of its
/// settings.
async fn site_of(device: &str) -> (Site, String) {
    let site = Site::new().await;
    let files = site.certificate(device);
    site.enroll(individual(device, client_certificate(&files.certificate, None)));
    (site, settings_of(&files))
}

#[tokio::test]
async fn a_device_connects_with_the_profile_of_its_assignment() {
    let (site, lines) = site_of("pump-1").await;
    let device: DeviceId = "pump-1".parse().unwrap();
    site.hub().set_profile(&device, ConnectionProfile::MqttV5);
    let settings = site.settings(&lines);
    let registration = host::with_certificate(&settings).unwrap();
    // The second start reads the profile from the disk.
    for _ in 0..2 {
        let host = site.start(&settings, registration.clone());
        // The hub refuses this device with MQTT 3.1.1.
        within("the device connects", site.hub().connected(&device)).await;
        assert_eq!(site.echo(&device).await, json!("pump-1"));
        host.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_running_host_changes_the_profile_with_its_assignment() {
    let (site, lines) = site_of("pump-1").await;
    let device: DeviceId = "pump-1".parse().unwrap();
    let settings = site.settings(&lines);
    let registration = host::with_certificate(&settings).unwrap();
    let _host = site.start(&settings, registration.clone());
    within("the device connects", site.hub().connected(&device)).await;

    for profile in [ConnectionProfile::MqttV5, ConnectionProfile::Classic] {
        site.hub().set_profile(&device, profile);
        host::provision(&settings, &registration).await.unwrap();
        assert!(site.hub().drop_connection(&device));
        within(format!("the device connects as {profile}"), site.hub().connected(&device)).await;
        assert_eq!(site.echo(&device).await, json!("pump-1"), "{profile}");
    }
}

#[tokio::test]
async fn an_assignment_that_the_device_cannot_use_is_refused_with_a_way_out() {
    let (site, lines) = site_of("pump-1").await;
    site.create_group();
    for device in ["pump-1", "pump-2"] {
        site.hub().set_profile(&device.parse().unwrap(), ConnectionProfile::MqttV5);
    }
    let settings = site.settings(&lines);
    let with_certificate = host::with_certificate(&settings).unwrap();
    let mut configured = settings.clone();
    // A preview API version is not used, so the service does not name the profile.
    configured.hub.profile = Some(ConnectionProfile::Classic);
    host::provision(&configured, &with_certificate).await.unwrap();

    site.hub().set_profile(&"pump-1".parse().unwrap(), ConnectionProfile::Classic);
    configured.hub.profile = Some(ConnectionProfile::MqttV5);
    for (settings, registration, message) in [
        (configured, with_certificate, "`mqttV5`, but that of the assigned hub is `classic`"),
        // A device with a key.
        (site.settings(""), site.with_group_key("pump-2"), "a device needs a certificate"),
    ] {
        let error = host::provision(&settings, &registration).await.unwrap_err();
        let (found, hint) = (error.to_string(), error.hint().unwrap());
        assert!(found.contains(message) && !found.contains('\n'), "{found}");
        assert!(hint.contains("link another hub"), "{hint}");
    }
}
