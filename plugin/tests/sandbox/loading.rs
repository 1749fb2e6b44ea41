//! Loading of plugins, and the errors that prevent it.

use crate::rig::{engine, load, load_with};
use behaviour_plugin::{
    Capability, Engine, EngineSettings, Exports, Limits, LoadError, PluginSettings,
};
use std::collections::BTreeSet;
use std::time::Duration;

#[track_caller]
fn refused(bytes: &[u8]) -> LoadError {
    match engine().load("reboot", bytes, PluginSettings::default()) {
        Ok(_) => panic!("was loaded"),
        Err(error) => error,
    }
}

#[test]
fn a_plugin_has_a_name_and_a_list_of_imports() {
    let plugin = load("sleeps.wat");

    assert_eq!(plugin.name(), "reboot");
    let imports = ["device:behaviour/types@0.1.2", "device:behaviour/clock@0.1.2"];
    assert_eq!(plugin.imports(), imports);
}

#[test]
fn a_file_that_is_not_webassembly_is_refused_with_its_first_bytes() {
    let error = refused(b"#!/bin/sh\nexec true");
    assert_eq!(error.to_string(), "not WebAssembly: starts with \"#!/bin/sh\\nexec t\"");
}

#[test]
fn a_core_module_without_metadata_is_refused_with_a_hint() {
    let error = refused(&wat::parse_str("(module)").unwrap());

    assert_eq!(error.to_string(), "a core module without component metadata");
    assert!(error.hint().unwrap().contains("behaviour build"));
}

#[test]
fn an_invalid_component_is_refused_on_one_line() {
    let error = refused(b"(component (func))").to_string();
    assert!(error.starts_with("not a valid component: "), "{error}");
    assert!(!error.contains('\n'), "{error}");

    let error = refused(b"\0asm\x0d\0\x01\0broken").to_string();
    assert!(!error.contains('\n'), "{error}");
}

#[test]
fn a_capability_that_was_not_granted_is_refused_with_the_line_to_add() {
    let error = refused(&fixtures::guest("reboots.wat"));

    assert_eq!(error.to_string(), "imports `device:behaviour/power@0.1.2`, which is not granted");
    let line = "add \"power\" to `capabilities` under [plugins.reboot]";
    assert!(error.hint().unwrap().contains(line));
}

#[test]
fn imports_are_checked_before_the_component_is_compiled() {
    // The compiler would refuse this function, because its result is missing.
    let wrong = r#"(core module (import "wasi:sockets" "tcp" (func)) (func (result i32)))"#;
    let error = refused(format!("(component {wrong})").as_bytes()).to_string();
    assert!(error.starts_with("not a valid component: "), "{error}");

    let allowed = r#"(component (import "acme:wheels/turn@1.0.0" (instance)))"#;
    let error = refused(format!("(component {allowed} {wrong})").as_bytes()).to_string();
    assert!(error.starts_with("not a valid component: "), "{error}");

    let power = r#"(import "device:behaviour/power@0.1.2" (instance))"#;
    let error = refused(format!("(component {allowed} {wrong} {power})").as_bytes()).to_string();
    assert_eq!(error, "imports `device:behaviour/power@0.1.2`, which is not granted");
}

#[test]
fn a_plugin_has_the_capabilities_that_are_requested_and_granted() {
    let granted = BTreeSet::from([Capability::Power]);
    let settings = || PluginSettings { capabilities: granted.clone(), ..PluginSettings::default() };

    assert_eq!(load_with("reboots.wat", settings()).unwrap().capabilities(), &granted);
    assert!(load_with("sleeps.wat", settings()).unwrap().capabilities().is_empty());
}

#[test]
fn optional_exports_are_detected() {
    let all = Exports { deferred: true, desired: true, lifecycle: true, ..Exports::default() };
    assert_eq!(load("lasts.wat").exports(), all);
    let messages = Exports { messages: true, ..Exports::default() };
    assert_eq!(load("mails.wat").exports(), messages);
    assert_eq!(load("sleeps.wat").exports(), Exports::default());
}

#[test]
fn an_optional_export_with_other_functions_is_refused() {
    let text = std::fs::read_to_string(fixtures::file("reply.wat")).unwrap();
    let (whole, _) = text.rsplit_once(')').unwrap();
    let export = r#"(instance $none) (export "device:behaviour/deferred@0.1.2" (instance $none)))"#;

    let error = refused(format!("{whole}{export}").as_bytes());
    assert_eq!(error.to_string(), "exports `device:behaviour/deferred@0.1.2` without `run`");
    assert_eq!(error.hint(), Some("build it with the `wit/` folder of this release"));
}

#[test]
fn a_component_without_methods_is_refused() {
    let error = refused(b"(component)").to_string();
    assert_eq!(error, "does not export `device:behaviour/methods@0.1.2`, so it has no methods");
}

#[test]
fn an_import_with_other_functions_is_refused() {
    let clock = |function: &str| {
        let text = format!(
            r#"(component
                (import "device:behaviour/clock@0.1.2" (instance (export "{function}" (func))))
                (instance $none)
                (export "device:behaviour/methods@0.1.2" (instance $none)))"#
        );
        let error = refused(text.as_bytes());
        assert!(error.hint().unwrap().starts_with("build it with the `wit/` folder"), "{error}");
        error.to_string()
    };
    assert_eq!(
        clock("stop"),
        "imports `stop` of `device:behaviour/clock@0.1.2`, which this host does not have"
    );
    assert_eq!(
        clock("now-ms"),
        "`now-ms` of `device:behaviour/clock@0.1.2` has another type than in this host"
    );
}

#[test]
fn a_plugin_with_an_initial_memory_above_the_limit_is_refused() {
    let limits = Limits { memory_bytes: 1024 * 1024, ..Limits::default() };
    let settings = PluginSettings { limits, ..PluginSettings::default() };

    let error = load_with("answers.wat", settings).err().unwrap();
    assert_eq!(error.to_string(), "starts with 8519680 bytes of memory; 1048576 are allowed");
}

#[test]
fn unusable_limits_are_refused() {
    let with = |limits| PluginSettings { limits, ..PluginSettings::default() };
    let long = Limits { deadline: Duration::from_secs(301), ..Limits::default() };
    let large = Limits { memory_bytes: 1 << 31, ..Limits::default() };
    let short = Limits { component_bytes: 100, ..Limits::default() };
    let error = |settings| load_with("sleeps.wat", settings).err().unwrap().to_string();

    assert!(error(with(long)).starts_with("`deadline` is 301s"));
    assert!(error(with(large)).starts_with("`memory_bytes` is 2147483648"));
    assert!(error(with(short)).ends_with("bytes long; 100 are allowed"));
}

#[test]
fn the_error_for_a_missing_file_names_the_file() {
    let path = fixtures::file("nowhere.wasm");

    let error = engine().load_file("reboot", &path, PluginSettings::default()).err().unwrap();
    assert!(error.to_string().ends_with("nowhere.wasm"), "{error}");
}

#[test]
fn a_component_is_compiled_once_and_then_cached() {
    let directory = tempfile::tempdir().unwrap();
    let cache = Some(directory.path().join("made/on/demand"));
    let settings = EngineSettings { instances: 1, cache, ..EngineSettings::default() };
    let component = fixtures::guest("sleeps.wat");
    let cache_hits_of_a_start = || {
        let engine = Engine::new(&settings).unwrap();
        engine.load("sleeps", &component, PluginSettings::default()).unwrap();
        engine.cache_hits()
    };

    assert_eq!(cache_hits_of_a_start(), 0);
    assert_eq!(cache_hits_of_a_start(), 1);
}

#[test]
fn an_unusable_cache_directory_is_refused() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let cache = Some(file.path().join("below"));

    let error = Engine::new(&EngineSettings { cache, ..EngineSettings::default() }).err().unwrap();
    assert!(error.to_string().starts_with("compile cache "), "{error}");
}

#[test]
fn the_error_for_an_unsupported_feature_names_the_feature() {
    let threads = refused(b"(component (core module (memory 1 1 shared)))");
    let error = threads.to_string();
    let expected = "uses a WebAssembly feature that this host does not support: ";
    assert!(error.starts_with(expected) && error.contains("threads"), "{error}");
    assert!(threads.hint().unwrap().contains("docs/plugins.md"));

    let asynchronous = refused(b"(component (type (func async)))");
    assert!(asynchronous.to_string().starts_with(expected), "{asynchronous}");
    assert!(asynchronous.hint().unwrap().contains("--backend-qjs-disable-async"));
}

#[test]
fn the_error_for_a_newer_function_names_both_versions() {
    let text = r#"(component
        (import "device:behaviour/clock@0.1.5" (instance
            (export "uptime-ms" (func (result u64)))))
        (instance $methods)
        (export "device:behaviour/methods@0.1.2" (instance $methods)))"#;

    assert_eq!(
        refused(text.as_bytes()).to_string(),
        "`uptime-ms` of `clock`: this host (0.1.2) is older than the plugin's `wit/` (0.1.5)"
    );
}

#[test]
fn a_text_above_the_limit_is_refused_before_it_is_parsed() {
    let mut text = b"(component)".to_vec();
    text.resize(1024 * 1024 + 1, b' ');

    let error = refused(&text);
    let expected = "1048577 bytes of text; 1048576 are allowed";
    assert_eq!(error.to_string(), expected);
    text.pop();
    assert!(matches!(refused(&text), LoadError::NoMethods(_)));
}
