//! The push of logs, to a receiver that decodes OTLP with the messages of OpenTelemetry.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::Arc;

use parking_lot::Mutex;
use program::{EventFields, forward_log};
use rig::{Rig, set, until};
use serde_json::{Value, json};

use super::otlp::attribute;
use super::sdk::sdk;

/// Path of the requests with logs.
const PATH: &str = "/v1/logs";

/// Names of the resources, the scopes and the lines in a request.
const LINES: [&str; 3] = ["resourceLogs", "scopeLogs", "logRecords"];

/// A line that the plugin `talks` writes, without its control characters.
const WRITTEN: &str = r"one\ntwo\u{1b}[31m";

/// Returns the entries of a request, below its resources and scopes.
fn entries(received: &Value, [resources, scopes, entries]: [&str; 3]) -> Vec<Value> {
    let scopes = received["body"][resources][0][scopes].as_array().into_iter().flatten();
    scopes.flat_map(|scope| scope[entries].as_array().unwrap().clone()).collect()
}

/// Returns the line of a plugin with this text, if it is there. Hosts of other tests log as well.
fn line_of<'a>(lines: &'a [Value], plugin: &str, text: &str) -> Option<&'a Value> {
    let is_it =
        |it: &&Value| attribute(it, "plugin") == plugin && it["body"]["stringValue"] == text;
    lines.iter().find(is_it)
}

#[tokio::test(flavor = "multi_thread")]
async fn the_lines_of_a_call_have_its_trace_and_a_receiver_of_their_own() {
    let Some(sdk) = sdk() else { return };
    let (mut receiver, port) = sdk.otlp_receiver().await;
    let (mut of_logs, port_of_logs) = sdk.otlp_receiver().await;
    let folder = tempfile::tempdir().unwrap();
    let headers = folder.path().join("headers");
    fs::write(&headers, "api-key: of logs\n").unwrap();
    fs::set_permissions(&headers, fs::Permissions::from_mode(0o600)).unwrap();
    let otlp = [
        set("host.otlp.endpoint", format!("http://127.0.0.1:{port}")),
        set("host.otlp.signals", vec!["traces", "logs"]),
        set("host.otlp.logs.endpoint", format!("http://127.0.0.1:{port_of_logs}{PATH}")),
        set("host.otlp.logs.headers_file", headers.to_str().unwrap()),
        set("host.otlp.logs.compression", "gzip"),
    ];
    let talks = fixtures::write("talks.wat", folder.path());
    let plugin = Rig::new().plugin_named("speaker", talks, set("methods", vec!["once"]));
    let rig = plugin.host(otlp).start().await;
    let answer = rig.service.call("once", json!({ "password": "of a payload" })).await.unwrap();
    assert_eq!(answer.status, 200);

    // A batch can end between the lines or between the spans of the call.
    let (mut lines, mut spans) = (Vec::new(), Vec::new());
    let mut received = Value::Null;
    while line_of(&lines, "speaker", WRITTEN).is_none()
        || line_of(&lines, "speaker", "call answered").is_none()
    {
        received = of_logs.wait_for("received").await;
        assert!(!received.to_string().contains("password"), "{received}");
        lines.extend(entries(&received, LINES));
    }
    let (written, answered) = (
        line_of(&lines, "speaker", WRITTEN).unwrap(),
        line_of(&lines, "speaker", "call answered").unwrap(),
    );
    assert_eq!((&received["key"], &received["encoding"]), (&json!("of logs"), &json!("gzip")));
    assert_eq!(written["severityNumber"], "SEVERITY_NUMBER_INFO");
    let fields = written["attributes"].as_array().unwrap().iter().find(|it| it["key"] == "fields");
    let members = json!([{ "key": "key", "value": { "stringValue": r"a\rb" } }]);
    assert_eq!(fields.unwrap()["value"]["kvlistValue"]["values"], members);
    assert_eq!(attribute(answered, "call"), attribute(written, "call"));

    let has = |spans: &[Value], name: &str| spans.iter().any(|span| span["name"] == name);
    while !has(&spans, "plugin") || !has(&spans, "once") {
        let received = receiver.wait_for("received").await;
        assert_eq!(received["key"], Value::Null);
        spans.extend(entries(&received, ["resourceSpans", "scopeSpans", "spans"]));
    }
    let span = |name: &str| spans.iter().find(|span| span["name"] == name).unwrap();
    for (line, span) in [(written, span("plugin")), (answered, span("once"))] {
        assert_eq!((&line["traceId"], &line["spanId"]), (&span["traceId"], &span["spanId"]));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_hangs_or_is_busy_holds_up_no_call_and_is_reported_once() {
    let Some(sdk) = sdk() else { return };
    let (mut receiver, port) = sdk.otlp_receiver().await;
    let answers = json!([
        { "hangs": true },
        { "status": 503, "retry_at": 5 },
        { "status": 429, "retry_after": "1" },
        { "rejected": 2, "message": "too old" },
    ]);
    receiver.send("answer", json!({ "path": PATH, "answers": answers })).await;
    receiver.wait_for("set").await;
    let reported = Arc::new(Mutex::new(Vec::new()));
    let _forwarding = {
        let reported = Arc::clone(&reported);
        let url = format!("http://127.0.0.1:{port}{PATH}");
        forward_log(Arc::new(move |event| {
            let EventFields { message, fields } = EventFields::of(event);
            // Hosts of other tests log as well.
            if message.starts_with("OTLP") && fields.contains(&("endpoint", json!(url))) {
                reported.lock().push(message);
            }
        }))
    };
    let otlp = [
        set("host.otlp.endpoint", format!("http://127.0.0.1:{port}")),
        set("host.otlp.signals", vec!["logs"]),
        set("host.otlp.logs.timeout", "3s"),
    ];
    let limits = [set("limits.log_lines", 10_000), set("limits.log_bytes", 10_000_000)];
    let folder = tempfile::tempdir().unwrap();
    let talks = fixtures::write("talks.wat", folder.path());
    let rig = Rig::new().plugin_named("chatterbox", talks, limits).host(otlp).start().await;

    let first = receiver.wait_for_matching("received", |it| it["hangs"] == true).await;
    // More lines than the queue holds, while the request hangs.
    let answer = rig.service.call("many", json!(null)).await.unwrap();
    assert_eq!(answer.status, 200);
    for status in [503, 429, 200] {
        let again = receiver
            .wait_for_matching("received", |it| it["status"] == status && it["hangs"] == false)
            .await;
        assert_eq!(again["body"], first["body"]);
        assert_eq!(again["early"], false, "before the date that the receiver has named");
    }
    let has_lines = |it: &Value| line_of(&entries(it, LINES), "chatterbox", WRITTEN).is_some();
    receiver.wait_for_matching("received", has_lines).await;
    until("the dropped lines are reported", || async {
        reported.lock().iter().any(|it| it.starts_with("OTLP data dropped")).then_some(())
    })
    .await;
    let mut found = reported.lock().clone();
    found.sort();
    assert_eq!(
        found,
        [
            "OTLP data dropped: it was not pushed fast enough",
            "OTLP push failed, tried again: no response within 3s",
            "OTLP receiver refused a part of the data: too old",
        ]
    );
}
