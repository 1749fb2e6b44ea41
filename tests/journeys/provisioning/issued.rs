//! Certificates that the Device Provisioning Service and the hub issue, with lifetimes of
//! seconds.

use std::time::Duration;

use hub::{Effect, Fault, Refused, Step};
use protocol::id::DeviceId;
use protocol::provisioning::enrollment::Attestation;
use rig::{until, within};
use serde_json::json;

use super::individual;
use super::site::{Site, key};

const SECOND: Duration = Duration::from_secs(1);
pub(super) const TABLE: &str = "[provisioning.issued_certificate]\n";

fn device(id: &str) -> DeviceId {
    id.parse().unwrap()
}

/// Waits until a device reports another certificate than the one that ends at `before`.
async fn renewed(site: &Site, device: &DeviceId, before: Option<String>) -> Option<String> {
    until("another certificate is reported", || async {
        let reported = site.reported_end(device).await;
        (reported.is_some() && reported != before).then_some(reported)
    })
    .await
}

#[tokio::test]
async fn an_issued_certificate_signs_in_at_once_and_after_a_restart() {
    let site = Site::issuing(3600 * SECOND).await;
    let settings = site.settings(TABLE);
    let host = site.start(&settings, site.with_group_key("Pump-7"));
    let device = device("Pump-7");
    within("the device connects", site.hub().connected(&device)).await;
    assert_eq!(site.kind_of_sign_in(&device).await, "certificateAuthority");
    assert_eq!(site.echo(&device).await, json!("Pump-7"));
    host.stop().await.unwrap();

    // A registration would not succeed now.
    let refusal = Fault::new(Step::DpsConnect, Effect::Refuse(Refused::Unavailable)).times(1000);
    site.hub().faults().set(refusal).unwrap();
    let host = site.start(&settings, site.with_group_key("Pump-7"));
    within("the device connects again", site.hub().connected(&device)).await;
    assert_eq!(site.hub().faults().happened(), 0);
    host.stop().await.unwrap();
}

#[tokio::test]
async fn a_certificate_is_renewed_over_the_session_without_a_registration() {
    let site = Site::issuing(6 * SECOND).await;
    let _host = site.start(&site.settings(TABLE), site.with_group_key("pump-7"));
    let device = device("pump-7");
    within("the device connects", site.hub().connected(&device)).await;
    let refusal = Fault::new(Step::DpsConnect, Effect::Refuse(Refused::Unavailable)).times(1000);
    site.hub().faults().set(refusal).unwrap();
    let mut end = None;
    for _ in 0..3 {
        end = renewed(&site, &device, end).await;
        assert_eq!(site.echo(&device).await, json!("pump-7"));
    }
    assert_eq!(site.hub().faults().happened(), 0);
}

#[tokio::test]
async fn a_certificate_is_renewed_despite_any_fault_of_the_renewal() {
    let site = Site::issuing(6 * SECOND).await;
    let short = Duration::from_millis(300);
    let answers = [
        Effect::DropBefore,
        Effect::DropAfter,
        Effect::Lose,
        Effect::Delay(short),
        Effect::Duplicate,
        Effect::HalfOpen(short),
    ];
    let mut faults = Vec::new();
    for step in [Step::CertificateRequest, Step::CertificateAnswer] {
        faults.extend(answers.map(|effect| (step, effect)));
    }
    let refusals = [Effect::Throttle, Effect::Conflict, Effect::ServerError];
    faults.extend(refusals.map(|effect| (Step::CertificateRequest, effect)));
    let spoiled =
        [Effect::RejectCsr, Effect::ExpiredChain, Effect::UntrustedChain, Effect::BrokenBody];
    faults.extend(spoiled.map(|effect| (Step::CertificateAnswer, effect)));
    let mut hosts = Vec::new();
    for (number, (step, effect)) in faults.iter().enumerate() {
        let id = format!("pump-{number}");
        let fault = Fault::new(*step, *effect).of(&device(&id));
        site.hub().faults().set(fault).unwrap();
        let mut settings = site.settings(TABLE);
        settings.host.data = Some(site.folder().join(&id));
        settings.host.control_socket = site.folder().join(&id).join("s").into();
        hosts.push(site.start(&settings, site.with_group_key(&id)));
    }
    for (number, fault) in faults.iter().enumerate() {
        let device = device(&format!("pump-{number}"));
        within(format!("{device} connects"), site.hub().connected(&device)).await;
        let first = renewed(&site, &device, None).await;
        renewed(&site, &device, first).await;
        within(format!("{device} is ready after {fault:?}"), site.hub().connected(&device)).await;
        assert_eq!(site.echo(&device).await, json!(device.as_str()), "{fault:?}");
    }
    assert_eq!(site.hub().faults().happened(), faults.len() as u64);
}

#[tokio::test]
async fn a_device_that_slept_through_the_end_of_its_certificate_returns_by_its_key() {
    let lifetime = 5 * SECOND;
    let site = Site::issuing(lifetime).await;
    let settings = site.settings(TABLE);
    let host = site.start(&settings, site.with_group_key("pump-7"));
    let device = device("pump-7");
    within("the device connects", site.hub().connected(&device)).await;
    let end = renewed(&site, &device, None).await.unwrap();
    host.stop().await.unwrap();
    until("the certificate has expired", || async {
        let last: jiff::Timestamp = end.parse().unwrap();
        // The certificate can have been renewed once more before the host stopped.
        (jiff::Timestamp::now() > last + lifetime).then_some(())
    })
    .await;
    let _host = site.start(&settings, site.with_group_key("pump-7"));
    within("the device connects again", site.hub().connected(&device)).await;
    assert_eq!(site.echo(&device).await, json!("pump-7"));
}

#[tokio::test]
async fn an_enrollment_without_a_policy_issues_no_certificate() {
    let site = Site::new().await;
    site.enroll(individual("pump-7", Attestation::symmetric_key(Some(key(7)), None)));
    let settings = site.settings(TABLE);
    let error = host::renew(&settings, &site.with_key("pump-7", &key(7))).await.unwrap_err();
    assert!(error.to_string().contains("credentialPolicyName"), "{error}");
    let error = host::renew(&site.settings(""), &site.with_key("pump-7", &key(7))).await;
    assert!(error.unwrap_err().hint().is_some());
}
