//! Tests of cases with several steps.

use super::*;

/// Runs a case with these steps and returns the differences.
fn run_steps(guest: &str, steps: Value) -> Vec<String> {
    run(guest, json!({"capabilities": ["power"], "steps": steps}))
}

#[test]
fn state_and_jobs_survive_between_steps_and_a_restart_of_the_host() {
    // The method stores its payload twice, reports it, and schedules a job in 20 ms that deletes
    // the second entry.
    let steps = json!([
        {"method": "k1", "payload": 5000, "expect": {
            "status": 200,
            "state": {"k1": "5000", "w5000": "5000"},
            "reported": {"k1": 5000},
            "jobs": [{"id": "job-1", "name": "5000", "when": "after-delay 20 ms"}],
            "ran": [],
        }},
        {"restart": "host", "expect": {"state": {"k1": "5000", "w5000": "5000"}}},
        {"after": "19ms", "expect": {"ran": [], "took_ms": 19}},
        {"after": "1ms", "expect": {
            "ran": [{"id": "job-1", "name": "5000", "run": 1, "outcome": "done"}],
            "state": {"k1": "5000"},
            "jobs": [],
        }},
        {"method": "last", "payload": "k1", "expect": {"answer": 5000, "reported": {}}},
        {"method": "k2", "payload": 7, "expect": {"jobs": [{"id": "job-2"}], "state": {"...": "$any"}}},
    ]);
    assert_eq!(run_steps("keeps.wat", steps), [""; 0]);
}

#[test]
fn the_first_failed_step_ends_the_case() {
    let engine = engine(0).unwrap();
    let compiled = engine.compile(&fixtures::guest("reply.wat"), &Limits::default()).unwrap();
    let case = json!({"steps": [
        {"method": "echo", "payload": 1, "expect": {"answer": 1}},
        {"name": "the second", "method": "echo", "payload": 2, "expect": {"answer": 3}},
        {"method": "echo", "payload": 4, "expect": {"answer": 5}},
    ]});
    let verdict = parse(&case.to_string()).unwrap().run(&engine, "guest", &compiled).unwrap();

    let titles: Vec<_> = verdict.steps.iter().map(|step| step.title.as_str()).collect();
    assert_eq!(titles, ["method echo", "the second"]);
    let differences: Vec<_> = verdict.differences().map(ToString::to_string).collect();
    assert_eq!(differences, ["answer: expected 3, found 2"]);
    assert_eq!(verdict.step_count, Some(3));
}

#[test]
fn a_change_is_in_the_twin_with_the_next_version() {
    // The guest accepts version 3 and retries any other after as many milliseconds.
    let steps = json!([
        {"changed": {"a": 1}, "expect": {"error": "retry", "message": "again in 2 ms"}},
        {"changed": {"a": 2}},
    ]);
    assert_eq!(run_steps("lasts.wat", steps), [""; 0]);
    let silent = json!([
        {"changed": {"delay": 5}},
        {"method": "desired", "expect": {"answer": {"delay": 5}}},
        {"changed": {"delay": null, "other": 1}},
        {"method": "desired", "expect": {"answer": {"other": 1}}},
    ]);
    assert_eq!(run_steps("asks.wat", silent), [""; 0], "a plugin that does not export `desired`");
}

#[test]
fn a_requested_reboot_happens_when_its_time_has_come() {
    let rebooted = |expected: Value, step: Value| {
        json!([
            {"method": "reboot", "expect": {"status": 202, "jobs": [{"id": "job-1"}], "reported": {}}},
            step,
            {"after": "1s", "expect": {"reported": {"rebooted": expected}}},
        ])
    };
    let nothing = json!({"after": "0s"});
    assert_eq!(
        run_steps("boots.wat", rebooted(json!(true), json!({"restart": "machine"}))),
        [""; 0]
    );
    let passed = run_steps("boots.wat", rebooted(json!(true), nothing));
    assert_eq!(
        passed,
        ["reported.rebooted: expected true, found nothing"],
        "it happened in step 2"
    );
}

#[test]
fn a_job_waits_for_a_boot_through_a_restart_of_the_host() {
    let steps = json!([
        {"method": "boot", "expect": {"jobs": [{"when": "after-boot within 60000 ms"}]}},
        {"restart": "host", "expect": {"ran": []}},
        {"after": "59s", "expect": {"ran": []}},
        {"after": "1s", "expect": {"ran": [{"id": "$id", "outcome": "done"}]}},
    ]);
    assert_eq!(run_steps("lasts.wat", steps), [""; 0]);
}

#[test]
fn a_plugin_with_a_lifecycle_is_stopped_and_started_by_a_restart() {
    let steps = json!([
        {"restart": "host", "expect": {"reported": {"stopped": true, "started": "$string"}}},
        {"restart": "machine", "expect": {"reported": {"stopped": true, "...": "$any"}}},
    ]);
    assert_eq!(run_steps("follows.wat", steps), [""; 0]);
    let refused = json!({"config": {"start": "no"}, "steps": [{"restart": "host", "expect": {"error": "refused"}}]});
    assert_eq!(run("follows.wat", refused), [""; 0]);
}

#[test]
fn a_host_that_restarts_offline_has_no_twin_until_it_connects() {
    // The guest answers with the host's error, which is not JSON.
    let steps = json!([
        {"method": "desired", "offline": true, "expect": {"status": 200}},
        {"restart": "host"},
        {"method": "desired", "expect": {"error": "bad-answer"}},
        {"method": "desired", "offline": false, "expect": {"status": 200}},
    ]);
    assert_eq!(run_steps("asks.wat", steps), [""; 0]);
}

#[test]
fn the_time_of_a_case_can_be_chosen() {
    let case = json!({
        "time": "2030-06-01T12:00:00Z",
        "steps": [
            {"method": "now", "expect": {"answer": "2030-06-01T12:00:00.000Z"}},
            {"after": "1h"},
            {"method": "now", "expect": {"answer": "2030-06-01T13:00:00.000Z"}},
            {"method": "now", "expect": {"answer": "$time"}},
        ],
    });
    assert_eq!(run("asks.wat", case), [""; 0]);
}

#[test]
fn an_invalid_step_is_reported_in_one_line_with_its_number() {
    check_invalid(r#"{"steps": []}"#, "steps: there is none");
    check_invalid(
        r#"{"steps": [{"after": "1s"}], "method": "m"}"#,
        "a case with `steps` has its calls, jobs and expectations in them",
    );
    let one = "expected exactly one of `method`, `job`, `changed`, `message`, `start`, `after` and `restart`";
    check_invalid(r#"{"steps": [{"after": "1s"}, {}]}"#, &format!("steps[1]: {one}"));
    check_invalid(r#"{"steps": [{"after": "1s", "method": "m"}]}"#, &format!("steps[0]: {one}"));
    check_invalid(
        r#"{"steps": [{"after": "soon"}]}"#,
        "steps[0].after: invalid duration `soon`: expected a value such as 20s, 500ms or 1h 30m \
         at line 1 column 28",
    );
    check_invalid(
        r#"{"steps": [{"changed": {"a.b": 1}}]}"#,
        "steps[0].changed: key `a.b` must not be empty or have a control character, `.`, `$` or a \
         space",
    );
    check_invalid(
        r#"{"steps": [{"method": "m", "expect": {"log": [1]}}]}"#,
        "steps[0]: expect.log[0]: 1 is neither a string nor an object",
    );
    check_invalid(
        r#"{"method": "m", "expect": {"jobs": ["all"]}}"#,
        "`expect.jobs[0]` is the string \"all\", not an object or \"...\" at line 1 \
         column 41",
    );
    check_invalid(
        r#"{"method": "m", "state": {"a": {"base64": "?"}}}"#,
        "state.a: `?` is not base64: Invalid symbol 63, offset 0. at line 1 column 47",
    );
}
