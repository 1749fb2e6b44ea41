//! Tests of signatures: known bundles, ours, and each kind of refused bundle.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// The digest, payload, keys and signatures that the JavaScript client of sigstore accepts.
const SIGNED: &str = "fd7f5f132d28b410bb96ef0285cf2c2181e4568d6f81dcc19429d05ce7a3ec33";
const P256: [&str; 2] = [
    "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAElqO8SFdpI/jCpWx7AS/KqWMYPsRy24nzt08UBAHSI6AVVP0L877SlOa3iBv2WnapjVg/Hn3MVMHf0oLaPrWIkg==",
    "MEYCIQDhQzW0dQ951E9yPhW+p8YjA1AKnLp8I0g+YsyWrcw/LAIhAPi7irDBEkmfAH48J4l8WaP1eCf6dTxyqrB19W33/7w6",
];
const ED25519: [&str; 2] = [
    "MCowBQYDK2VwAyEArhnBBi5ZB09cjhW62fBH7KZRMiVEU/V6Pr3CDmsloeg=",
    "x2YaFN4Y2dZj0fO+2RcwNwaxXjtSEafhiSFqPZNebuWnl9/PRxlP/knxJvAcnXmKnp2iCAK0pNsBEpJjDol8BQ==",
];

fn signed() -> Digest {
    Digest::from_hex(SIGNED).unwrap()
}

fn key(spki: &str) -> PublicKey {
    let pem = format!("-----BEGIN PUBLIC KEY-----\n{spki}\n-----END PUBLIC KEY-----\n");
    PublicKey::all_from_pem(pem.as_bytes()).unwrap().remove(0)
}

fn base64(bytes: &[u8]) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// Returns the known bundle of a key, whose payload has no subject's name and no spaces.
fn known([spki, signature]: [&str; 2]) -> Value {
    let payload = format!(
        r#"{{"_type":"https://in-toto.io/Statement/v1","subject":[{{"digest":{{"sha256":"{SIGNED}"}}}}],"predicateType":"https://sigstore.dev/cosign/sign/v1","predicate":{{}}}}"#
    );
    json!({
        "mediaType": "application/vnd.dev.sigstore.bundle.v0.3+json",
        "verificationMaterial": {"publicKey": {"hint": key(spki).id()}},
        "dsseEnvelope": {
            "payload": base64(payload.as_bytes()),
            "payloadType": "application/vnd.in-toto+json",
            "signatures": [{"sig": signature, "keyid": ""}],
        },
    })
}

fn check(bundle: &Value, keys: &[PublicKey]) -> Result<Verified, Refusal> {
    verify(&[Bundle::new(bundle.to_string().into_bytes())], &signed(), keys)
}

/// Returns the reason why the only bundle is refused.
fn reason(bundle: &Value, keys: &[PublicKey]) -> BundleError {
    match check(bundle, keys) {
        Err(Refusal::Invalid { mut reasons, .. }) => reasons.remove(0).1,
        other => panic!("{other:?}"),
    }
}

/// Returns a bundle whose payload is any text, with a valid signature.
fn signed_text(signer: &PrivateKey, payload: &str) -> Value {
    let kind = "application/vnd.in-toto+json";
    let message = format!("DSSEv1 {} {kind} {} {payload}", kind.len(), payload.len());
    let mut bundle = known(P256);
    bundle["dsseEnvelope"]["payload"] = base64(payload.as_bytes()).into();
    bundle["dsseEnvelope"]["signatures"][0]["sig"] =
        base64(&signer.sign(message.as_bytes()).unwrap()).into();
    bundle
}

#[test]
fn known_bundles_of_both_kinds_of_key_are_valid() {
    for (pair, hint) in [
        (P256, "i/vL0mFTowLlXAbvH0WUceQjVQNiICQU+T0N4GhGrPI="),
        (ED25519, "r0G9ZPGCI0NrfWSfLhKeFEPniqPv24Cui7YOjm8dv40="),
    ] {
        let verified = check(&known(pair), &[key(P256[0]), key(ED25519[0])]).unwrap();
        assert_eq!(verified.key, hint);
        assert!(verified.annotations.is_empty());
    }
}

#[test]
fn a_log_entry_and_a_missing_hint_do_not_matter() {
    let mut bundle = known(P256);
    bundle["verificationMaterial"]["tlogEntries"] = json!([{"logIndex": "1"}]);
    bundle["verificationMaterial"]["publicKey"] = json!({});
    assert!(check(&bundle, &[key(ED25519[0]), key(P256[0])]).is_ok());
}

#[test]
fn our_signatures_are_valid_with_their_annotations() {
    let annotations = BTreeMap::from([("release".to_owned(), "7".to_owned())]);
    for kind in [KeyType::P256, KeyType::Ed25519] {
        let (signer, der) = PrivateKey::generate(kind).unwrap();
        let pem = PrivateKey::pem_of_pkcs8(&der);
        let again = PrivateKey::from_pem(pem.as_bytes()).unwrap();
        assert_eq!(again.public_key(), signer.public_key());
        let bundle = sign(&again, &signed(), &annotations).unwrap();
        let public = signer.public_key().to_pem();
        let keys = PublicKey::all_from_pem(public.as_bytes()).unwrap();
        assert_eq!(keys[0].kind(), kind);
        let verified = verify(&[bundle], &signed(), &keys).unwrap();
        assert_eq!(verified.annotations, annotations);
        assert!(!format!("{signer:?}").contains(&base64(&der)));
    }
}

#[test]
fn one_valid_signature_of_several_bundles_is_enough() {
    let bad = Bundle::new(b"{}".to_vec());
    let good = Bundle::new(known(P256).to_string().into_bytes());
    let keys = [key(P256[0])];
    let verified = verify(&[bad.clone(), good.clone()], &signed(), &keys).unwrap();
    assert_eq!(verified.bundle, good.digest);
    let mut many = vec![bad; MAX_BUNDLES];
    many.push(good);
    let error = verify(&many, &signed(), &keys).unwrap_err().to_string();
    assert!(error.ends_with("; and 13 more"), "{error}");
}

#[test]
fn an_image_without_a_signature_or_trusted_key_is_refused() {
    assert_eq!(check(&known(P256), &[]), Err(Refusal::NoKeys));
    let refusal = verify(&[], &signed(), &[key(P256[0])]).unwrap_err();
    assert_eq!(refusal.to_string(), format!("sha256:{SIGNED} has no signature"));
}

#[test]
fn a_changed_bundle_is_refused() {
    let keys = [key(P256[0])];
    let changed = |pointer: &str, value: Value| {
        let mut bundle = known(P256);
        *bundle.pointer_mut(pointer).unwrap_or_else(|| panic!("no {pointer}")) = value;
        reason(&bundle, &keys)
    };
    let with = |part: &str, field: &str, value: Value| {
        let mut bundle = known(P256);
        bundle[part][field] = value;
        reason(&bundle, &keys)
    };
    let media_type = "application/vnd.dev.sigstore.bundle.v0.4+json";
    assert_eq!(
        changed("/mediaType", media_type.into()),
        BundleError::MediaType(media_type.to_owned())
    );
    let material = "verificationMaterial";
    let certificate = json!({"rawBytes": ""});
    assert_eq!(with(material, "certificate", certificate), BundleError::Certificate);
    assert_eq!(with(material, "x509CertificateChain", json!({})), BundleError::Certificate);
    assert_eq!(with(material, "publicKey", Value::Null), BundleError::NoKey);
    assert_eq!(changed("/dsseEnvelope", Value::Null), BundleError::Content);
    let mut both = known(P256);
    both["messageSignature"] = json!({});
    assert_eq!(reason(&both, &keys), BundleError::Content);
    let kind = BundleError::PayloadType("text/plain".to_owned());
    assert_eq!(changed("/dsseEnvelope/payloadType", "text/plain".into()), kind);
    let signatures = "/dsseEnvelope/signatures";
    assert_eq!(changed(signatures, json!([])), BundleError::Signatures(0));
    let twice = json!([{"sig": P256[1]}, {"sig": P256[1]}]);
    assert_eq!(changed(signatures, twice), BundleError::Signatures(2));
    let text = known(P256)["dsseEnvelope"]["payload"].as_str().unwrap().to_owned();
    let sig = P256[1];
    for malformed in [format!("{sig}\n"), format!("{sig}="), sig[1..].to_owned(), "-".to_owned()] {
        let found = changed("/dsseEnvelope/signatures/0/sig", malformed.into());
        assert_eq!(found, BundleError::Base64("sig"));
    }
    let mut unpadded = known(ED25519);
    unpadded["dsseEnvelope"]["signatures"][0]["sig"] = ED25519[1].trim_matches('=').into();
    assert_eq!(reason(&unpadded, &keys), BundleError::Base64("sig"));
    let found = changed("/dsseEnvelope/payload", format!("{text}\n").into());
    assert_eq!(found, BundleError::Base64("payload"));
    let payload = text.replacen('I', "J", 1);
    assert!(matches!(
        changed("/dsseEnvelope/payload", payload.into()),
        BundleError::Untrusted(_) | BundleError::Base64(_)
    ));
    assert!(matches!(changed("/dsseEnvelope/payload", "".into()), BundleError::Untrusted(_)));
    let raw = base64(&[1; 64]);
    assert!(matches!(
        changed("/dsseEnvelope/signatures/0/sig", raw.into()),
        BundleError::Untrusted(_)
    ));
    assert!(matches!(reason(&known(ED25519), &keys), BundleError::Untrusted(_)));
}

#[test]
fn a_signed_statement_about_something_else_is_refused() {
    let (signer, _) = PrivateKey::generate(KeyType::P256).unwrap();
    let keys = [signer.public_key().clone()];
    let good = String::from_utf8(statement::write(&signed(), &BTreeMap::new())).unwrap();
    let read = |payload: &str| reason(&signed_text(&signer, payload), &keys);
    assert!(check(&signed_text(&signer, &good), &keys).is_ok());
    assert!(matches!(read(""), BundleError::Statement(_)));
    assert!(matches!(read(&format!("{good}x")), BundleError::Statement(_)));
    let twice = good.replace("\"subject\"", "\"subject\":[],\"subject\"");
    assert!(matches!(read(&twice), BundleError::Statement(_)));
    let version = good.replace("Statement/v1", "Statement/v0.1");
    assert!(matches!(read(&version), BundleError::StatementType(_)));
    let parts = good.replace("https://sigstore.dev/cosign/sign/v1", "https://spdx.dev/Document");
    assert_eq!(read(&parts), BundleError::Predicate("https://spdx.dev/Document".to_owned()));
    let subject = format!(r#"{{"digest":{{"sha256":"{SIGNED}"}}}}"#);
    assert_eq!(read(&good.replace(&subject, "")), BundleError::Subjects(0));
    let two = good.replace(&subject, &format!("{subject},{subject}"));
    assert_eq!(read(&two), BundleError::Subjects(2));
    assert_eq!(read(&good.replace("\"sha256\"", "\"sha512\"")), BundleError::NoDigest);
    let upper = good.replace(SIGNED, &SIGNED.to_uppercase());
    assert!(matches!(read(&upper), BundleError::OtherDigest(_)));
    let other = good.replace(SIGNED, &Digest::of(b"x").hex());
    assert!(matches!(read(&other), BundleError::OtherDigest(_)));
}

#[test]
fn a_malformed_or_oversized_bundle_is_refused() {
    let keys = [key(P256[0])];
    let good = known(P256).to_string();
    let texts = [
        String::new(),
        "[]".to_owned(),
        format!("{good} {good}"),
        good.replacen("{\"", "{\"mediaType\":\"x\",\"", 1),
        good.replace("\"payload\"", "\"pay\""),
        format!("{good}{}", " ".repeat(MAX_BUNDLE_BYTES)),
    ];
    for text in texts {
        let bundle = Bundle::new(text.clone().into_bytes());
        let Err(Refusal::Invalid { reasons, .. }) = verify(&[bundle], &signed(), &keys) else {
            panic!("{text}");
        };
        assert!(matches!(reasons[0].1, BundleError::Malformed(_)), "{reasons:?}");
    }
}

#[test]
fn a_file_without_a_usable_key_is_refused() {
    let public = |text: &str| PublicKey::all_from_pem(text.as_bytes()).unwrap_err();
    assert_eq!(public("hello"), KeyError::NoPublicKey);
    let block = |label: &str, text: &str| {
        format!("-----BEGIN {label}-----\n{text}\n-----END {label}-----\n")
    };
    assert_eq!(public(&block("PUBLIC KEY", "AAAA")), KeyError::Kind);
    assert_eq!(public(&block("PUBLIC KEY", "?")), KeyError::Pem);
    let compressed = P256[0].replace("AElqO8", "AClqO8");
    assert_eq!(public(&block("PUBLIC KEY", &compressed)), KeyError::Kind);
    assert_eq!(public(&block("PUBLIC KEY", P256[0]).repeat(40)), KeyError::TooMany);
    let private = |text: &str| PrivateKey::from_pem(text.as_bytes()).unwrap_err();
    assert_eq!(private(&block("PUBLIC KEY", P256[0])), KeyError::NoPrivateKey);
    assert_eq!(private(&block("EC PRIVATE KEY", "AAAA")), KeyError::OtherForm("EC PRIVATE KEY"));
    for form in ["ENCRYPTED SIGSTORE PRIVATE KEY", "ENCRYPTED COSIGN PRIVATE KEY"] {
        let error = private(&block(form, "AAAA"));
        assert_eq!(error, KeyError::OtherForm(form));
        assert!(error.hint().unwrap().contains("behaviour keygen"));
    }
    assert_eq!(private(&block("PRIVATE KEY", "AAAA")), KeyError::Kind);
}

proptest! {
    #[test]
    fn no_change_of_one_byte_leaves_a_bundle_valid_for_another_digest(
        at in any::<prop::sample::Index>(), byte in any::<u8>()
    ) {
        let mut text = known(P256).to_string().into_bytes();
        let at = at.index(text.len());
        text[at] = byte;
        let other = Digest::of(b"other");
        prop_assert!(verify(&[Bundle::new(text)], &other, &[key(P256[0])]).is_err());
    }
}
