//! Tests of devices that sign in with a certificate, and of those beside them with a token.

use protocol::sas::sign;
use serde_json::{Value, json};

use super::*;
use crate::certificates::tests::{NOW, authority, device, presented, trusting};
use crate::state::IdentityRequest;

fn state_with(authentication: Value) -> std::sync::Arc<State> {
    let state = State::open(None, vec!["localhost".into()]).unwrap();
    let request: IdentityRequest =
        serde_json::from_value(json!({ "authentication": authentication })).unwrap();
    state.create(&owner(), &request).unwrap();
    state
}

fn owner() -> Owner {
    Owner::device(&"d1".parse().unwrap())
}

/// Returns the reason for which the device `d1` is refused, if it is.
fn refusal(state: &State, credentials: &DeviceCredentials) -> Option<String> {
    let user: UserName = "localhost/d1/?api-version=2021-04-12".parse().unwrap();
    state.authenticate_device(&user, credentials, NOW).err().map(|refusal| refusal.to_string())
}

#[test]
fn a_registered_thumbprint_signs_in_without_a_password() {
    let certificate = device("any", (2026, 2027), None);
    let thumbprint = trust::sha256_thumbprint(&certificate.certificate);
    // The Node client registers a thumbprint without a type.
    let state = state_with(json!({ "x509Thumbprint": { "primaryThumbprint": thumbprint } }));
    let mut credentials =
        DeviceCredentials { certificates: presented(&[&certificate]), ..Default::default() };
    let user: UserName = "localhost/d1/?api-version=2021-04-12".parse().unwrap();

    let grant = state.authenticate_device(&user, &credentials, NOW).unwrap();
    assert_eq!(grant.expires_unix, None);
    credentials.password = Some(String::new());
    assert_eq!(refusal(&state, &credentials), None);
    credentials.password = Some(String::from("SharedAccessSignature sr=a&sig=YQ%3D%3D&se=9"));
    let reason = "not authorised: a password, but the device needs a certificate";
    assert_eq!(refusal(&state, &credentials).as_deref(), Some(reason));
    let reason = "not authorised: no certificate, which this device signs in with";
    assert_eq!(refusal(&state, &DeviceCredentials::default()).as_deref(), Some(reason));

    let identity = state.get(&owner()).unwrap().identity_view();
    assert_eq!(identity["authentication"]["type"], "selfSigned");
    assert_eq!(identity["authentication"]["x509Thumbprint"]["primaryThumbprint"], thumbprint);
    let keys = json!({ "primaryKey": null, "secondaryKey": null });
    assert_eq!(identity["authentication"]["symmetricKey"], keys);
}

#[test]
fn a_certificate_of_a_trusted_authority_signs_in() {
    let root = authority("root", None);
    let intermediate = authority("intermediate", Some(&root));
    let leaf = device("d1", (2026, 2027), Some(&intermediate));
    let state = state_with(json!({ "type": "certificateAuthority" }));
    let credentials = DeviceCredentials {
        certificates: presented(&[&leaf, &intermediate]),
        authorities: trusting(&[&root]),
        ..Default::default()
    };

    assert_eq!(refusal(&state, &credentials), None);

    let disabled: IdentityRequest = serde_json::from_value(json!({"status": "disabled"})).unwrap();
    state.update(&owner(), &disabled, &crate::state::IfMatch::Any).unwrap();
    let reason = "not authorised: the device is disabled";
    assert_eq!(refusal(&state, &credentials).as_deref(), Some(reason));
}

#[test]
fn a_certificate_does_not_replace_the_token_of_a_device_with_keys() {
    let state = State::open(None, vec!["localhost".into()]).unwrap();
    let key = state.create_device(&owner().device).unwrap();
    let certificate = device("d1", (2026, 2027), None);
    let mut credentials =
        DeviceCredentials { certificates: presented(&[&certificate]), ..Default::default() };

    let reason = "not authorised: no password; the device needs a SAS token";
    assert_eq!(refusal(&state, &credentials).as_deref(), Some(reason));
    let token = sign("localhost/devices/d1", None, &key, NOW + 60);
    credentials.password = Some(token.to_string());
    assert_eq!(refusal(&state, &credentials), None);
}

#[test]
fn a_malformed_thumbprint_is_refused() {
    for thumbprint in ["AB", "AB:CD", &"G".repeat(40), &"A".repeat(63)] {
        let authentication = json!({
            "type": "selfSigned",
            "x509Thumbprint": { "primaryThumbprint": "", "secondaryThumbprint": thumbprint },
        });
        let request = serde_json::from_value(json!({ "authentication": authentication })).unwrap();
        let state = State::open(None, vec!["localhost".into()]).unwrap();
        let error = state.create(&owner(), &request).unwrap_err();
        assert_eq!(
            error.message,
            "secondaryThumbprint is not a thumbprint of 40 (SHA-1) or 64 (SHA-256) hex digits"
        );
    }
}
