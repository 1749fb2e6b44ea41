//! Inspection of a component without running it.

use crate::rig::engine;
use behaviour_plugin::{
    Capability, Exports, FileFormat, Inspection, Limits, LoadError, PluginSettings, Provider,
};
use std::collections::BTreeSet;

fn inspect(bytes: &[u8]) -> Inspection {
    let compiled = engine().compile(bytes, &Limits::default()).unwrap();
    engine().inspect(bytes, &compiled).unwrap()
}

#[test]
fn a_component_is_described_by_its_imports_and_exports() {
    let found = inspect(&fixtures::guest("lasts.wat"));

    assert_eq!(found.format, FileFormat::CoreModule);
    assert_eq!(
        found.optional,
        Exports { deferred: true, desired: true, lifecycle: true, ..Exports::default() }
    );
    assert_eq!(found.wit_versions, BTreeSet::from(["0.1.2".to_owned()]));
    assert_eq!(found.memory_bytes, Some(8 * 64 * 1024));
    assert!(found.exports.contains(&"device:behaviour/deferred@0.1.2".to_owned()));
    assert!(found.imports.iter().all(|import| import.provider == Some(Provider::Host)));
    assert!(!found.wasi());
}

#[test]
fn requested_capabilities_are_found_without_a_grant() {
    assert_eq!(
        inspect(&fixtures::guest("reboots.wat")).capabilities(),
        BTreeSet::from([Capability::Power])
    );
    assert!(inspect(&fixtures::guest("wasi.wat")).wasi());
}

#[test]
fn a_component_that_no_host_loads_is_described_as_well() {
    let text = br#"(component
        (import "acme:door/lock@1.0.0" (instance))
        (import "device:behaviour/clock@0.2.0" (instance)))"#;

    let found = inspect(text);
    assert_eq!(found.format, FileFormat::Component);
    assert!(found.imports.iter().all(|import| import.provider.is_none()));
    assert_eq!(found.wit_versions, BTreeSet::from(["0.2.0".to_owned()]));
    let compiled = engine().compile(text, &Limits::default()).unwrap();
    let error = engine().plugin("door", &compiled, PluginSettings::default()).err().unwrap();
    assert!(matches!(error, LoadError::Unknown { .. }), "{error}");
}

#[test]
fn plugins_of_one_compiled_component_have_separate_settings() {
    let guest = fixtures::guest("sleeps.wat");
    let compiled = engine().compile(&guest, &Limits::default()).unwrap();
    let small = Limits { memory_bytes: 64 * 1024, ..Limits::default() };
    let with = |limits| PluginSettings { limits, ..PluginSettings::default() };

    let plugin = engine().plugin("roomy", &compiled, with(Limits::default())).unwrap();
    assert_eq!(plugin.name(), "roomy");
    let error = engine().plugin("small", &compiled, with(small)).err().unwrap();
    assert!(matches!(error, LoadError::Memory { .. }), "{error}");
}
