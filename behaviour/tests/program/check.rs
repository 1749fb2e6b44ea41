//! `behaviour check`.

use serde_json::json;

use crate::program::rig::Rig;

#[test]
fn a_component_is_described_without_being_run() {
    let rig = Rig::with(&["asks.wat"]);

    let ended = rig.run(&["check", "asks.wasm"]);
    let lines: Vec<_> = ended.stdout.lines().collect();
    assert!(lines[0].starts_with("asks.wasm: core module with embedded WIT, "), "{}", lines[0]);
    for line in [
        "  built for  device:behaviour@0.1.0",
        "  imports    context, clock, config, twin, telemetry",
        "  WASI       none",
        "  exports    methods",
        "  lacks      deferred, desired, lifecycle",
        "  memory     525 KB at start",
        "A host would load it.",
    ] {
        assert!(lines.contains(&line), "no `{line}` in {}", ended.stdout);
    }
    assert_eq!(ended.code, Some(0));
}

#[test]
fn closed_wasi_is_named() {
    let rig = Rig::with(&["wasi.wat"]);
    let ended = rig.run(&["check", "wasi.wasm"]);
    assert!(ended.stdout.contains("  WASI       closed: "), "{}", ended.stdout);
    assert_eq!(rig.run(&["check", "wasi.wasm", "--json"]).json()["wasi"], true);
}

#[test]
fn a_component_that_wants_more_is_refused_until_it_is_granted() {
    let rig = Rig::with(&["reboots.wat"]);

    let ended = rig.run(&["check", "reboots.wasm"]);
    assert_eq!(
        ended.stderr,
        format!(
            "error: imports `device:behaviour/power@0.1.0`, which is not granted\n\
             hint: {}\n",
            r#"add `capabilities = ["power"]` under [plugins.reboots] in host.toml to grant this"#
        )
    );
    assert!(ended.stdout.contains("  may        reboot the machine\n"), "{}", ended.stdout);
    assert_eq!(ended.code, Some(1));
    let ended = rig.run(&["check", "reboots.wasm", "--capability", "power"]);
    let line = "with this line under [plugins.reboots]: capabilities = [\"power\"]\n";
    assert!(ended.stdout.contains(line), "{}", ended.stdout);
    assert_eq!(ended.code, Some(0));
}

#[test]
fn what_is_no_component_is_refused_in_json_too() {
    let rig = Rig::with(&[]);
    rig.write("notes.txt", "a note");

    let ended = rig.run(&["check", "notes.txt", "--json"]);
    assert_eq!(ended.json()["loads"], false);
    assert_eq!(ended.json()["error"], "`notes.txt`: not WebAssembly: starts with \"a note\"");
    assert_eq!(ended.code, Some(1));
}

#[test]
fn a_folder_is_to_be_built_first() {
    let ended = Rig::with(&[]).run(&["check", "."]);
    assert!(ended.stderr.contains("hint: build it first, and name the file"), "{}", ended.stderr);
    assert_eq!(ended.code, Some(1));
}

#[test]
fn of_two_components_it_says_what_the_second_may_do_more() {
    let rig = Rig::with(&["sleeps.wat", "asks.wat"]);

    let ended = rig.run(&["check", "sleeps.wasm", "asks.wasm"]);
    assert!(ended.stdout.starts_with("sleeps.wasm -> asks.wasm\n"), "{}", ended.stdout);
    assert!(ended.stdout.contains("  imports  + config, context, telemetry, twin\n"));
    let json = rig.run(&["check", "asks.wasm", "sleeps.wasm", "--json"]).json();
    assert_eq!(json["imports"]["less"], json!(["config", "context", "telemetry", "twin"]));
    assert_eq!(json["may"]["more"], json!([]));
}
