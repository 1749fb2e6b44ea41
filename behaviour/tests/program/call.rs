//! Tests of `behaviour call`.

use std::io::{BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::thread;

use serde_json::json;

use crate::program::rig::Rig;

#[test]
fn standard_output_contains_only_the_answer() {
    let rig = Rig::with(&["reply.wat"]);

    let output = rig.run(&["call", "reply.wasm", "echo", r#"{"b":1.50,"a":[]}"#]);
    assert_eq!(output.stdout, "{\n  \"b\": 1.50,\n  \"a\": []\n}\n");
    assert!(output.stderr.starts_with("200\ntook 0.000 s of virtual time, "), "{}", output.stderr);
    assert_eq!(output.code, Some(0));
}

#[test]
fn a_payload_can_come_from_a_file_or_from_standard_input() {
    let rig = Rig::with(&["reply.wat"]);
    rig.write("payload.json", "[1]\n");

    assert_eq!(rig.run(&["call", "reply.wasm", "echo", "@payload.json"]).stdout, "[\n  1\n]\n");
    let output = rig.run_with_input(&["call", "reply.wasm", "echo", "-"], "\"piped\"");
    assert_eq!(output.stdout, "\"piped\"\n");
    assert_eq!(rig.run(&["call", "reply.wasm", "echo", "-5"]).stdout, "-5\n");
}

#[test]
fn an_invalid_payload_is_reported_in_one_line() {
    let rig = Rig::with(&["reply.wat"]);

    let output = rig.run(&["call", "reply.wasm", "echo", "world"]);
    let line = output.stderr.lines().next().unwrap();
    assert_eq!(
        line,
        "error: invalid value 'world' for '[PAYLOAD]': is not JSON: expected value at line 1 column 1"
    );
    assert_eq!(output.code, Some(2));
}

#[test]
fn a_sleep_of_twenty_seconds_takes_virtual_time_only() {
    let rig = Rig::with(&["sleeps.wat"]);

    let report = rig.run(&["call", "sleeps.wasm", "once", "--json"]).json();
    assert_eq!(report["took_ms"], 20_000);
    assert!(report["real_time_ms"].as_f64().unwrap() > 0.0, "{report}");
    assert_eq!(report["status"], 200);
}

#[test]
fn each_action_of_the_plugin_is_shown_with_its_time() {
    let rig = Rig::with(&["asks.wat", "talks.wat"]);

    let output = rig.run(&["call", "asks.wasm", "report", r#"{"a":{"b":1}}"#]);
    assert!(output.stderr.contains("0.000 s  reported  {\"a\":{\"b\":1}}\n"), "{}", output.stderr);
    let output = rig.run(&["call", "talks.wasm", "once"]);
    let line = "0.000 s  info      one\\ntwo\\u{1b}[31m key=a\\rb\n";
    assert!(output.stderr.contains(line), "{}", output.stderr);
}

#[test]
fn settings_and_twin_are_available_to_the_call() {
    let rig = Rig::with(&["asks.wat"]);

    assert_eq!(rig.run(&["call", "asks.wasm", "get", "--config", "delay=20"]).stdout, "20\n");
    rig.write("desired.json", r#"{"delay":5}"#);
    let output = rig.run(&["call", "asks.wasm", "desired", "--desired", "@desired.json", "--json"]);
    assert_eq!(output.json()["answer"], json!({"delay": 5}));
    let output = rig.run(&["call", "asks.wasm", "desired", "--desired", "{\"a.b\":1}"]);
    assert!(output.stderr.starts_with("error: key `a.b` must not be empty"), "{}", output.stderr);
    assert_eq!(output.code, Some(2));
}

#[test]
fn a_failed_call_is_reported_with_the_hosts_message_and_an_exit_code() {
    let rig = Rig::with(&["misbehaves.wat", "answers.wat"]);

    let output = rig.run(&["call", "misbehaves.wasm", "spin", "--deadline", "50ms"]);
    assert!(
        output.stderr.starts_with(
            "504 deadline-exceeded: no answer within 50ms\nhint: the plugin computed without waiting, "
        ),
        "{}",
        output.stderr
    );
    assert_eq!((output.code, output.stdout.as_str()), (Some(1), ""));
    let output = rig.run(&["call", "misbehaves.wasm", "grow", "--memory", "1MiB", "--json"]);
    assert_eq!(output.json()["error"], "out-of-memory");
    let output = rig.run(&["call", "answers.wasm", "busy"]);
    assert!(output.stderr.starts_with("429 refused: busy; try again in 250 ms\n"));
    assert_eq!(output.code, Some(1));
    let output = rig.run(&["call", "misbehaves.wasm", "trap"]);
    let line = "500 trapped: wasm trap: wasm `unreachable` instruction executed\n";
    assert!(output.stderr.starts_with(line), "{}", output.stderr);
}

#[test]
fn an_answer_with_a_status_of_400_or_more_sets_the_exit_code() {
    let rig = Rig::with(&["asks.wat"]);
    let output = rig.run(&["call", "asks.wasm", "report", "[1]"]);
    assert!(output.stderr.starts_with("401\n"), "{}", output.stderr);
    assert_eq!(output.code, Some(1));
}

#[test]
fn a_file_that_is_not_a_plugin_is_an_error_with_a_hint() {
    let rig = Rig::with(&[]);
    rig.write("notes.txt", "a note");

    let output = rig.run(&["call", "notes.txt", "echo"]);
    assert_eq!(
        output.stderr,
        "error: `notes.txt`: not WebAssembly: starts with \"a note\"\n\
         hint: build a component with `behaviour build` and use its file\n"
    );
    assert_eq!(output.code, Some(3));
    let nothing_to_build = rig.run(&["call", ".", "echo"]);
    assert!(nothing_to_build.stderr.starts_with("error: "), "{}", nothing_to_build.stderr);
    assert_eq!(nothing_to_build.code, Some(3));
    assert_eq!(rig.run(&["call", "nowhere.wasm", "echo"]).code, Some(3));
}

#[test]
fn jobs_are_listed_and_run_only_with_an_option() {
    let rig = Rig::with(&["lasts.wat"]);

    let listed = rig.run(&["call", "lasts.wasm", "delay", "[1]"]);
    let line = "0.000 s  job       job-1 `job` after-delay 5000 ms: [1]\n";
    assert!(listed.stderr.contains(line), "{}", listed.stderr);
    let ran = rig.run(&["call", "lasts.wasm", "delay", "[1]", "--run-jobs"]);
    assert!(ran.stderr.contains("5.000 s  job       job-1 `job` ran: done\n"), "{}", ran.stderr);
    assert!(!listed.stderr.contains("ran:"));
}

#[test]
fn each_optional_export_can_be_called() {
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
fn state_can_be_set_before_a_call_and_is_reported_after_it() {
    let rig = Rig::with(&["lasts.wat"]);

    assert_eq!(
        rig.run(&["call", "lasts.wasm", "get", "--state", "key=[7]", "--json"]).json()["answer"],
        json!([7])
    );
    let report = rig.run(&["call", "lasts.wasm", "set", "[8]", "--json"]).json();
    assert_eq!(report["state"], json!({"key": "[8]"}));
}

#[test]
fn a_reboot_is_shown_and_needs_a_capability() {
    let rig = Rig::with(&["reboots.wat"]);

    let output = rig.run(&["call", "reboots.wasm", "any", "--capability", "power"]);
    let line = "power     reboot requested in 5000 ms: for\\nmaintenance";
    assert!(output.stderr.contains(line), "{}", output.stderr);
    let refused = rig.run(&["call", "reboots.wasm", "any"]);
    assert!(refused.stderr.contains("which is not granted\nhint: "), "{}", refused.stderr);
    assert_eq!((output.code, refused.code), (Some(0), Some(3)));
}

#[test]
fn a_device_continues_from_its_state_file() {
    use std::os::unix::fs::PermissionsExt as _;

    let rig = Rig::with(&["keeps.wat"]);
    let call = |arguments: &[&str]| {
        let before = ["call", "keeps.wasm", "--state-file", "device.json", "--json"];
        rig.run(&[&before, arguments].concat()).json()
    };
    let first = call(&["k1", "7"]);
    assert_eq!(first["state"], json!({"k1": "7", "w7": "7"}));
    let file = rig.path().join("device.json");
    let mode = std::fs::metadata(&file).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let text = std::fs::read_to_string(&file).unwrap();
    let device: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(device["jobs"][0]["due"], "2026-01-01T00:00:00.02Z");
    assert_eq!(device["reported"], json!({"version": 2, "properties": {"k1": 7}}));

    let second = call(&["last", "\"k1\"", "--run-jobs"]);
    assert_eq!(second["answer"], 7);
    assert_eq!(second["state"], json!({"k1": "7"}), "the job of the first call has run");
    assert_eq!(second["happened"].as_array().unwrap().last().unwrap()["job_ran"]["id"], "job-1");
    assert_eq!(second["reported"], json!({"k1": 7}));
    call(&["k2", "8"]);
    let text = std::fs::read_to_string(&file).unwrap();
    assert!(text.contains("\"id\": \"job-2\""), "{text}");
    assert!(text.contains("\"time\": \"2026-01-01T00:00:00.02Z\""), "{text}");
}

#[test]
fn a_file_that_is_no_state_file_is_refused_and_never_overwritten() {
    let rig = Rig::with(&["keeps.wat"]);
    let other = r#"{"scripts": {}}"#;
    rig.write("package.json", other);
    let call = ["call", "keeps.wasm", "k1", "7", "--state-file", "package.json"];

    let output = rig.run(&call);
    assert_eq!(
        output.stderr,
        "error: state file `package.json`: not a state file of this program\n\
         hint: name a file that does not exist; the call creates it\n"
    );
    assert_eq!(output.code, Some(2));
    assert_eq!(std::fs::read_to_string(rig.path().join("package.json")).unwrap(), other);

    rig.write("device.json", r#"{"format": "behaviour device 1", "time": "noon"}"#);
    let output = rig.run(&["call", "keeps.wasm", "k1", "7", "--state-file", "device.json"]);
    assert!(output.stderr.starts_with("error: state file `device.json`: "), "{}", output.stderr);
    assert_eq!((output.stderr.lines().count(), output.code), (2, Some(2)), "{}", output.stderr);
}

/// Answers each request to a free port of this machine with a JSON string, and returns the port.
fn http_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    // The thread ends with the process of the tests.
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            let mut request = BufReader::new(stream.try_clone().unwrap()).lines();
            // The headers end with an empty line.
            while request.next().is_some_and(|line| !line.unwrap().is_empty()) {}
            stream
                .write_all(
                    b"HTTP/1.1 200 OK\r\ncontent-length: 7\r\nconnection: close\r\n\r\n\"hello\"",
                )
                .unwrap();
        }
    });
    port
}

#[test]
fn a_real_request_reaches_only_an_allowed_host() {
    let rig = Rig::with(&["fetches.wat"]);
    let host = format!("localhost:{}", http_server());
    let (payload, allowed) = (format!("\"{host}\""), format!("http://{host}"));

    let call = ["call", "fetches.wasm", "plain", &payload];
    let output = rig.run(&[&call[..], &["--allow-http", &allowed]].concat());
    assert_eq!((output.stdout.as_str(), output.code), ("\"hello\"\n", Some(0)), "{output:?}");
    let line = format!("http      GET {allowed}/: 200, 7 bytes\n");
    assert!(output.stderr.contains(&line), "{}", output.stderr);

    for option in [["--capability", "http"], ["--allow-http", &host]] {
        let refused = rig.run(&[&call[..], &option].concat());
        let hint = format!("`behaviour call --allow-http {allowed}` sends the request");
        assert!(refused.stderr.contains(&hint), "{}", refused.stderr);
        assert!(!refused.stderr.contains("host.toml"), "{}", refused.stderr);
        assert_eq!(refused.code, Some(1));
    }
}

#[test]
fn a_real_request_through_the_contract_reaches_only_an_allowed_host() {
    let rig = Rig::with(&["requests.wat"]);
    let allowed = format!("http://localhost:{}", http_server());
    let payload = format!("\"{allowed}/a?b=c\"");

    let call = ["call", "requests.wasm", "ask", &payload];
    let output = rig.run(&[&call[..], &["--allow-http", &allowed]].concat());
    assert_eq!((output.stdout.as_str(), output.code), ("\"hello\"\n", Some(0)), "{output:?}");
    let line = format!("http      GET {allowed}/a?b=c: 200, 7 bytes\n");
    assert!(output.stderr.contains(&line), "{}", output.stderr);

    let refused = rig.run(&[&call[..], &["--capability", "http"]].concat());
    assert!(refused.stderr.contains("a simulated device has no network"), "{}", refused.stderr);
}

#[test]
fn the_hint_for_a_capability_that_is_not_granted_names_the_option_that_grants_it() {
    let rig = Rig::with(&["requests.wat", "reboots.wat"]);
    for (component, option) in [
        (
            "requests.wasm",
            "`--allow-http HOST`, or grant the import without a network with `--capability http`\n",
        ),
        ("reboots.wasm", "hint: grant it with `--capability power`\n"),
    ] {
        let output = rig.run(&["call", component, "any"]);
        assert!(output.stderr.contains("which is not granted\n"), "{}", output.stderr);
        assert!(output.stderr.ends_with(option), "{}", output.stderr);
        assert_eq!(output.code, Some(3));
    }
}
