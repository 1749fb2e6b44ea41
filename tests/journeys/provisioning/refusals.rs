//! Refusals of the Device Provisioning Service. Each ends with a connection, or with one line and
//! a way out.

use host::{Registration, RunError};
use hub::{Effect, Fault, Step};
use protocol::id::DeviceId;
use protocol::provisioning::enrollment::{Attestation, ProvisioningStatus};
use protocol::registry::DeviceStatus;
use rig::within;
use serde_json::json;

use super::site::{Site, key};
use super::{individual, settings_of};

#[tokio::test]
async fn a_device_that_was_disabled_at_the_hub_connects_once_it_is_enabled() {
    let site = Site::new().await;
    site.create_group();
    let device: DeviceId = "pump-7".parse().unwrap();
    site.hub().faults().set(Fault::new(Step::DpsStatus, Effect::Disable).of(&device)).unwrap();
    let host = site.start(&site.settings(""), site.with_group_key("pump-7"));
    within("the registration", site.hub().faults().until_happened(1)).await;
    let mut identity = site.client().device(&device).await.unwrap();
    identity.status = DeviceStatus::Enabled;
    site.client().update_identity(&identity).await.unwrap();
    within("the device connects", site.hub().connected(&device)).await;
    host.stop().await.unwrap();
}

/// Returns the message and the hint of a registration that the service refuses.
async fn refused(site: &Site, more: &str, registration: Registration) -> (String, String) {
    let outcome = host::provision(&site.settings(more), &registration).await;
    let error: RunError = outcome.unwrap_err();
    let hint = error.hint().unwrap();
    (error.to_string(), hint)
}

#[tokio::test]
async fn a_wrong_credential_or_id_is_refused_with_a_way_out() {
    let site = Site::new().await;
    site.create_group();
    let own = || Attestation::symmetric_key(Some(key(7)), None);
    site.enroll(individual("pump-1", own()));
    let mut disabled = individual("pump-2", own());
    disabled.provisioning_status = Some(ProvisioningStatus::Disabled);
    site.enroll(disabled);
    let files = site.certificate("pump-3");
    let unknown = host::with_certificate(&site.settings(&settings_of(&files))).unwrap();
    for (more, registration, message, hint) in [
        (String::new(), site.with_key("pump-1", &key(8)), "`pump-1` refused", "individual"),
        // The key of the group in place of one of an individual enrollment.
        (String::new(), site.with_key("pump-1", &key(1)), "`pump-1` refused", "`group_key_file`"),
        (String::new(), site.with_group_key("pump-1"), "`pump-1` refused", "`symmetric_key_file`"),
        (String::new(), site.with_key("pump-2", &key(7)), "is disabled", "enable the enrollment"),
        (settings_of(&files), unknown, "`pump-3` refused", "intermediate ones"),
    ] {
        let (found, way_out) = refused(&site, &more, registration).await;
        assert!(found.contains(message) && !found.contains('\n'), "{found}");
        assert!(way_out.contains(hint), "{found}: {way_out}");
        assert!(!found.contains(&key(7)) && !found.contains(&key(1)), "{found}");
    }
    let mut settings = site.settings("");
    settings.provisioning.as_mut().unwrap().id_scope = "0ne99999999".parse().unwrap();
    let error = host::provision(&settings, &site.with_group_key("pump-9")).await.unwrap_err();
    assert!(error.hint().unwrap().contains("`id_scope`"), "{error}");
}

#[tokio::test]
async fn a_refused_device_connects_once_it_is_enrolled() {
    let site = Site::new().await;
    let host = site.start(&site.settings(""), site.with_key("pump-1", &key(7)));
    site.hub().faults().set(Fault::new(Step::DpsRegister, Effect::Duplicate)).unwrap();
    within("the first registration", site.hub().faults().until_happened(1)).await;
    site.enroll(individual("pump-1", Attestation::symmetric_key(Some(key(7)), None)));
    let device: DeviceId = "pump-1".parse().unwrap();
    within("the device connects", site.hub().connected(&device)).await;
    assert_eq!(site.echo(&device).await, json!("pump-1"));
    host.stop().await.unwrap();
}
