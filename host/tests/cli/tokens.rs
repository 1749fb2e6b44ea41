//! Keys in tokens, with SoftHSM 2 and a software TPM in a directory of each test's own.

#[path = "../../../oci/tests/registry/packages.rs"]
mod packages;
pub(crate) mod softhsm;
mod tpm;

use std::fs;
use std::process::{Command, Output};

use hub::{Hub, HubConfig};
use protocol::registry::{Authentication, DeviceIdentity, SELF_SIGNED, Thumbprints};
use rcgen::{
    CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType, Issuer, KeyPair,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, CertificateSigningRequestDer};
use service::{Client, ClientSettings};
use trust::sha256_thumbprint;

use crate::rig::{Running, hub, hub_with, plugin, program};
use softhsm::{PIN, Token};
use tpm::{PIN as PIN_OF_TPM, Tpm};

const IDENTITY: &str = "HostName=localhost;DeviceId=device-1;x509=true";

/// Returns a self-signed certificate of `device-1` and its key in PKCS #8.
pub(crate) fn pair(algorithm: &'static rcgen::SignatureAlgorithm) -> (String, String) {
    let key = KeyPair::generate_for(algorithm).unwrap();
    let mut params = CertificateParams::default();
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "device-1");
    (params.self_signed(&key).unwrap().pem(), key.serialize_pem())
}

/// Registers `device-1` with its certificate.
pub(crate) async fn register(hub: &Hub, certificate: &str) {
    let settings = ClientSettings { ca_pem: Some(hub.ca_pem().to_owned()), ..Default::default() };
    let client = Client::new(hub.service_connection_string(), settings).unwrap();
    let der = CertificateDer::from_pem_slice(certificate.as_bytes()).unwrap();
    let primary_thumbprint = Some(sha256_thumbprint(&der));
    let thumbprints = Thumbprints { primary_thumbprint, ..Default::default() };
    let authentication = Authentication {
        kind: SELF_SIGNED.to_owned(),
        symmetric_key: None,
        thumbprints: Some(thumbprints),
    };
    let identity = DeviceIdentity {
        authentication: Some(authentication),
        ..DeviceIdentity::new("device-1".parse().unwrap())
    };
    client.create_identity(&identity).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_each_kind_in_a_token_signs_in_and_is_never_shown() {
    let Some(token) = Token::new() else { return };
    let rsa = (
        include_str!("../../src/connection/certificate/tests/rsa.pem").to_owned(),
        include_str!("../../src/connection/certificate/tests/rsa-key-pkcs8.pem").to_owned(),
    );
    let kinds = [
        ("p256", pair(&rcgen::PKCS_ECDSA_P256_SHA256)),
        ("p384", pair(&rcgen::PKCS_ECDSA_P384_SHA384)),
        ("rsa", rsa),
    ];
    for (label, (certificate, key)) in kinds {
        let (hub, _folder, toml) = hub().await;
        register(&hub, &certificate).await;
        token.import(label, &key);
        let settings = token.settings(label, &certificate) + &toml;
        let mut host = Running::start_with(&settings, IDENTITY, |program| {
            program.env("SOFTHSM2_CONF", token.configuration()).env("BEHAVIOUR_LOG", "trace");
        });
        let log = host.lines_until("connected").join("\n");
        let mut texts = vec![log];
        for arguments in
            [&["check"][..], &["identity", "show"], &["identity", "show", "--json"], &["status"]]
        {
            let mut program = program(host.directory.path(), arguments, Some(IDENTITY));
            let output = program.env("SOFTHSM2_CONF", token.configuration()).output().unwrap();
            let error = String::from_utf8(output.stderr).unwrap();
            assert!(output.status.success(), "{label} {arguments:?}: {error}");
            texts.push(String::from_utf8(output.stdout).unwrap() + &error);
        }
        let uri = format!("pkcs11:token=device;object={label}");
        assert!(texts[2].contains(&format!("\nkey: {uri}\n")), "{}", texts[2]);
        assert!(texts[4].contains("\ncertificate expires at "), "{}", texts[4]);
        for text in &texts {
            assert!(!text.contains(PIN), "{label}: {text}");
            let secret = key.lines().filter(|line| !line.starts_with('-'));
            secret.for_each(|line| assert!(!text.contains(line), "{label}: {text}"));
        }
    }
}

#[test]
fn every_key_that_cannot_be_used_is_one_line_with_a_way_out() {
    let Some(token) = Token::new() else { return };
    let (certificate, key) = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
    let (_, other) = pair(&rcgen::PKCS_ECDSA_P256_SHA256);
    token.import("right", &key);
    token.import("other", &other);
    token.import("twice", &key);
    token.import("twice", &other);
    let settings = |label: &str| token.settings(label, &certificate);
    let right = settings("right");
    let wrong_pin = token.file("wrong", "9999");
    let pin = token.pin_file();
    for (settings, error, hint) in [
        (
            settings("missing"),
            "the token has no key that matches `pkcs11:token=device;object=missing`",
            "correct `object` and `id`",
        ),
        (settings("twice"), "the token has more than one key that matches", "add `id` to the URI"),
        (
            settings("other"),
            "the key `pkcs11:token=device;object=other` does not belong to the certificate",
            "name the key for which",
        ),
        (
            right.replace("token=device", "token=other"),
            "no token matches `pkcs11:token=other;object=right`",
            "insert the token",
        ),
        (
            right.replace(&pin, &wrong_pin),
            "the token of `pkcs11:token=device;object=right` refuses the PIN",
            "write the PIN",
        ),
        (
            right.replace(&format!("&pin-source=file:{pin}"), ""),
            "the token of `pkcs11:token=device;object=right` needs a PIN",
            "add `pin-source",
        ),
        (right.replace("libsofthsm2.so", "missing.so"), "PKCS #11 library", "set `module-path`"),
        (
            right.replace("pin-source=file:", "pin-value="),
            "host.toml: [hub.identity]: `key_uri`: `pin-value` would put the PIN",
            "an example is pkcs11:",
        ),
    ] {
        let folder = crate::rig::directory(&(settings + &plugin("reply.wasm")));
        let mut check = program(folder.path(), &["check"], Some(IDENTITY));
        let output = check.env("SOFTHSM2_CONF", token.configuration()).output().unwrap();
        let text = String::from_utf8(output.stderr).unwrap();
        assert!(text.starts_with(&format!("error: {error}")), "{text}\nexpected {error}");
        assert!(text.contains(&format!("\nhint: {hint}")), "{text}\nexpected {hint}");
        assert_eq!(text.lines().count(), 2, "{text}");
        assert!(!text.contains("9999") && !text.contains(PIN), "{text}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_appears_late_is_used_and_a_wrong_pin_is_sent_once() {
    let Some(token) = Token::empty() else { return };
    let (certificate, key) = pair(&rcgen::PKCS_ECDSA_P384_SHA384);
    let (hub, _folder, toml) = hub().await;
    register(&hub, &certificate).await;
    let right_pin = token.pin_file();
    fs::write(&right_pin, "9999").unwrap();
    let settings = token.settings("late", &certificate) + &toml;
    let mut host = Running::start_with(&settings, IDENTITY, |program| {
        program.env("SOFTHSM2_CONF", token.configuration());
    });
    host.line_with("no token matches `pkcs11:token=device;object=late`");

    token.initialise();
    token.import("late", &key);
    // The attempts after the first one do not reach the token.
    for _ in 0..3 {
        host.line_with("refuses the PIN, which is not sent again until its file changes");
    }
    fs::write(&right_pin, format!("{PIN}\n")).unwrap();
    host.line_with("connected");
}

/// Returns a certificate for a signing request, which an authority of its own signs.
fn issue(request: &str) -> String {
    let der = CertificateSigningRequestDer::from_pem_slice(request.as_bytes()).unwrap();
    let request = CertificateSigningRequestParams::from_der(&der).unwrap();
    let issuer = Issuer::new(CertificateParams::default(), KeyPair::generate().unwrap());
    request.signed_by(&issuer).unwrap().pem()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tpm_creates_the_key_is_not_locked_by_a_wrong_pin_and_may_be_pulled() {
    let Some(mut tpm) = Tpm::start() else { return };
    let data = tempfile::tempdir().unwrap();
    let config = HubConfig { data: Some(data.path().to_owned()), ..HubConfig::default() };
    let (hub, _folder, toml) = hub_with(config.clone()).await;
    let settings = tpm.settings("key-1") + &toml;
    let folder = crate::rig::directory(&settings);
    let run = |arguments: &[&str]| -> Output {
        let mut program: Command = program(folder.path(), arguments, Some(IDENTITY));
        tpm.environment(&mut program);
        program.output().unwrap()
    };
    let text = |arguments: &[&str]| {
        let output = run(arguments);
        let errors = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.success(), "{arguments:?}: {errors}");
        String::from_utf8(output.stdout).unwrap()
    };
    assert_eq!(text(&["identity", "create-key"]), "key: pkcs11:token=device;object=key-1\n");
    let certificate = issue(&text(&["identity", "csr"]));
    tpm.file("device.pem", &certificate);
    register(&hub, &certificate).await;
    text(&["check"]);

    // A TPM locks itself after three wrong PINs. The host sends each one once.
    fs::write(tpm.pin_file(), "9999").unwrap();
    let mut host = Running::start_with(&settings, IDENTITY, |program| tpm.environment(program));
    for _ in 0..4 {
        host.line_with("refuses the PIN, which is not sent again until its file changes");
    }
    fs::write(tpm.pin_file(), PIN_OF_TPM).unwrap();
    host.line_with("connected");

    tpm.pull();
    let device = "device-1".parse().unwrap();
    assert!(hub.is_connected(&device), "an open connection does not need the token");
    // Neither does a resumed session of TLS, which a restarted hub does not know.
    let config = HubConfig { mqtt_port: hub.mqtt_port(), ..config };
    hub.stop().await;
    let _hub = Hub::start(config).await.unwrap();
    let line = host.line_with("pkcs11:token=device;object=key-1");
    assert!(line.contains("hint="), "{line}");
    tpm.put_back();
    host.line_with("connected");
}
