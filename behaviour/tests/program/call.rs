//! `behaviour call`.

use serde_json::json;

use crate::program::rig::Rig;

#[test]
fn the_answer_alone_is_on_standard_output() {
    let rig = Rig::with(&["reply.wat"]);

    let ended = rig.run(&["call", "reply.wasm", "echo", r#"{"b":1.50,"a":[]}"#]);
    assert_eq!(ended.stdout, "{\n  \"b\": 1.50,\n  \"a\": []\n}\n");
    assert!(ended.stderr.starts_with("200\ntook 0.000 s of virtual time, "), "{}", ended.stderr);
    assert_eq!(ended.code, Some(0));
}

#[test]
fn a_payload_may_come_from_a_file_or_from_standard_input() {
    let rig = Rig::with(&["reply.wat"]);
    rig.write("payload.json", "[1]\n");

    assert_eq!(rig.run(&["call", "reply.wasm", "echo", "@payload.json"]).stdout, "[\n  1\n]\n");
    let ended = rig.run_with_input(&["call", "reply.wasm", "echo", "-"], "\"piped\"");
    assert_eq!(ended.stdout, "\"piped\"\n");
    assert_eq!(rig.run(&["call", "reply.wasm", "echo", "-5"]).stdout, "-5\n");
}

#[test]
fn a_payload_that_is_not_json_is_one_clear_line() {
    let rig = Rig::with(&["reply.wat"]);

    let ended = rig.run(&["call", "reply.wasm", "echo", "world"]);
    let line = ended.stderr.lines().next().unwrap();
    assert_eq!(
        line,
        "error: invalid value 'world' for '[PAYLOAD]': is not JSON: expected value at line 1 column 1"
    );
    assert_eq!(ended.code, Some(2));
}

#[test]
fn a_sleep_of_twenty_seconds_takes_no_time() {
    let rig = Rig::with(&["sleeps.wat"]);

    let told = rig.run(&["call", "sleeps.wasm", "once", "--json"]).json();
    assert_eq!(told["took_ms"], 20_000);
    assert_eq!(told["status"], 200);
}

#[test]
fn what_the_plugin_does_is_shown_with_its_time() {
    let rig = Rig::with(&["asks.wat", "talks.wat"]);

    let ended = rig.run(&["call", "asks.wasm", "report", r#"{"a":{"b":1}}"#]);
    assert!(ended.stderr.contains("0.000 s  reported  {\"a\":{\"b\":1}}\n"), "{}", ended.stderr);
    let ended = rig.run(&["call", "talks.wasm", "once"]);
    let line = "0.000 s  info      one\\ntwo\\u{1b}[31m key=a\\rb\n";
    assert!(ended.stderr.contains(line), "{}", ended.stderr);
}

#[test]
fn settings_and_twin_are_there_before_the_call() {
    let rig = Rig::with(&["asks.wat"]);

    assert_eq!(rig.run(&["call", "asks.wasm", "get", "--config", "delay=20"]).stdout, "20\n");
    rig.write("desired.json", r#"{"delay":5}"#);
    let ended = rig.run(&["call", "asks.wasm", "desired", "--desired", "@desired.json", "--json"]);
    assert_eq!(ended.json()["answer"], json!({"delay": 5}));
    let ended = rig.run(&["call", "asks.wasm", "desired", "--desired", "{\"a.b\":1}"]);
    assert!(ended.stderr.starts_with("error: key `a.b` must not be empty"), "{}", ended.stderr);
    assert_eq!(ended.code, Some(2));
}

#[test]
fn a_call_that_fails_is_told_in_the_hosts_words_and_in_the_exit_code() {
    let rig = Rig::with(&["misbehaves.wat", "answers.wat"]);

    let ended = rig.run(&["call", "misbehaves.wasm", "spin", "--deadline", "50ms"]);
    assert!(
        ended.stderr.starts_with(
            "504 deadline-exceeded: no answer within 50ms\nhint: the plugin computed without waiting, "
        ),
        "{}",
        ended.stderr
    );
    assert_eq!((ended.code, ended.stdout.as_str()), (Some(1), ""));
    let ended = rig.run(&["call", "misbehaves.wasm", "grow", "--memory", "1MiB", "--json"]);
    assert_eq!(ended.json()["error"], "out-of-memory");
    let ended = rig.run(&["call", "answers.wasm", "busy"]);
    assert!(ended.stderr.starts_with("429 refused: busy; try again in 250 ms\n"));
    assert_eq!(ended.code, Some(1));
    let ended = rig.run(&["call", "misbehaves.wasm", "trap"]);
    let line = "500 trapped: wasm trap: wasm `unreachable` instruction executed\n";
    assert!(ended.stderr.starts_with(line), "{}", ended.stderr);
}

#[test]
fn an_answer_of_400_and_more_is_in_the_exit_code_too() {
    let rig = Rig::with(&["asks.wat"]);
    let ended = rig.run(&["call", "asks.wasm", "report", "[1]"]);
    assert!(ended.stderr.starts_with("401\n"), "{}", ended.stderr);
    assert_eq!(ended.code, Some(1));
}

#[test]
fn a_file_that_is_no_plugin_is_named_with_the_way_out() {
    let rig = Rig::with(&[]);
    rig.write("notes.txt", "a note");

    let ended = rig.run(&["call", "notes.txt", "echo"]);
    assert_eq!(
        ended.stderr,
        "error: `notes.txt`: not WebAssembly: starts with \"a note\"\n\
         hint: make a component with `behaviour build`, and name its file\n"
    );
    assert_eq!(ended.code, Some(3));
    let nothing_to_build = rig.run(&["call", ".", "echo"]);
    assert!(nothing_to_build.stderr.starts_with("error: "), "{}", nothing_to_build.stderr);
    assert_eq!(nothing_to_build.code, Some(3));
    assert_eq!(rig.run(&["call", "nowhere.wasm", "echo"]).code, Some(3));
}

#[test]
fn jobs_are_listed_and_run_only_when_asked_for() {
    let rig = Rig::with(&["lasts.wat"]);

    let listed = rig.run(&["call", "lasts.wasm", "delay", "[1]"]);
    let line = "0.000 s  job       job-1 `job` after-delay 5000 ms: [1]\n";
    assert!(listed.stderr.contains(line), "{}", listed.stderr);
    let ran = rig.run(&["call", "lasts.wasm", "delay", "[1]", "--run-jobs"]);
    assert!(ran.stderr.contains("5.000 s  job       job-1 `job` ran: done\n"), "{}", ran.stderr);
    assert!(!listed.stderr.contains("ran:"));
}

#[test]
fn the_optional_exports_are_called_by_themselves() {
    let rig = Rig::with(&["lasts.wat"]);

    let job = rig.run(&["call", "lasts.wasm", "reject", "--job"]);
    assert!(job.stderr.starts_with("rejected: because\n"), "{}", job.stderr);
    let changed = rig.run(&["call", "lasts.wasm", "--changed", "{\"a\":1}"]);
    assert!(changed.stderr.starts_with("retry: again in 2 ms\n"), "{}", changed.stderr);
    let started = rig.run(&["call", "--start", "lasts.wasm"]);
    let refused = rig.run(&["call", "--start=1.0", "lasts.wasm"]);
    assert!(refused.stderr.starts_with("refused: 1.0\n"), "{}", refused.stderr);
    assert!(started.stderr.starts_with("done\n"), "{}", started.stderr);
    assert_eq!((job.code, changed.code, started.code), (Some(1), Some(1), Some(0)));
    assert_eq!(rig.run(&["call", "lasts.wasm"]).code, Some(2));
}

#[test]
fn what_was_remembered_is_there_and_what_is_remembered_is_told() {
    let rig = Rig::with(&["lasts.wat"]);

    assert_eq!(
        rig.run(&["call", "lasts.wasm", "get", "--state", "key=[7]", "--json"]).json()["answer"],
        json!([7])
    );
    let told = rig.run(&["call", "lasts.wasm", "set", "[8]", "--json"]).json();
    assert_eq!(told["state"], json!({"key": "[8]"}));
}

#[test]
fn a_reboot_is_shown_and_needs_its_capability() {
    let rig = Rig::with(&["reboots.wat"]);

    let ended = rig.run(&["call", "reboots.wasm", "any", "--capability", "power"]);
    let line = "power     reboot requested in 5000 ms: for\\nmaintenance";
    assert!(ended.stderr.contains(line), "{}", ended.stderr);
    let refused = rig.run(&["call", "reboots.wasm", "any"]);
    assert!(refused.stderr.contains("which is not granted\nhint: "), "{}", refused.stderr);
    assert_eq!((ended.code, refused.code), (Some(0), Some(3)));
}
