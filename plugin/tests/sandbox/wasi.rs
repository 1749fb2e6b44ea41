//! WASI without access to the system.

use crate::rig::{Host, engine, load};
use behaviour_plugin::PluginSettings;

#[tokio::test]
async fn wasi_has_no_files_and_no_environment_and_stderr_goes_to_the_log() {
    let host = Host::default();
    let plugin = load("wasi.wat");

    let answer = host.call(&plugin, "look", "null").await.unwrap();
    assert_eq!(answer.status, 200);
    let line = |text| format!("reboot look call-1 Warn: {text} []");
    assert_eq!(host.log(), [line("nothing"), line(""), line("here")]);
}

#[tokio::test]
async fn the_error_for_an_exit_has_no_backtrace_and_the_log_has_it() {
    let host = Host::default();
    let error = host.call(&load("exits.wat"), "any", "null").await.unwrap_err();

    assert_eq!((error.status(), error.code()), (500, "trapped"));
    assert_eq!(error.message(), "the guest called `exit` with a failure");
    let log = host.log();
    assert_eq!(log.len(), 1, "{log:?}");
    assert!(log[0].contains("Warn: trapped: ") && log[0].contains("wasm backtrace"), "{log:?}");
}

#[tokio::test(start_paused = true)]
async fn a_sleep_on_wasis_clock_advances_that_clock_even_with_virtual_time() {
    let answer = Host::default().call(&load("dozes.wat"), "monotonic", "null").await.unwrap();
    assert_eq!(answer.status, 200 + 20);
}

#[tokio::test]
async fn wasi_gives_no_access_to_the_machine() {
    let plugin = load("pries.wat");
    let (nothing, closed, access_denied, no_name) = (200, 400 + 1, 400 + 1, 400 + 20);

    for (what, expected) in [
        ("directories", nothing),
        ("environment", nothing),
        ("arguments", nothing),
        ("working directory", nothing),
        ("input", closed),
        ("tcp", access_denied),
        ("names", no_name),
    ] {
        let answer = Host::default().call(&plugin, what, "null").await.unwrap();
        assert_eq!(answer.status, expected, "{what}");
    }
}

#[tokio::test]
async fn a_plugin_cannot_read_the_state_of_another() {
    let host = Host::default();
    let load = |name| {
        let bytes = fixtures::guest("lasts.wat");
        engine().load(name, &bytes, PluginSettings::default()).unwrap()
    };
    let (one, other) = (load("one"), load("other"));
    let (found, none) = (201, 200);

    host.call(&one, "set", "1").await.unwrap();
    assert_eq!(host.call(&one, "keys", "null").await.unwrap().status, found);
    assert_eq!(host.call(&other, "keys", "null").await.unwrap().status, none);
    assert!(host.call(&other, "get", "null").await.unwrap().payload.is_none());
}
