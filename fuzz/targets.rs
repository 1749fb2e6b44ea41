//! Fuzz targets: functions that take arbitrary bytes.
//!
//! `cargo fuzz` runs them (`fuzz/fuzz_targets/`), and so does an ordinary test over the
//! corpora and thousands of mutations (`tests/fuzzing.rs`). They panic if a property does
//! not hold.

#[path = "targets/arguments.rs"]
mod arguments;
#[path = "targets/cache_files.rs"]
mod cache_files;
#[path = "targets/fleet.rs"]
mod fleet;
#[path = "targets/oci.rs"]
mod oci;
#[path = "targets/provisioning.rs"]
mod provisioning;

use std::fmt::{Debug, Display};
use std::path::Path;
use std::str::FromStr;
use std::sync::OnceLock;

use host::control::{ControlAnswer, ControlRequest};
use json::{Json, JsonError};
use plugin::{Engine, EngineSettings, HttpHost, Limits, PluginSettings};
use protocol::connection_string::{DeviceConnectionString, ServiceConnectionString};
use protocol::credentials::{
    CertificateRequest, CredentialError, IssuedCertificate, MAX_CHAIN, decode_chain,
};
use protocol::error::HubError;
use protocol::method::MethodRequest;
use protocol::mqtt5::{self, Message};
use protocol::properties::MessageProperties;
use protocol::sas::{Key, SasToken};
use protocol::topic::{DeviceTopic, Filter, HubTopic};
use protocol::twin::{
    DesiredPatch, DeviceTwin, Section, Stamp, check_patch, difference, merge, merge_patches, size,
};
use protocol::user_name::UserName;
use serde::de::IgnoredAny;
use serde_json::{Map, Value};

pub(crate) use arguments::arguments;
pub(crate) use cache_files::cache_files;
pub(crate) use fleet::{desired_plugins, fleet_records};
pub(crate) use oci::{bundles, manifests, references, registry_credentials};
pub(crate) use provisioning::{access_tokens, certificates, provisioning};

/// Name of a target and of its corpus, and its function.
pub(crate) type Target = (&'static str, fn(&[u8]));

/// All targets.
pub(crate) const TARGETS: [Target; 31] = [
    ("topics", topics),
    ("connection_strings", connection_strings),
    ("sas", sas),
    ("twins", twins),
    ("rest", rest),
    ("configs", configs),
    ("frames", frames),
    ("json", json),
    ("queries", queries),
    ("bodies", bodies),
    ("packets", packets),
    ("hosts", hosts),
    ("control", control),
    ("components", components),
    ("arguments", arguments),
    ("cache_files", cache_files),
    ("bulk", bulk),
    ("faults", faults),
    ("provisioning", provisioning),
    ("certificates", certificates),
    ("access_tokens", access_tokens),
    ("mqtt5", mqtt5),
    ("configurations", configurations),
    ("jobs", jobs),
    ("references", references),
    ("manifests", manifests),
    ("bundles", bundles),
    ("credentials", credentials),
    ("registry_credentials", registry_credentials),
    ("desired_plugins", desired_plugins),
    ("fleet_records", fleet_records),
];

/// Asserts that a parsed value is displayed as text that parses to the same value.
fn check_round_trip<T: FromStr + Display + PartialEq + Debug>(text: &str)
where
    T::Err: Debug,
{
    if let Ok(read) = text.parse::<T>() {
        assert_eq!(read.to_string().parse::<T>().unwrap(), read, "{text:?}");
    }
}

pub(crate) fn topics(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    check_round_trip::<HubTopic>(text);
    check_round_trip::<DeviceTopic>(text);
    check_round_trip::<Filter>(text);
    check_round_trip::<UserName>(text);
    check_round_trip::<MessageProperties>(text);
}

pub(crate) fn connection_strings(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Ok(read) = text.parse::<DeviceConnectionString>() {
        assert_eq!(read.to_text_with_key().parse::<DeviceConnectionString>().unwrap(), read);
        assert!(!read.resource().is_empty());
    }
    if let Ok(read) = text.parse::<ServiceConnectionString>() {
        assert_eq!(read.to_text_with_key().parse::<ServiceConnectionString>().unwrap(), read);
    }
}

pub(crate) fn sas(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    check_round_trip::<SasToken>(text);
    if let Ok(token) = text.parse::<SasToken>() {
        let key = Key::from_bytes(b"a key that has signed nothing").unwrap();
        assert!(!token.verify(&key));
        let _ = token.covers("localhost/devices/d1");
        assert!(token.expired_at(u64::MAX));
    }
    if let Ok(key) = text.parse::<Key>() {
        assert_eq!(key.to_base64().parse::<Key>().unwrap(), key);
    }
}

/// Checks twins. The input is also used as three lines: a document and two patches.
pub(crate) fn twins(bytes: &[u8]) {
    // A document from a hub is parsed from the raw bytes.
    if let Ok(twin) = DeviceTwin::parse(bytes) {
        let text = twin.to_json().to_string();
        assert_eq!(DeviceTwin::parse(text.as_bytes()).unwrap(), twin);
    }
    if let Ok(patch) = DesiredPatch::parse(bytes) {
        let text = patch.to_json().to_string();
        assert_eq!(DesiredPatch::parse(text.as_bytes()).unwrap(), patch);
    }
    let mut objects = bytes
        .split(|byte| *byte == b'\n')
        .map(|line| serde_json::from_slice::<Map<String, Value>>(line).unwrap_or_default());
    let mut next = || objects.next().unwrap_or_default();
    let (document, first, second) = (next(), next(), next());

    // Merging two patches has the same effect as applying both in turn.
    let mut merged = first.clone();
    if merge_patches(&mut merged, &second) {
        let (mut once, mut twice) = (document.clone(), document.clone());
        merge(&mut once, &merged);
        merge(&mut twice, &first);
        merge(&mut twice, &second);
        assert_eq!(once, twice, "{document:?} {first:?} {second:?}");
    } else {
        assert_eq!(merged, first, "a patch that cannot be merged must not change");
    }

    // Applying a difference yields the second document. Nulls are removed first, since
    // no twin contains them.
    let (mut before, mut after) = (Map::new(), Map::new());
    merge(&mut before, &first);
    merge(&mut after, &second);
    let patch = difference(&before, &after);
    merge(&mut before, &patch);
    assert_eq!(before, after, "{first:?} {second:?}");

    let mut section = Section::new(Stamp::TimeAndVersion, "2026-01-01T00:00:00Z");
    for patch in [&document, &first, &second] {
        let (body, version) = (section.body.clone(), section.version);
        let allowed = check_patch(patch).is_ok();
        match section.apply(patch, "2026-01-02T00:00:00Z") {
            Ok(()) => assert!(allowed && section.version == version + 1),
            Err(_) => assert!(section.body == body && section.version == version),
        }
        assert!(size(&section.body) <= 8 * serde_json::to_string(&section.body).unwrap().len());
        assert!(section.to_json().is_object());
    }
}

/// Checks REST responses and requests. The input is a status in the first two bytes, a
/// header up to the end of the first line, and a body.
pub(crate) fn rest(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (header, body) = text.split_once('\n').unwrap_or(("", text));
    let status = bytes
        .first()
        .zip(bytes.get(1))
        .map_or(500, |(high, low)| u16::from_be_bytes([*high, *low]) % 500 + 100);
    for header in [None, Some(header)] {
        let error = HubError::parse(status, header, body);
        assert!(error.to_string().len() < 1024 + 4 * text.len());
    }
    if let Ok(request) = MethodRequest::from_json(body) {
        assert_eq!(MethodRequest::from_json(&request.to_json()).unwrap(), request);
    }
}

pub(crate) fn configs(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(error) = host::Config::parse(text, Path::new("/etc/behaviour-host")) {
        // The message is one line for any input.
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}

/// Checks both ends of the control socket. The input is a request to a host, and an answer
/// that a client displays.
pub(crate) fn control(bytes: &[u8]) {
    if let Ok(request) = ControlRequest::parse(bytes) {
        let written = serde_json::to_vec(&request).unwrap();
        assert_eq!(ControlRequest::parse(&written).unwrap(), request);
    }
    if let Ok(answer) = ControlAnswer::parse(bytes) {
        let (text, json) = (answer.to_text(), answer.to_json());
        assert_eq!(ControlAnswer::parse(json.as_bytes()).unwrap(), answer);
        for shown in [text, json] {
            // Displayed text must not contain characters that affect a terminal.
            let steers =
                |c: char| c.is_control() && c != '\n' || ('\u{2028}'..='\u{202e}').contains(&c);
            assert!(!shown.contains(steers), "{shown:?}");
        }
    }
}

/// Checks the packets that a device sends to the hub.
pub(crate) fn frames(bytes: &[u8]) {
    assert!(hub::fuzzing::read_packets(bytes) <= bytes.len() / 2);
}

/// Checks the JSON checker against serde_json.
pub(crate) fn json(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let found = text.parse::<Json>();
    match &found {
        Err(JsonError::TooDeep | JsonError::Surrogate) => {}
        _ => {
            let expected = serde_json::from_str::<IgnoredAny>(text);
            assert_eq!(found.is_ok(), expected.is_ok(), "{text:?}");
        }
    }
    let Ok(json) = found else { return };
    assert_eq!(json.get(), text.trim_matches([' ', '\t', '\r', '\n']));
    // Changing the layout does not change the value.
    assert_eq!(json.pretty().parse::<Json>().unwrap().to_value(), json.to_value());
    assert_eq!(json.compact().parse::<Json>().unwrap().to_value(), json.to_value());
    if let Ok(value) = json::value(json.get()) {
        let again = json::value(&value.to_string()).unwrap();
        assert_eq!(again, value, "{text:?}");
    }
}

/// Checks queries. The input is a query, and a continuation in the second line.
pub(crate) fn queries(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (query, continuation) = text.split_once('\n').unwrap_or((text, ""));
    // Two twins have two rows at most; aggregates have one.
    assert!(hub::fuzzing::run_query(query, continuation) <= 2);
}

/// Checks the bodies of requests to the hub.
pub(crate) fn bodies(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    hub::fuzzing::write_twin(text);
    hub::fuzzing::read_identity(text);
}

/// Checks the bodies of bulk requests to the registry of the hub.
pub(crate) fn bulk(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    hub::fuzzing::run_bulk(text);
}

/// Checks the bodies of requests that set faults of the hub.
pub(crate) fn faults(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    hub::fuzzing::set_fault(text);
}

/// Checks the bodies of requests that write configurations.
pub(crate) fn configurations(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    hub::fuzzing::write_configuration(text);
}

/// Checks the bodies of requests that create jobs.
pub(crate) fn jobs(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    hub::fuzzing::create_job(text);
}

/// Checks requests for certificates and their answers, as host and hub read them.
pub(crate) fn credentials(bytes: &[u8]) {
    if let Ok(request) = serde_json::from_slice::<CertificateRequest>(bytes) {
        let text = serde_json::to_vec(&request).unwrap();
        assert_eq!(serde_json::from_slice::<CertificateRequest>(&text).unwrap(), request);
    }
    if let Ok(issued) = serde_json::from_slice::<IssuedCertificate>(bytes)
        && let Ok(chain) = decode_chain(&issued.certificates)
    {
        assert!((1..=MAX_CHAIN).contains(&chain.len()));
        for certificate in chain {
            let _ = trust::Certificate::parse(&certificate.into());
        }
    }
    if let Ok(error) = serde_json::from_slice::<CredentialError>(bytes) {
        assert_eq!(error.to_string().lines().count(), 1);
    }
    hub::fuzzing::request_certificate(bytes);
}

/// Checks the texts and messages of the `mqttV5` connection profile.
pub(crate) fn mqtt5(bytes: &[u8]) {
    fn check<M: Message + PartialEq + Debug>(bytes: &[u8]) {
        if let Ok(message) = M::decode(bytes) {
            assert_eq!(M::decode(&message.encode()).unwrap(), message);
        }
    }
    check::<mqtt5::Birth>(bytes);
    check::<mqtt5::BirthAck>(bytes);
    check::<mqtt5::TwinGet>(bytes);
    check::<mqtt5::TwinGetResponse>(bytes);
    check::<mqtt5::ReportedPatch>(bytes);
    check::<mqtt5::ReportedPatchResponse>(bytes);
    check::<mqtt5::DesiredUpdate>(bytes);
    check::<mqtt5::TwinPush>(bytes);
    check::<mqtt5::Probe>(bytes);
    check::<mqtt5::ProbeAck>(bytes);
    check::<mqtt5::Exec>(bytes);
    check::<mqtt5::ResultMessage>(bytes);
    check::<mqtt5::Abandon>(bytes);
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    check_round_trip::<mqtt5::Topic>(text);
    check_round_trip::<mqtt5::Mqtt5UserName>(text);
    check_round_trip::<mqtt5::MessageType>(text);
    check_round_trip::<mqtt5::CorrelationId>(text);
}

/// Checks the packets that a hub sends to the host.
pub(crate) fn packets(bytes: &[u8]) {
    assert!(host::read_packets(bytes) <= bytes.len() / 2);
}

/// Checks the allowed HTTP hosts. The input is a host of `host.toml`, and a URI in the
/// second line.
pub(crate) fn hosts(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    let (host, uri) = text.split_once('\n').unwrap_or((text, ""));
    check_round_trip::<HttpHost>(host);
    let Ok(host) = host.parse::<HttpHost>() else { return };
    let Ok(uri) = uri.parse::<http::Uri>() else { return };
    if let Some(admitted) = host.admitted(&uri) {
        let shown = host.to_string();
        let (scheme, rest) = shown.split_once("://").unwrap();
        let name = rest.rsplit_once(':').unwrap().0;
        assert_eq!(uri.scheme_str(), Some(scheme), "{text:?}");
        match name.strip_prefix('*') {
            Some(suffix) => assert!(admitted.ends_with(suffix), "{text:?}"),
            None => assert_eq!(admitted, name, "{text:?}"),
        }
    }
}

pub(crate) fn components(bytes: &[u8]) {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    let engine = ENGINE.get_or_init(|| Engine::new(&EngineSettings::default()).unwrap());
    let limits = Limits { component_bytes: 64 * 1024, ..Limits::default() };
    let Ok(compiled) = engine.compile(bytes, &limits) else { return };
    engine.inspect(bytes, &compiled).unwrap();
    let settings = PluginSettings { limits, ..PluginSettings::default() };
    if let Err(error) = engine.plugin("fuzzed", &compiled, settings) {
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}
