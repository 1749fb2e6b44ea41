//! Tests of the directory without a transport.

use super::*;

const AUTHORITY: &str = "https://localhost:8443";
const NOW: u64 = 1_800_000_000;

fn directory() -> Directory {
    Directory::new("c2VjcmV0".to_owned()).unwrap()
}

/// Returns the form of a request with the secret, with these fields in place of its own.
fn form(changes: &[(&str, &str)]) -> BTreeMap<String, String> {
    let scope = "https://iothubs.azure.net/.default";
    let own = [
        ("grant_type", "client_credentials"),
        ("client_id", CLIENT_ID),
        ("client_secret", "c2VjcmV0"),
        ("scope", scope),
    ];
    own.iter().chain(changes).map(|(name, value)| ((*name).into(), (*value).into())).collect()
}

/// Returns the form of a request with an assertion.
fn asserted(assertion: &str) -> BTreeMap<String, String> {
    let mut form =
        form(&[("client_assertion_type", ASSERTION_TYPE), ("client_assertion", assertion)]);
    form.remove("client_secret");
    form
}

#[test]
fn a_token_is_accepted_by_its_resource_until_it_expires() {
    let directory = directory();
    let token = directory.issue(TENANT_ID, &form(&[]), AUTHORITY, NOW).unwrap();
    let check = |resource, now| directory.check(&token.text, resource, now);
    assert_eq!(check(Resource::Hub, NOW), Ok(()));
    let until = NOW + token.seconds;
    assert_eq!(check(Resource::Hub, until - 1), Ok(()));
    assert_eq!(check(Resource::Hub, until), Err(AccessDenied::Expired(until)));
    assert_eq!(check(Resource::Hub, NOW - 1), Err(AccessDenied::TooEarly(NOW)));
    let audience = AccessDenied::Audience("https://iothubs.azure.net".to_owned());
    assert_eq!(check(Resource::Provisioning, NOW), Err(audience));
    let other = Directory::new(String::new()).unwrap();
    let denied = other.check(&token.text, Resource::Hub, NOW);
    assert_eq!(denied, Err(AccessDenied::Invalid(InvalidToken::Signature)));
}

#[test]
fn a_token_of_another_tenant_is_refused() {
    let directory = directory();
    let claims = json!({ "tid": "other", "aud": Resource::Hub.name(), "exp": NOW + 60 });
    let token = directory.signed(&claims);
    let denied = directory.check(&token, Resource::Hub, NOW);
    assert_eq!(denied, Err(AccessDenied::Tenant("other".to_owned())));
}

#[test]
fn a_federated_token_signs_in_in_place_of_the_secret() {
    let directory = directory();
    let issue = |assertion: &str, now| {
        directory.issue(TENANT_ID, &asserted(assertion), AUTHORITY, now).map(drop)
    };
    let token = directory.federated_token_at(NOW);
    assert_eq!(issue(&format!("{token}\n"), NOW), Ok(()));
    assert_eq!(issue(&token, NOW + FEDERATED_SECONDS), Err(TokenError::AssertionTime));
    assert_eq!(issue("no token", NOW), Err(TokenError::AssertionSignature));
    // An access token is no assertion, although the same key has signed it.
    let access = directory.issue(TENANT_ID, &form(&[]), AUTHORITY, NOW).unwrap();
    assert_eq!(issue(&access.text, NOW), Err(TokenError::Federation("issuer")));
    let denied = directory.check(&token, Resource::Hub, NOW);
    assert_eq!(denied, Err(AccessDenied::Tenant(String::new())));
}

#[test]
fn a_refused_request_has_the_code_of_its_reason() {
    let directory = directory();
    let error = |tenant: &str, form: &BTreeMap<String, String>| {
        let error = directory.issue(tenant, form, AUTHORITY, NOW).unwrap_err();
        (error.http_status(), error.code())
    };
    assert_eq!(error("other", &form(&[])), (400, 90_002));
    for (name, value, status, code) in [
        ("grant_type", "", 400, 900_144),
        ("grant_type", "password", 400, 70_003),
        ("client_id", "other", 400, 700_016),
        ("client_secret", "c2VjcmV1", 401, 7_000_215),
        ("scope", "https://iothubs.azure.net", 400, 70_011),
        ("scope", "https://graph.microsoft.com/.default", 400, 500_011),
    ] {
        assert_eq!(error(TENANT_ID, &form(&[(name, value)])), (status, code), "{name}={value}");
    }
    let mut none = form(&[]);
    none.remove("client_secret");
    assert_eq!(error(TENANT_ID, &none), (401, 7_000_216));
    let body = TokenError::Secret.to_body();
    assert_eq!(body["error"], "invalid_client");
    assert_eq!(body["error_codes"], json!([7_000_215]));
    assert_eq!(body["error_description"], "AADSTS7000215: Invalid client secret provided.");
}

#[test]
fn a_scope_with_a_doubled_slash_names_the_same_resource() {
    for scope in ["https://iothubs.azure.net/.default", "https://iothubs.azure.net//.default"] {
        assert_eq!(resource(scope), Ok(Resource::Hub));
    }
    let scope = "https://azure-devices-provisioning.net/.default";
    assert_eq!(resource(scope), Ok(Resource::Provisioning));
}
