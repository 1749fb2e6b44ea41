//! Tests that parse cases and run them on guests written in WebAssembly text.

use serde_json::json;

use super::*;
use crate::desk::engine;

/// Runs a case and returns its differences as strings. The list is empty if the case passes.
fn run(guest: &str, case: Value) -> Vec<String> {
    let engine = engine(0).unwrap();
    let compiled = engine.compile(&fixtures::guest(guest), &Limits::default()).unwrap();
    let case = parse(&case.to_string()).unwrap();
    let verdict = case.run(&engine, "guest", &compiled).unwrap();
    verdict.differences().map(Difference::to_string).collect()
}

#[track_caller]
fn check_invalid(text: &str, reason: &str) {
    let file = tempfile::tempdir().unwrap();
    fs::write(file.path().join("door.json"), text).unwrap();
    let found = find(file.path()).unwrap();
    assert_eq!(found[0].name, "door");
    let message = found[0].case.as_ref().unwrap_err();
    let path = file.path().join("door.json").display().to_string();
    assert_eq!(*message, format!("{path}: {reason}"));
}

#[test]
fn an_invalid_case_is_reported_in_one_line_with_file_and_key() {
    check_invalid("", "EOF while parsing a value at line 1 column 0");
    check_invalid(
        "{}",
        "expected exactly one of `method`, `job`, `changed`, `message` and `start`",
    );
    check_invalid(
        r#"{"message": {}, "payload": 1}"#,
        "`message` allows no other call, and only `attempt`",
    );
    check_invalid(
        r#"{"message": {"body": 1, "body_base64": ""}}"#,
        "message: expected at most one of `body` and `body_base64`",
    );
    check_invalid(r#"{"method": "open", "attempt": 2}"#, "`attempt` and `boot_outcome` need `job`");
    check_invalid(
        r#"{"start": null, "payload": 1}"#,
        "`payload`, `attempt` and `boot_outcome` do not apply to `changed` and `start`",
    );
    check_invalid(
        r#"{"method": "open", "expect": {"statsu": 200}}"#,
        "expect.statsu: unknown field `statsu`, expected one of `status`, `answer`, `error`, \
         `message`, `reported`, `log`, `took_ms`, `telemetry`, `state`, `jobs`, `ran`, `metrics`, `reboot` \
         at line 1 column 38",
    );
    check_invalid(
        r#"{"method": "open", "expect": {"status": "200"}}"#,
        "`expect.status` is the string \"200\", not an integer from 0 to 65535 at line 1 column 45",
    );
    check_invalid(
        r#"{"method": "open", "expect": {"log": ["a", {"msg": "b"}]}}"#,
        "expect.log[1]: `msg` is none of level, message, fields",
    );
    check_invalid(
        r#"{"method": "open", "limits": {"deadline_ms": 0}}"#,
        "limits: `deadline` is 0ns, not between 1 ms and 300s",
    );
    check_invalid(
        r#"{"method": "open", "twin": {"desired": {"a.b": 1}}}"#,
        "twin: key `a.b` must not be empty or have a control character, `.`, `$` or a space",
    );
    check_invalid(
        r#"{"changed": {"a.b": 1}}"#,
        "changed: key `a.b` must not be empty or have a control character, `.`, `$` or a space",
    );
    check_invalid(r#"{"method": "open"} more"#, "trailing characters at line 1 column 20");
}

#[test]
fn a_payload_reaches_the_plugin_unchanged() {
    let case = json!({"method": "echo", "payload": {"a": [1.50, "x"]}});
    assert!(run("reply.wat", case).is_empty());
    let answer = json!({"method": "echo", "payload": "x", "expect": {"answer": "y"}});
    assert_eq!(run("reply.wat", answer), ["answer: expected \"y\", found \"x\""]);
    let none = json!({"method": "echo", "expect": {"answer": null, "status": 200}});
    assert!(run("reply.wat", none).is_empty());
}

#[test]
fn a_sleep_takes_exact_virtual_time_and_no_real_time() {
    let expect = json!({"took_ms": 20_000, "status": 200});
    assert!(run("sleeps.wat", json!({"method": "once", "expect": expect})).is_empty());
    let case = json!({"method": "once", "payload": 7, "expect": {"took_ms": 8}});
    assert_eq!(run("sleeps.wat", case), ["took_ms: expected 8, found 7"]);
}

#[test]
fn wasi_clocks_use_virtual_time() {
    for method in ["monotonic", "wall"] {
        let expect = json!({"status": 200 + 20, "took_ms": 20_000});
        assert!(run("dozes.wat", json!({"method": method, "expect": expect})).is_empty());
    }
}

#[test]
fn a_failed_call_passes_only_if_the_case_expects_its_error() {
    let late = json!({"status": 504, "error": "deadline-exceeded", "took_ms": 30_000});
    assert!(run("sleeps.wat", json!({"method": "again", "expect": late})).is_empty());
    let sooner = json!({"method": "again", "limits": {"deadline_ms": 500},
        "expect": {"message": "no answer within 500ms", "error": "deadline-exceeded"}});
    assert!(run("sleeps.wat", sooner).is_empty());

    let silent = run("sleeps.wat", json!({"method": "again"}));
    let reason = "\"deadline-exceeded: no answer within 30s\"";
    assert_eq!(silent, [format!("error: expected nothing, found {reason}")]);
    let answered = json!({"method": "once", "expect": {"error": "trapped"}});
    assert_eq!(run("sleeps.wat", answered), ["error: expected \"trapped\", found nothing"]);
}

#[test]
fn a_plugin_that_exceeds_a_limit_is_stopped_in_virtual_time() {
    let loops = json!({"method": "spin", "limits": {"deadline_ms": 50},
        "expect": {"error": "deadline-exceeded"}});
    assert!(run("misbehaves.wat", loops).is_empty());
    let grows = json!({"method": "grow", "expect": {"error": "out-of-memory", "status": 507}});
    assert!(run("misbehaves.wat", grows).is_empty());
}

#[test]
fn settings_reach_the_plugin_as_on_a_host() {
    let config = json!({"delay": 5});
    let case = json!({"method": "get", "config": config, "expect": {"answer": 5}});
    assert!(run("asks.wat", case).is_empty());
}

#[test]
fn patches_are_merged_and_the_twin_has_its_initial_properties() {
    let case = json!({"method": "report", "payload": {"a": {"b": 1}},
        "expect": {"reported": {"a": {"b": 2}}}});
    assert_eq!(run("asks.wat", case), ["reported.a.b: expected 2, found 1"]);
    let case = json!({"method": "desired", "twin": {"desired": {"delay": 5}},
        "expect": {"answer": {"delay": 5}, "reported": {}}});
    assert!(run("asks.wat", case).is_empty());
}

#[test]
fn waiting_for_a_report_on_an_offline_device_times_out() {
    let offline = 400 + 4;
    let case = json!({"method": "wait", "payload": {"a": 1}, "offline": true,
        "limits": {"deadline_ms": 10_000},
        "expect": {"status": offline, "reported": {"a": 1}, "took_ms": 9_900}});
    assert!(run("asks.wat", case).is_empty());
}

#[test]
fn messages_are_compared_only_by_their_expected_keys() {
    let sent = |telemetry: Value| json!({"method": "send", "payload": {"t": 21}, "expect": {"telemetry": telemetry}});
    let lines = run("asks.wat", sent(json!([{"body": {"t": 21}}])));
    assert_eq!(lines.len(), 99, "each of the other 99 messages is a difference");
    let lines = run("asks.wat", sent(json!([{"body": {"t": 22}, "content_type": "text/plain"}])));
    assert_eq!(lines[0], "telemetry[0].body.t: expected 22, found 21");
}

#[test]
fn a_log_is_compared_line_by_line() {
    let line = r#"one\ntwo\u{1b}[31m"#;
    let case = |log: Value| json!({"method": "once", "expect": {"log": log}});
    assert!(run("talks.wat", case(json!([line]))).is_empty());
    assert!(
        run("talks.wat", case(json!([{"level": "info", "fields": {"key": "a\\rb"}}]))).is_empty()
    );
    let lines = run("talks.wat", case(json!(["three"])));
    assert_eq!(lines, [format!("log:\n- three\n+ {line} key=a\\rb")]);
}

#[test]
fn a_case_can_run_a_job_notify_of_a_change_or_start_the_plugin() {
    let jobs = [
        (json!({"job": "done"}), json!({"took_ms": 0})),
        (
            json!({"job": "attempt", "attempt": 7}),
            json!({"error": "retry", "message": "again in 7 ms"}),
        ),
        (
            json!({"job": "boot", "boot_outcome": "expired"}),
            json!({"message": "again in 3 ms", "error": "retry"}),
        ),
        (json!({"job": "reject"}), json!({"error": "rejected", "message": "because"})),
        (
            json!({"job": "spin", "limits": {"deadline_ms": 50}}),
            json!({"status": 504, "error": "deadline-exceeded"}),
        ),
        (json!({"changed": {"a": 1}}), json!({"error": "retry", "message": "again in 2 ms"})),
        (json!({"start": null}), json!({})),
        (json!({"start": "1.0"}), json!({"error": "refused", "message": "1.0"})),
    ];
    for (mut case, expect) in jobs {
        case["expect"] = expect;
        assert!(run("lasts.wat", case.clone()).is_empty(), "{case}");
    }
    let lines = run("reply.wat", json!({"job": "any"}));
    assert_eq!(lines.len(), 1, "a plugin without jobs: {lines:?}");
}

#[test]
fn every_key_of_expect_is_compared() {
    let expect = json!({
        "status": 1, "answer": 1, "error": "1", "message": "1", "reported": {"a": 1}, "log": ["1"],
        "took_ms": 1, "telemetry": [{"body": 1}], "state": {"a": "1"}, "jobs": [{"name": "1"}],
        "reboot": {"reason": "1"},
    });
    let keys = expect.as_object().unwrap().len();

    let lines = run("sleeps.wat", json!({"method": "once", "expect": expect}));
    assert_eq!(lines.len(), keys, "{lines:?}");
}

#[test]
fn a_request_gets_the_response_of_the_case_after_its_delay() {
    let response = json!({ "status": 201, "body": { "hello": 1 }, "delay_ms": 1500 });
    let case = json!({
        "method": "ask",
        "payload": "api.example.com",
        "http": [{ "request": { "url": "https://api.example.com/" }, "response": response }],
        "expect": { "status": 201, "answer": { "hello": 1 }, "took_ms": 1500 },
    });
    assert!(run("fetches.wat", case).is_empty());
}

#[test]
fn a_request_without_a_response_in_the_case_and_a_response_without_a_request_are_reported() {
    let case = json!({
        "method": "ask",
        "payload": "api.example.com",
        "http": [{ "request": { "url": "https://other.example.com/" } }],
        "expect": { "status": 538 },
    });
    let differences = run("fetches.wat", case.clone());
    assert_eq!(differences, ["http: expected \"GET https://other.example.com/\", found nothing"]);
    let mut shown = case;
    shown["expect"] = json!({ "status": 538, "answer": "" });
    let text = run("fetches.wat", shown).join("\n");
    assert!(text.contains("the case has no response to this request"), "{text}");
}

#[test]
fn an_invalid_response_is_reported_with_its_position() {
    check_invalid(
        r#"{"method": "ask", "http": [{"request": {"url": "/x"}}]}"#,
        "http[0].request.url: `/x` is not a URL such as https://example.com/",
    );
}

mod steps;

#[test]
fn a_message_is_delivered_with_its_body_and_properties() {
    let accepted = json!({
        "message": {"body": {"got": 1}},
        "expect": {"reported": {"got": 1}},
    });
    assert_eq!(run("mails.wat", accepted), [""; 0]);
    let rejected = json!({
        "message": {"body_base64": "cmVqZWN0", "properties": {"$.mid": "1", "why": "because"}},
        "expect": {"error": "rejected", "message": "because"},
    });
    assert_eq!(run("mails.wat", rejected), [""; 0]);
    let steps = json!([
        {"message": {"body": "later"}, "expect": {"error": "retry"}},
        {"message": {"body": "later"}, "attempt": 2, "expect": {}},
    ]);
    assert_eq!(run("mails.wat", json!({ "steps": steps })), [""; 0]);
}
