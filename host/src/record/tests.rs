//! Tests of recordings, with fixtures of the sandbox and with invented calls.

use std::collections::BTreeMap;

use jiff::SignedDuration;
use plugin::{Document, Json, Limits};
use serde_json::{Value, json};

use super::case::{CallEnd, recorded};
use super::handles::Effects;
use super::inputs::CallInputs;
use super::*;
use crate::router::Router;
use crate::router::tests::{answer, router_in};

fn selection(calls: u32) -> Selection {
    Selection { plugin: "p".to_owned(), method: None, calls, redact: Vec::new() }
}

fn router(fixture: &str) -> Arc<Router> {
    router_in(tempfile::tempdir().unwrap().path(), fixture, "")
}

fn parse(call: &RecordedCall) -> Value {
    serde_json::from_str(call.case.as_ref().unwrap()).unwrap()
}

/// Returns the inputs of a call at noon on 1 January 2030.
fn inputs() -> CallInputs {
    CallInputs {
        plugin: "fan".to_owned(),
        digest: "abc".to_owned(),
        device: "device-7".to_owned(),
        call: "9f3c21ab-4".to_owned(),
        name: "open".to_owned(),
        job: None,
        payload: r#"{"big": 12345678901234567890123, "list": []}"#.to_owned(),
        trace_parent: None,
        time: "2030-01-01T12:00:00Z".parse().unwrap(),
        desired: Some(Document { body: "{}".to_owned(), version: 3 }),
        reported: Some(Document { body: r#"{"door":"shut"}"#.to_owned(), version: 9 }),
        state: BTreeMap::from([("blob".to_owned(), vec![0xff, 0])]),
        state_is_unknown: false,
        capabilities: vec!["power".to_owned()],
        limits: Limits::default(),
        config: BTreeMap::new(),
    }
}

fn answered(inputs: CallInputs, answer: &Value, redact: &[&str]) -> RecordedCall {
    let end = inputs.time + SignedDuration::from_secs(5);
    let redact: Vec<_> = redact.iter().map(|&pointer| pointer.to_owned()).collect();
    let payload = Some(Json::from(answer.clone()));
    recorded(inputs, Effects::default(), CallEnd::Answer(200, payload), end, &redact)
}

#[tokio::test]
async fn only_the_selected_calls_are_recorded() {
    let router = router("reply.wat");
    answer(&router, "before", "1").await;
    let by_method = Selection { method: Some("echo".to_owned()), ..selection(2) };
    let mut recording = router.recorder().start(by_method).unwrap();
    assert!(router.recorder().start(selection(1)).is_none(), "a second recording");

    for (method, payload) in [("echo", "1"), ("other", "2"), ("echo", "3"), ("echo", "4")] {
        answer(&router, method, payload).await;
    }
    let calls = [recording.next().await.unwrap(), recording.next().await.unwrap()];
    assert_eq!(calls.each_ref().map(|call| parse(call)["payload"].clone()), [json!(1), json!(3)]);
    recording.stop_selecting();
    assert_eq!(recording.next().await, None);
    drop(recording);
    assert!(router.recorder().start(selection(1)).is_some(), "the first one has ended");
}

#[tokio::test]
async fn a_dropped_recording_selects_no_more_calls() {
    let router = router("reply.wat");
    drop(router.recorder().start(selection(5)));
    assert!(router.recorder().select("p", "echo", false).is_none());
}

#[tokio::test]
async fn a_failed_call_is_recorded_with_its_failure() {
    let router = router("misbehaves.wat");
    let mut recording = router.recorder().start(selection(1)).unwrap();
    let (status, body) = answer(&router, "trap", "5").await;

    let call = recording.next().await.unwrap();
    let case = parse(&call);
    assert_eq!((status, &case["expect"]["status"]), (500, &json!(500)));
    assert_eq!(case["expect"]["error"], "trapped");
    assert_eq!(case["expect"]["message"], body["message"]);
    assert_eq!((&case["method"], &case["payload"]), (&json!("trap"), &json!(5)));
    assert_eq!(call.notes, ["the state before the call could not be read"]);
}

#[tokio::test]
async fn the_metrics_of_a_call_are_recorded_without_the_values_of_histograms() {
    let router = router("counts.wat");
    let mut recording = router.recorder().start(selection(1)).unwrap();
    answer(&router, "order", "null").await;

    let case = parse(&recording.next().await.unwrap());
    let expected = json!([
        {"name": "heat", "kind": "gauge", "labels": {}, "value": 21.5},
        {"name": "orders", "kind": "counter", "labels": {"size": "xl"}, "value": 1.0},
        {"name": "wait_seconds", "kind": "histogram", "labels": {}, "count": 1},
    ]);
    assert_eq!(case["expect"]["metrics"], expected);
}

#[test]
fn a_case_has_all_inputs_of_the_call() {
    let call = answered(inputs(), &json!({"opened": true}), &[]);
    let text = call.case.as_ref().unwrap();
    assert!(text.contains(r#""payload": {"big": 12345678901234567890123, "list": []}"#), "{text}");
    let case = parse(&call);
    assert_eq!(case["time"], "2030-01-01T12:00:00.000Z");
    assert_eq!(case["state"], json!({"blob": {"base64": "/wA="}}));
    assert_eq!(
        case["twin"],
        json!({
            "desired": {}, "desired_version": 3,
            "reported": {"door": "shut"}, "reported_version": 9,
        })
    );
    assert_eq!(case["capabilities"], json!(["power"]));
    assert_eq!(case["expect"]["answer"], json!({"opened": true}));
    assert_eq!(case["expect"]["jobs"], json!([]));
    for key in ["config", "limits", "offline", "job", "attempt", "trace_parent"] {
        assert_eq!(case.get(key), None, "{key}");
    }
}

#[test]
fn values_that_differ_in_each_run_become_placeholders() {
    let mut inputs = inputs();
    inputs.payload = r#"{"since": "2029-12-31T00:00:00Z"}"#.to_owned();
    let answer = json!({
        "call": "9f3c21ab-4", "at": "2030-01-01T12:00:00.017Z", "since": "2029-12-31T00:00:00Z",
        "ms": 1_893_499_200_017_u64, "percent": 40, "text": "opened by device-7",
        "line": "at 2030-01-01T12:00:00Z", "dollar": "$any", "other": "$5",
        "nested": [{"...": "..."}],
    });

    let case = parse(&answered(inputs, &answer, &[]));
    assert_eq!(
        case["expect"]["answer"],
        json!({
            "call": "$id", "at": "$time", "since": "2029-12-31T00:00:00Z", "ms": "$number",
            "percent": 40, "text": "$string", "line": "$string", "dollar": "$$any", "other": "$5",
            "nested": [{"$...": "$..."}],
        })
    );
}

#[test]
fn a_case_contains_no_secrets() {
    let mut inputs = inputs();
    inputs.config = BTreeMap::from([
        ("apiKey".to_owned(), "k-11223344".to_owned()),
        ("hub".to_owned(), "HostName=h;SharedAccessKey=c2VjcmV0".to_owned()),
        ("delay".to_owned(), "5".to_owned()),
    ]);
    inputs.payload = r#"{"password": "hunter22", "user": "ann-12"}"#.to_owned();
    inputs.state = BTreeMap::from([("last".to_owned(), b"GET k-11223344".to_vec())]);
    let answer = json!({"echo": "hunter22", "for": "ann-12", "n": 1});

    let call = answered(inputs, &answer, &["/payload/user", "/expect/answer/n", "/payload/none"]);
    let text = call.case.as_ref().unwrap();
    for secret in ["k-11223344", "c2VjcmV0", "hunter22", "ann-12"] {
        assert!(!text.contains(secret), "{secret} in {text}");
    }
    let case = parse(&call);
    assert_eq!(case["config"], json!({"apiKey": "redacted", "hub": "redacted", "delay": "5"}));
    assert_eq!(case["payload"], json!({"password": "redacted", "user": "redacted"}));
    assert_eq!(case["expect"]["answer"], json!({"echo": "$string", "for": "$string", "n": "$any"}));
    let mut left_out = call.left_out.clone();
    left_out.sort();
    assert_eq!(
        left_out,
        ["/config/apiKey", "/config/hub", "/expect/answer/n", "/payload/password", "/payload/user"]
    );
    assert_eq!(call.notes, ["there is no value at `/payload/none`"]);
}

#[test]
fn a_recording_above_its_size_limit_omits_further_cases() {
    let recorder = Arc::new(Recorder::default());
    let mut recording = recorder.start(selection(2)).unwrap();
    let recording_of_call = recorder.select("p", "m", false).unwrap();
    let call = RecordedCall {
        name: "m".to_owned(),
        outcome: "done".to_owned(),
        case: Some("x".repeat(MAX_BYTES)),
        left_out: Vec::new(),
        notes: Vec::new(),
    };
    recording_of_call.deliver(call.clone());
    recording_of_call.deliver(call);

    let sizes: Vec<_> = std::iter::repeat_with(|| recording.recorded.try_recv().unwrap())
        .take(2)
        .map(|call| call.case.map(|case| case.len()))
        .collect();
    assert_eq!(sizes, [Some(MAX_BYTES), None]);
}
