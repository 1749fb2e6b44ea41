//! Devices that the Device Provisioning Service assigns to the hub.

mod issued;
mod matrix;
mod profile;
mod refusals;
mod rotation;
mod round_trips;
mod site;

use host::Fleet;
use hub::{Effect, Fault, Refused, Step};
use protocol::id::DeviceId;
use protocol::provisioning::enrollment::{
    Attestation, CertificatePair, Enrollment, X509Attestation,
};
use rig::{CertificateFiles, DEVICE, until, within};
use serde_json::json;

use site::{Site, key};

#[tokio::test]
async fn a_device_of_a_group_registers_once_and_a_later_start_uses_the_assignment() {
    let site = Site::new().await;
    site.create_group();
    let host = site.start(&site.settings(""), site.with_group_key("Pump-7"));
    let device: DeviceId = "Pump-7".parse().unwrap();
    within("the device connects", site.hub().connected(&device)).await;
    assert_eq!(site.echo(&device).await, json!("Pump-7"));
    host.stop().await.unwrap();

    // A registration would not succeed now.
    let refusal = Fault::new(Step::DpsConnect, Effect::Refuse(Refused::Unavailable)).times(1000);
    site.hub().faults().set(refusal).unwrap();
    let host = site.start(&site.settings(""), site.with_group_key("Pump-7"));
    within("the device connects again", site.hub().connected(&device)).await;
    assert_eq!(site.hub().faults().happened(), 0);
    host.stop().await.unwrap();
}

#[tokio::test]
async fn an_individual_enrollment_can_name_another_device_id() {
    let site = Site::new().await;
    let mut enrollment = individual("board-1", Attestation::symmetric_key(Some(key(7)), None));
    enrollment.device_id = Some("Pump-7".parse().unwrap());
    site.enroll(enrollment);
    let _host = site.start(&site.settings(""), site.with_key("board-1", &key(7)));
    let device: DeviceId = "Pump-7".parse().unwrap();
    within("the device connects", site.hub().connected(&device)).await;
    assert_eq!(site.echo(&device).await, json!("Pump-7"));
}

#[tokio::test]
async fn devices_with_certificates_register_in_both_kinds_of_enrollments() {
    let site = Site::with_authority().await;
    let own = site.certificate("pump-1");
    site.enroll(individual("pump-1", client_certificate(&own.certificate, None)));
    let signed = site.certificate_of_authority();
    let authority = std::fs::read_to_string(&signed.root).unwrap();
    let certificates = CertificatePair::new(authority, None);
    site.create_group_of(Attestation::x509(X509Attestation {
        signing_certificates: Some(certificates),
        ..X509Attestation::default()
    }));
    for (name, files) in [("pump-1", own), (DEVICE, signed)] {
        let settings = site.settings(&settings_of(&files));
        let registration = host::with_certificate(&settings).unwrap();
        let host = site.start(&settings, registration);
        let device: DeviceId = name.parse().unwrap();
        within("the device connects", site.hub().connected(&device)).await;
        assert_eq!(site.echo(&device).await, json!(name));
        host.stop().await.unwrap();
    }
}

#[tokio::test]
async fn a_replaced_certificate_is_registered_while_the_device_stays_connected() {
    let site = Site::new().await;
    let files = site.certificate("pump-1");
    let next = site.certificate("pump-1");
    let both = client_certificate(&files.certificate, Some(&next.certificate));
    site.enroll(individual("pump-1", both));
    let settings = site.settings(&settings_of(&files));
    let registration = host::with_certificate(&settings).unwrap();
    let _host = site.start(&settings, registration);
    let device: DeviceId = "pump-1".parse().unwrap();
    within("the device connects", site.hub().connected(&device)).await;
    let thumbprint = || async { site.thumbprint(&device).await };
    let first = thumbprint().await;

    std::fs::rename(&next.key, &files.key).unwrap();
    std::fs::rename(&next.certificate, &files.certificate).unwrap();
    // The files are checked when a connection is opened, and otherwise every 30 seconds.
    site.hub().drop_connection(&device);
    until("the new certificate is registered", || async {
        (thumbprint().await != first).then_some(())
    })
    .await;
    within("the device connects", site.hub().connected(&device)).await;
    assert_eq!(site.echo(&device).await, json!("pump-1"));
}

#[tokio::test]
async fn a_device_that_the_hub_no_longer_knows_registers_again() {
    let site = Site::new().await;
    site.create_group();
    let _host = site.start(&site.settings(""), site.with_group_key("pump-7"));
    let device: DeviceId = "pump-7".parse().unwrap();
    within("the device connects", site.hub().connected(&device)).await;

    site.client().delete_device(&device).await.unwrap();
    until("the device is gone", || async { (!site.hub().is_connected(&device)).then_some(()) })
        .await;
    within("the device connects again", site.hub().connected(&device)).await;
    assert_eq!(site.echo(&device).await, json!("pump-7"));
}

#[tokio::test]
async fn a_running_host_follows_an_assignment_that_a_command_has_made() {
    let (first, second) = (Site::new().await, Site::new().await);
    first.create_group();
    second.create_group();
    first.trust(&second);
    let registration = first.with_group_key("pump-7");
    let _host = first.start(&first.settings(""), registration.clone());
    let device: DeviceId = "pump-7".parse().unwrap();
    within("the device connects", first.hub().connected(&device)).await;

    let elsewhere = first.settings_at(&second);
    host::provision(&elsewhere, &registration).await.unwrap();
    assert!(!second.hub().is_connected(&device));
    first.hub().drop_connection(&device);
    within("the device connects to the other hub", second.hub().connected(&device)).await;
    assert_eq!(second.echo(&device).await, json!("pump-7"));
}

#[tokio::test]
async fn every_device_of_a_simulated_group_is_provisioned() {
    let site = Site::new().await;
    site.create_group();
    let fleet = Fleet::of_group(&key(1).parse().unwrap(), "sim-", 40).unwrap();
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let stopped = async { drop(stopped.await) };
    let simulation = host::simulate(site.settings(""), fleet, 1000, stopped, |_| ());
    let simulation = tokio::spawn(simulation);
    for number in 1..=40 {
        let device: DeviceId = format!("sim-{number:04}").parse().unwrap();
        within(format!("{device} connects"), site.hub().connected(&device)).await;
        assert_eq!(site.echo(&device).await, json!(device.as_str()));
    }
    stop.send(()).unwrap();
    let figures = within("the fleet drains", simulation).await.unwrap().unwrap();
    assert_eq!((figures.max_connected, figures.errors), (40, 0));
}

fn individual(id: &str, attestation: Attestation) -> Enrollment {
    Enrollment { registration_id: Some(id.to_owned()), attestation, ..Enrollment::default() }
}

/// Returns the attestation with the certificates in these files.
fn client_certificate(
    primary: &std::path::Path,
    secondary: Option<&std::path::Path>,
) -> Attestation {
    let text = |path: &std::path::Path| std::fs::read_to_string(path).unwrap();
    let pair = CertificatePair::new(text(primary), secondary.map(text));
    Attestation::x509(X509Attestation {
        client_certificates: Some(pair),
        ..X509Attestation::default()
    })
}

/// Returns the lines of `[provisioning]` for a certificate.
fn settings_of(files: &CertificateFiles) -> String {
    let CertificateFiles { certificate, key, .. } = files;
    format!("certificate_file = {certificate:?}\nkey_file = {key:?}\n")
}
