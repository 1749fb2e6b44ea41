//! Tests of keys and tokens.

use proptest::prelude::*;

use super::*;

const KEY: &str = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=";

fn key() -> Key {
    KEY.parse().unwrap()
}

/// Signs `sr` unchanged, as clients of all kinds do.
fn token(sr: &str, rest: &str) -> SasToken {
    let signature = STANDARD.encode(key().sign(sr, 1_700_000_000));
    let encoded = percent::encode(&signature);
    format!("SharedAccessSignature sr={sr}&sig={encoded}&se=1700000000{rest}").parse().unwrap()
}

#[test]
fn signing_reproduces_the_published_test_vector() {
    let token = sign("localhost/devices/d1", None, &key(), 1_700_000_000);
    assert_eq!(
        token.to_string(),
        "SharedAccessSignature sr=localhost%2Fdevices%2Fd1\
         &sig=ODr5hbBOd79Qv1S49TKWj8JUNcUPaNLvnSNPiiHKL4Y%3D&se=1700000000"
    );
}

#[test]
fn every_clients_encoding_of_the_resource_is_accepted() {
    let cases = [
        ("localhost%2Fdevices%2Fd1", "", "localhost/devices/d1"),
        ("localhost%3A18883%2fdevices%2fn1", "", "localhost/devices/n1"),
        ("localhost%3A8443", "&skn=iothubowner", "localhost/twins/d1"),
        ("localhost", "&skn=iothubowner", "localhost/devices/d1"),
        ("localhost/devices/d1", "", "LOCALHOST/devices/d1"),
        ("0ne000SCOPE%2Fregistrations%2Freg1", "", "0ne000SCOPE/registrations/reg1"),
        ("localhost%2Fdevices%2Fn%2540m.et%2523st", "", "localhost/devices/n@m.et#st"),
        ("localhost%2Fdevices%2F100%25", "", "localhost/devices/100%"),
        ("localhost%2Fdevices%2Fd1%2Fapi-version%3D2016-11-14", "", "localhost/devices/d1"),
    ];
    for (sr, rest, resource) in cases {
        let token = token(sr, rest);
        assert!(token.verify(&key()), "{sr}");
        assert!(token.covers(resource), "{sr} {resource}");
    }
}

#[test]
fn deriving_a_key_reproduces_the_published_test_vector() {
    let group =
        "8isrFI1sGsIlvvFSSFRiMfCNzv21fjbE/+ah/lSh3lF8e2YG1Te7w1KpZhJFFXJrqYKi9yegxkqIChbqOS9Egw==";
    let id = "sn-007-888-abc-mac-a1-b2-c3-d4-e5-f6".parse().unwrap();
    let derived = group.parse::<Key>().unwrap().derive(&id);
    assert_eq!(derived.to_base64(), "Jsm0lyGpjaVYVP2g3FnmnmG9dI/9qU24wNoykUmermc=");
}

#[test]
fn a_registration_is_covered_in_every_clients_spelling() {
    let (scope, id) = ("0ne00112233".parse().unwrap(), "SN-7".parse().unwrap());
    for sr in [
        "0ne00112233%2Fregistrations%2FSN-7",
        "0ne00112233/registrations/SN-7",
        "0NE00112233%2fregistrations%2fsn-7",
    ] {
        assert!(token(sr, "&skn=registration").covers_registration(&scope, &id), "{sr}");
    }
    for sr in ["0ne00112233/registrations/SN-70", "0ne00112233", "other/registrations/SN-7"] {
        assert!(!token(sr, "").covers_registration(&scope, &id), "{sr}");
    }
}

#[test]
fn a_token_covers_whole_segments_only() {
    let token = token("localhost%2Fdevices%2Fd1", "");
    assert!(token.covers("localhost/devices/d1/modules/m"));
    for other in ["localhost/devices/d11", "localhost/devices", "other/devices/d1", "localhost"] {
        assert!(!token.covers(other), "{other}");
    }
}

#[test]
fn any_order_of_fields_and_an_unencoded_slash_are_accepted() {
    let signed = sign("localhost", Some("service"), &key(), 5);
    let signature = STANDARD.encode(&signed.signature).replace('+', "%2B").replace('=', "%3D");
    let text = format!("SharedAccessSignature sig={signature}&se=5&skn=service&sr=localhost");
    let parsed: SasToken = text.parse().unwrap();
    assert!(parsed.verify(&key()));
    assert_eq!(parsed.policy(), Some("service"));
}

#[test]
fn another_key_or_a_changed_token_does_not_verify() {
    let text = sign("localhost/devices/d1", None, &key(), 1_700_000_000).to_string();
    let parsed: SasToken = text.parse().unwrap();
    assert!(!parsed.verify(&Key::from_bytes(b"other").unwrap()));
    let later: SasToken = text.replace("se=1700000000", "se=1800000000").parse().unwrap();
    assert!(!later.verify(&key()));
}

#[test]
fn a_token_expires_at_its_expiry() {
    let token = token("localhost", "");
    assert!(!token.expired_at(1_699_999_999));
    assert!(token.expired_at(1_700_000_000));
}

#[test]
fn an_error_names_the_field_and_debug_hides_the_secret() {
    let error = "SharedAccessSignature sr=a&se=1".parse::<SasToken>().unwrap_err();
    assert_eq!(error.to_string(), "token has no `sig`");
    let token = sign("localhost", None, &key(), 1);
    assert!(!format!("{token:?}").contains(&STANDARD.encode(&token.signature)));
    assert!(!format!("{:?}", key()).contains("MDEy"));
}

proptest! {
    #[test]
    fn every_token_survives_a_round_trip(
        resource in "[a-z.]{1,20}(/devices/[ -~]{1,20})?",
        policy in proptest::option::of("[a-zA-Z ]{1,10}"),
        bytes in proptest::collection::vec(any::<u8>(), 1..=128),
        expiry: u64,
    ) {
        let key = Key::from_bytes(&bytes).unwrap();
        let token = sign(&resource, policy.as_deref(), &key, expiry);
        let read: SasToken = token.to_string().parse().unwrap();
        prop_assert!(read.verify(&key));
        prop_assert_eq!(read, token);
        prop_assert_eq!(key.to_base64().parse::<Key>().unwrap(), key);
    }

    #[test]
    fn no_input_makes_the_parser_panic(text in "(SharedAccessSignature )?[ -~]*") {
        let _ = text.parse::<SasToken>().map(|token| token.covers("localhost"));
    }
}
