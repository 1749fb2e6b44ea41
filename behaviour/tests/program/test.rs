//! `behaviour test`.

use crate::program::rig::Rig;

fn rig() -> Rig {
    let rig = Rig::with(&["sleeps.wat"]);
    let ok = r#"{"method": "once", "expect": {"status": 200, "took_ms": 20000}}"#;
    rig.write("cases/sleeps.json", ok);
    rig
}

#[test]
fn every_case_has_its_line_and_all_a_summary() {
    let rig = rig();
    rig.write(
        "cases/late.json",
        r#"{"method": "again", "expect": {"error": "deadline-exceeded"}}"#,
    );

    let ended = rig.run(&["test", "--component", "sleeps.wasm"]);
    assert!(
        ended.stdout.starts_with(
            "ok      late  30.000 s, 197 KB\nok      sleeps  20.000 s, 197 KB\n2 ok, 0 failed, in "
        ),
        "{}",
        ended.stdout
    );
    assert_eq!(ended.code, Some(0));
}

#[test]
fn a_case_that_fails_says_where_and_ends_with_1() {
    let rig = rig();
    rig.write("cases/wrong.json", r#"{"method": "once", "expect": {"took_ms": 5}}"#);

    let ended = rig.run(&["test", "--component", "sleeps.wasm"]);
    let lines = "FAILED  wrong\n        took_ms: expected 5, found 20000\n1 ok, 1 failed, in ";
    assert!(ended.stdout.contains(lines), "{}", ended.stdout);
    assert_eq!(ended.code, Some(1));
}

#[test]
fn a_case_that_is_wrong_itself_fails_with_file_and_key() {
    let rig = rig();
    rig.write("cases/wrong.json", r#"{"method": "once", "expects": {}}"#);

    let ended = rig.run(&["test", "--component", "sleeps.wasm"]);
    let line = "FAILED  wrong\n        ./cases/wrong.json: expects: unknown field `expects`, ";
    assert!(ended.stdout.contains(line), "{}", ended.stdout);
    assert_eq!(ended.code, Some(1));
}

#[test]
fn cases_are_chosen_by_name_and_told_in_json() {
    let rig = rig();
    rig.write("cases/wrong.json", "{}");

    let ended = rig.run(&["test", "--component", "sleeps.wasm", "--filter", "slee", "--json"]);
    let told = ended.json();
    assert_eq!((&told["ok"], &told["failed"]), (&1.into(), &0.into()));
    assert_eq!(told["cases"][0]["name"], "sleeps");
    let ended = rig.run(&["test", "--component", "sleeps.wasm", "--filter", "door"]);
    assert_eq!(ended.stderr, "error: no case name contains `door`\n");
    assert_eq!(ended.code, Some(2));
}

#[test]
fn without_a_case_or_a_component_there_is_a_way_out() {
    let rig = rig();
    let ended = rig.run(&["test", "--cases", "nowhere", "--component", "sleeps.wasm"]);
    assert!(ended.stderr.starts_with("error: cases in `nowhere`: No such file"));
    assert!(ended.stderr.contains("hint: write one as cases/NAME.json"), "{}", ended.stderr);
    assert_eq!(ended.code, Some(2));
    assert_eq!(rig.run(&["test", "--component", "nowhere.wasm"]).code, Some(3));
}

#[test]
fn the_shell_completes_every_command() {
    let rig = Rig::with(&[]);
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let ended = rig.run(&["completions", shell]);
        for command in ["build", "call", "check", "test", "watch"] {
            assert!(ended.stdout.contains(command), "{shell} does not know {command}");
        }
        assert_eq!(ended.code, Some(0));
    }
}
