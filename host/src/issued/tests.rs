//! Pairs of certificates and keys on disk.

use std::os::unix::fs::PermissionsExt as _;

use rcgen::{CertificateSigningRequestParams, Issuer, KeyPair};

use super::*;

fn section(rotate_key: bool) -> IssuedSection {
    IssuedSection { key: None, rotate_key }
}

/// Returns a certificate for a request, which is valid until the start of `year`.
fn issue(request: &SigningRequest, year: i32) -> Vec<Vec<u8>> {
    let authority = KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::default();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root = params.self_signed(&authority).unwrap().der().to_vec();
    let issuer = Issuer::new(params, authority);
    let csr = request.csr.as_slice().into();
    let mut csr = CertificateSigningRequestParams::from_der(&csr).unwrap();
    csr.params.not_after = rcgen::date_time_ymd(year, 1, 1);
    vec![csr.signed_by(&issuer).unwrap().der().to_vec(), root]
}

fn now() -> Timestamp {
    "2026-03-01T00:00:00Z".parse().unwrap()
}

#[test]
fn a_pair_is_kept_until_the_hub_has_accepted_the_next_one() {
    let data = tempfile::tempdir().unwrap();
    let file = IssuedFile::in_data(data.path(), &section(true), "pump-7");
    assert!(!file.exists() && !file.roll_back().unwrap());
    let stored = |year| {
        let request = file.request().unwrap();
        let facts = file.store(&request, &issue(&request, year), now()).unwrap();
        assert_eq!(facts.common_name.as_deref(), Some("pump-7"));
        fs::read_to_string(&file.path).unwrap()
    };
    let first = stored(2100);
    assert!(!file.previous.exists());
    let mode = file.path.metadata().unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600, "it contains the key");
    let second = stored(2101);
    assert_ne!(first, second);
    assert!(file.roll_back().unwrap());
    assert_eq!(fs::read_to_string(&file.path).unwrap(), first);
    assert!(!file.roll_back().unwrap(), "there is one earlier pair");

    stored(2102);
    file.accepted().unwrap();
    file.accepted().unwrap();
    assert!(!file.roll_back().unwrap());
}

#[test]
fn a_key_is_kept_if_the_settings_say_so() {
    let data = tempfile::tempdir().unwrap();
    for (rotate_key, expected) in [(false, true), (true, false)] {
        let file = IssuedFile::in_data(data.path(), &section(rotate_key), "pump-7");
        let first = file.request().unwrap();
        file.store(&first, &issue(&first, 2100), now()).unwrap();
        let second = file.request().unwrap();
        assert_eq!(first.key.public_key() == second.key.public_key(), expected);
    }
}

#[test]
fn a_chain_that_does_not_fit_is_refused_and_changes_nothing() {
    let data = tempfile::tempdir().unwrap();
    let file = IssuedFile::in_data(data.path(), &section(true), "pump-7");
    let (request, other) = (file.request().unwrap(), file.request().unwrap());
    let refused = |chain: &[Vec<u8>]| file.store(&request, chain, now()).unwrap_err().to_string();
    assert_eq!(
        refused(&issue(&other, 2100)),
        "the issued certificate is for another key than the requested one"
    );
    assert_eq!(
        refused(&issue(&request, 2026)),
        "the issued certificate expired at 2026-01-01T00:00:00Z, by this machine's clock"
    );
    assert_eq!(refused(&[]), "issued certificate");
    assert_eq!(refused(&[vec![1, 2, 3]]), "issued certificate");
    let of_other_name = IssuedFile::in_data(data.path(), &section(true), "pump-8");
    let error = of_other_name.store(&request, &issue(&request, 2100), now()).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the issued certificate has the common name `pump-7`, not `pump-8`"
    );
    assert!(!file.exists());
}

#[test]
fn a_request_never_shows_its_key() {
    let data = tempfile::tempdir().unwrap();
    let request = IssuedFile::in_data(data.path(), &section(true), "pump-7").request().unwrap();
    assert_eq!(format!("{request:?}"), "SigningRequest { .. }");
}
