//! Tests of `behaviour check`.

use serde_json::{Value, json};

use crate::program::rig::Rig;

#[test]
fn a_component_is_described_without_being_run() {
    let rig = Rig::with(&["asks.wat"]);

    let output = rig.run(&["check", "asks.wasm"]);
    let lines: Vec<_> = output.stdout.lines().collect();
    assert!(lines[0].starts_with("asks.wasm: core module with embedded WIT, "), "{}", lines[0]);
    for line in [
        "  built for  device:behaviour@0.1.2",
        "  imports    context, clock, config, twin, telemetry",
        "  WASI       none",
        "  exports    methods",
        "  lacks      deferred, desired, lifecycle, messages",
        "  memory     525 KB at start",
        "A host would load it.",
    ] {
        assert!(lines.contains(&line), "no `{line}` in {}", output.stdout);
    }
    assert_eq!(output.code, Some(0));
}

#[test]
fn closed_wasi_interfaces_are_listed() {
    let rig = Rig::with(&["wasi.wat"]);
    let output = rig.run(&["check", "wasi.wasm"]);
    assert!(output.stdout.contains("  WASI       closed: "), "{}", output.stdout);
    assert_eq!(rig.run(&["check", "wasi.wasm", "--json"]).json()["wasi"], true);
}

#[test]
fn a_component_is_refused_until_its_capabilities_are_granted() {
    let rig = Rig::with(&["reboots.wat"]);

    let output = rig.run(&["check", "reboots.wasm"]);
    assert_eq!(
        output.stderr,
        format!(
            "error: imports `device:behaviour/power@0.1.2`, which is not granted\n\
             hint: {}\n",
            r#"add `capabilities = ["power"]` under [plugins.reboots] in host.toml to grant this"#
        )
    );
    assert!(output.stdout.contains("  may        reboot the machine\n"), "{}", output.stdout);
    assert_eq!(output.code, Some(1));
    let output = rig.run(&["check", "reboots.wasm", "--capability", "power"]);
    let line = "with this line under [plugins.reboots]: capabilities = [\"power\"]\n";
    assert!(output.stdout.contains(line), "{}", output.stdout);
    assert_eq!(output.code, Some(0));
}

#[test]
fn a_file_that_is_not_a_component_is_reported_in_json() {
    let rig = Rig::with(&[]);
    rig.write("notes.txt", "a note");

    let output = rig.run(&["check", "notes.txt", "--json"]);
    let error: Value = serde_json::from_str(&output.stderr).unwrap();
    assert_eq!(error["message"], "`notes.txt`: not WebAssembly: starts with \"a note\"");
    assert_eq!((&error["error"], &error["exit_code"]), (&json!("other"), &json!(1)));
    assert_eq!(output.code, Some(1));
}

#[test]
fn the_plugin_in_a_folder_is_built_and_checked() {
    let rig = Rig::with(&[]);
    rig.run(&["new", "door", "--lang", "WAT"]);

    let output = rig.run(&["check", "door"]);
    assert!(output.stdout.contains("A host would load it."), "{}", output.stderr);
    assert_eq!(output.code, Some(0));
    let output = rig.run(&["check", "."]);
    assert!(output.stderr.starts_with("error: "), "{}", output.stderr);
    assert_eq!(output.code, Some(1));
}

#[test]
fn two_components_are_compared_by_their_imports_and_abilities() {
    let rig = Rig::with(&["sleeps.wat", "asks.wat"]);

    let output = rig.run(&["check", "sleeps.wasm", "asks.wasm"]);
    assert!(output.stdout.starts_with("sleeps.wasm -> asks.wasm\n"), "{}", output.stdout);
    assert!(output.stdout.contains("  imports  + config, context, telemetry, twin\n"));
    let json = rig.run(&["check", "asks.wasm", "sleeps.wasm", "--json"]).json();
    assert_eq!(json["imports"]["less"], json!(["config", "context", "telemetry", "twin"]));
    assert_eq!(json["may"]["more"], json!([]));
}
