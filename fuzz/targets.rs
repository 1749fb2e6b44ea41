//! What is tried with bytes that nobody expected, one function a target.
//!
//! The same functions run under `cargo fuzz` (`fuzz/fuzz_targets/`) and, over the
//! corpora and some thousand mutations of them, as an ordinary test
//! (`tests/fuzzing.rs`). They panic where something does not hold.

use std::fmt::{Debug, Display};
use std::path::Path;
use std::str::FromStr;
use std::sync::OnceLock;

use plugin::{Engine, EngineSettings, Limits, PluginSettings};
use protocol::connection_string::{DeviceConnectionString, ServiceConnectionString};
use protocol::error::HubError;
use protocol::method::MethodRequest;
use protocol::properties::MessageProperties;
use protocol::sas::{Key, SasToken};
use protocol::topic::{DeviceTopic, Filter, HubTopic};
use protocol::twin::{
    DesiredPatch, DeviceTwin, Section, Stamp, check_patch, difference, merge, merge_patches, size,
};
use protocol::user_name::UserName;
use serde_json::{Map, Value};

/// A target's name, which its corpus has as well, and what it does.
pub(crate) type Target = (&'static str, fn(&[u8]));

/// All targets.
pub(crate) const TARGETS: [Target; 8] = [
    ("topics", topics),
    ("connection_strings", connection_strings),
    ("sas", sas),
    ("twins", twins),
    ("rest", rest),
    ("configs", configs),
    ("frames", frames),
    ("components", components),
];

/// What is read is written so that it reads as the same.
fn round<T: FromStr + Display + PartialEq + Debug>(text: &str)
where
    T::Err: Debug,
{
    if let Ok(read) = text.parse::<T>() {
        assert_eq!(read.to_string().parse::<T>().unwrap(), read, "{text:?}");
    }
}

pub(crate) fn topics(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    round::<HubTopic>(text);
    round::<DeviceTopic>(text);
    round::<Filter>(text);
    round::<UserName>(text);
    round::<MessageProperties>(text);
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
    round::<SasToken>(text);
    if let Ok(token) = text.parse::<SasToken>() {
        let key = Key::from_bytes(b"a key that nobody has signed with").unwrap();
        assert!(!token.verify(&key));
        let _ = token.covers("localhost/devices/d1");
        assert!(token.expired_at(u64::MAX));
    }
    if let Ok(key) = text.parse::<Key>() {
        assert_eq!(key.to_base64().parse::<Key>().unwrap(), key);
    }
}

/// Three lines: a document and two patches.
pub(crate) fn twins(bytes: &[u8]) {
    // What comes from a hub, as it comes.
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

    // Two patches in one say what both say in turn.
    let mut merged = first.clone();
    if merge_patches(&mut merged, &second) {
        let (mut once, mut twice) = (document.clone(), document.clone());
        merge(&mut once, &merged);
        merge(&mut twice, &first);
        merge(&mut twice, &second);
        assert_eq!(once, twice, "{document:?} {first:?} {second:?}");
    } else {
        assert_eq!(merged, first, "what cannot be merged is left alone");
    }

    // A difference is the patch that makes it, but for nulls, which no twin holds.
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

/// A status in the first two bytes, a header up to the first line's end, a body.
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
    if let Ok(object) = serde_json::from_str::<Map<String, Value>>(body)
        && let Ok(request) = MethodRequest::from_json(object)
        && let Value::Object(written) = request.to_json()
    {
        assert_eq!(MethodRequest::from_json(written).unwrap(), request);
    }
}

pub(crate) fn configs(bytes: &[u8]) {
    let Ok(text) = std::str::from_utf8(bytes) else { return };
    if let Err(error) = host::Config::parse(text, Path::new("/etc/behaviour-host")) {
        // One line for a person, whatever the file has in it.
        assert!(!error.to_string().contains('\n'), "{error}");
    }
}

/// Packets from a device into the hub.
pub(crate) fn frames(bytes: &[u8]) {
    assert!(hub::read_packets(bytes) <= bytes.len() / 2);
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
