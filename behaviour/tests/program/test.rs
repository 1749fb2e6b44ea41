//! Tests of `behaviour test`.

use crate::program::rig::{ProgramOutput, Rig};

fn rig() -> Rig {
    let rig = Rig::with(&["sleeps.wat"]);
    let ok = r#"{"method": "once", "expect": {"status": 200, "took_ms": 20000}}"#;
    rig.write("cases/sleeps.json", ok);
    rig
}

#[test]
fn each_case_is_printed_on_one_line_followed_by_a_summary() {
    let rig = rig();
    rig.write(
        "cases/late.json",
        r#"{"method": "again", "expect": {"error": "deadline-exceeded"}}"#,
    );

    let output = rig.run(&["test", "--component", "sleeps.wasm"]);
    assert!(
        output.stdout.starts_with(
            "ok      late  30.000 s, 197 KB\nok      sleeps  20.000 s, 197 KB\n2 ok, 0 failed, in "
        ),
        "{}",
        output.stdout
    );
    assert_eq!(output.code, Some(0));
}

#[test]
fn a_failed_case_is_shown_with_its_differences_and_exit_code_1() {
    let rig = rig();
    rig.write("cases/wrong.json", r#"{"method": "once", "expect": {"took_ms": 5}}"#);

    let output = rig.run(&["test", "--component", "sleeps.wasm"]);
    let lines = "FAILED  wrong\n        took_ms: expected 5, found 20000\n1 ok, 1 failed, in ";
    assert!(output.stdout.contains(lines), "{}", output.stdout);
    assert_eq!(output.code, Some(1));
}

#[test]
fn a_failed_step_is_named_and_the_events_of_all_steps_are_shown() {
    let rig = Rig::with(&["keeps.wat"]);
    let case = r#"{"steps": [
        {"method": "k1", "payload": 5, "expect": {"status": 200}},
        {"name": "the job", "after": "1s", "expect": {"state": {}}},
        {"restart": "host"}
    ]}"#;
    rig.write("cases/wrong.json", case);

    let output = rig.run(&["test", "--component", "keeps.wasm"]);
    let lines = "\
        FAILED  wrong\n        \
        step 2 of 3 (the job):\n        \
        state.k1: expected nothing, found \"5\"\n        \
        events:\n          \
        step 1 (method k1)\n              \
        0.000 s  state     k1 = 5\n              \
        0.000 s  state     w5 = 5\n";
    assert!(output.stdout.starts_with(lines), "{}", output.stdout);
    let run = "          step 2 (the job)\n              0.020 s  state     w5 deleted\n";
    assert!(output.stdout.contains(run), "{}", output.stdout);
    assert_eq!(output.code, Some(1));
    let json = rig.run(&["test", "--component", "keeps.wasm", "--json"]).json();
    assert_eq!(
        json["cases"][0]["failed_step"],
        serde_json::json!({"number": 2, "name": "the job"})
    );
}

#[test]
fn an_invalid_case_fails_with_its_file_and_key() {
    let rig = rig();
    rig.write("cases/wrong.json", r#"{"method": "once", "expects": {}}"#);

    let output = rig.run(&["test", "--component", "sleeps.wasm"]);
    let line = "FAILED  wrong\n        ./cases/wrong.json: expects: unknown field `expects`, ";
    assert!(output.stdout.contains(line), "{}", output.stdout);
    assert_eq!(output.code, Some(1));
}

#[test]
fn cases_can_be_filtered_by_name_and_reported_in_json() {
    let rig = rig();
    rig.write("cases/wrong.json", "{}");

    let output = rig.run(&["test", "--component", "sleeps.wasm", "--filter", "slee", "--json"]);
    let report = output.json();
    assert_eq!((&report["ok"], &report["failed"]), (&1.into(), &0.into()));
    assert_eq!(report["cases"][0]["name"], "sleeps");
    let output = rig.run(&["test", "--component", "sleeps.wasm", "--filter", "door"]);
    assert_eq!(output.stderr, "error: no case name contains `door`\n");
    assert_eq!(output.code, Some(2));
}

#[test]
fn a_case_without_a_needed_capability_fails_with_the_key_that_grants_it() {
    let rig = Rig::with(&["requests.wat", "reboots.wat"]);
    rig.write("cases/asks.json", r#"{"method": "any"}"#);
    for (component, hint) in [
        (
            "requests.wasm",
            "which is not granted; `http` in the case grants it and has the responses, and \
             `\"capabilities\": [\"http\"]` grants it without responses\n",
        ),
        (
            "reboots.wasm",
            "which is not granted; `\"capabilities\": [\"power\"]` in the case grants it\n",
        ),
    ] {
        let output = rig.run(&["test", "--component", component]);
        assert!(output.stdout.contains(hint), "{}", output.stdout);
        assert_eq!(output.code, Some(1));
    }
}

#[test]
fn missing_cases_and_components_have_separate_exit_codes() {
    let rig = rig();
    let output = rig.run(&["test", "--cases", "nowhere", "--component", "sleeps.wasm"]);
    assert!(output.stderr.starts_with("error: cases in `nowhere`: No such file"));
    assert!(output.stderr.contains("hint: write one as cases/NAME.json"), "{}", output.stderr);
    assert_eq!(output.code, Some(2));
    assert_eq!(rig.run(&["test", "--component", "nowhere.wasm"]).code, Some(3));
}

#[test]
fn completions_offer_commands_and_languages_in_each_shell() {
    let rig = Rig::with(&[]);
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let script = rig.run(&["completions", shell]);
        assert!(script.stdout.contains("COMPLETE"), "{shell}: {}", script.stdout);
        assert_eq!(script.code, Some(0));
    }
    let offered = |words: &[&str]| {
        let mut program = rig.command(&[&["--", "behaviour"], words].concat());
        ProgramOutput::of(program.env("COMPLETE", "fish").output().unwrap()).stdout
    };
    for command in ["build", "call", "check", "test", "watch"] {
        assert!(offered(&[""]).contains(command), "{command}");
    }
    assert_eq!(offered(&["new", "door", "--lang", "java"]), "javascript\n");
    assert!(offered(&["setup", ""]).contains("zig\n"));
}
