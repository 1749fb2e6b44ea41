//! A receiver that decodes OTLP with the messages of OpenTelemetry.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rig::{Rig, set};
use serde_json::{Value, json};

use super::sdk::sdk;

/// Returns the points of a metric of a request.
fn points(received: &Value, name: &str) -> Vec<Value> {
    let metrics = &received["body"]["resourceMetrics"][0]["scopeMetrics"][0]["metrics"];
    let metric = metrics.as_array().into_iter().flatten().find(|metric| metric["name"] == name);
    let data = metric
        .and_then(|metric| ["sum", "gauge", "histogram"].iter().find_map(|kind| metric.get(kind)));
    data.and_then(|data| data["dataPoints"].as_array()).cloned().unwrap_or_default()
}

/// Returns the text of an attribute.
pub(super) fn attribute<'a>(of: &'a Value, key: &str) -> &'a Value {
    let attributes = of["attributes"].as_array().unwrap();
    let found = attributes.iter().find(|attribute| attribute["key"] == key);
    found.map_or(&Value::Null, |attribute| &attribute["value"]["stringValue"])
}

/// Returns the point of a method whose calls had this outcome.
fn calls<'a>(points: &'a [Value], method: &str, outcome: &str) -> Option<&'a Value> {
    points.iter().find(|point| {
        attribute(point, "method") == method && attribute(point, "outcome") == outcome
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_decodes_the_metrics_also_after_it_was_not_available() {
    let Some(sdk) = sdk() else { return };
    let (mut receiver, port) = sdk.otlp_receiver().await;
    let answers = json!([{ "status": 503 }, { "status": 400 }]);
    receiver.send("answer", json!({ "path": "/v1/metrics", "answers": answers })).await;
    receiver.wait_for("set").await;
    let folder = tempfile::tempdir().unwrap();
    let headers = folder.path().join("headers");
    fs::write(&headers, "api-key: a secret\n").unwrap();
    fs::set_permissions(&headers, fs::Permissions::from_mode(0o600)).unwrap();
    let otlp = [
        set("host.otlp.endpoint", format!("http://127.0.0.1:{port}")),
        set("host.otlp.headers_file", headers.to_str().unwrap()),
        set("host.otlp.interval", "1s"),
        set("host.otlp.compression", "gzip"),
    ];
    let methods = set("methods", vec!["echo", "trap"]);
    let rig = Rig::new()
        .plugin("misbehaves.wat", [methods, set("disable_after", 0)])
        .plugin("counts.wat", set("methods", vec!["order"]))
        .host(otlp)
        .start()
        .await;
    for method in ["order", "echo", "echo", "trap"] {
        rig.service.call(method, json!(1)).await.unwrap();
    }

    for status in [503, 400] {
        receiver.wait_for_matching("received", |it| it["status"] == status).await;
    }
    let received = receiver
        .wait_for_matching("received", |it| {
            let points = points(it, "behaviour_host_method_calls");
            calls(&points, "trap", "trapped").is_some_and(|point| point["asInt"] == "1")
        })
        .await;
    assert_eq!(received["type"], "application/x-protobuf");
    assert_eq!((&received["encoding"], &received["key"]), (&json!("gzip"), &json!("a secret")));
    let counted = points(&received, "behaviour_host_method_calls");
    let echo = calls(&counted, "echo", "answered").unwrap();
    assert_eq!((&echo["asInt"], attribute(echo, "plugin")), (&json!("2"), &json!("misbehaves")));
    assert!(echo["startTimeUnixNano"].as_str() < echo["timeUnixNano"].as_str(), "{echo}");
    let durations = points(&received, "behaviour_host_method_duration");
    let echo = durations.iter().find(|point| attribute(point, "method") == "echo").unwrap();
    assert_eq!(echo["count"], "2");
    let (bounds, buckets) = (&echo["explicitBounds"], &echo["bucketCounts"]);
    assert_eq!(bounds.as_array().unwrap().len() + 1, buckets.as_array().unwrap().len());
    assert_eq!(points(&received, "behaviour_host_connected")[0]["asDouble"], 1.0);
    let orders = &points(&received, "behaviour_plugin_orders")[0];
    assert_eq!((&orders["asDouble"], attribute(orders, "plugin")), (&json!(1.0), &json!("counts")));
    assert_eq!(attribute(orders, "size"), "xl");
    assert_eq!(points(&received, "behaviour_plugin_heat")[0]["asDouble"], 21.5);
    assert_eq!(points(&received, "behaviour_plugin_wait_seconds")[0]["count"], "1");
    let resource = &received["body"]["resourceMetrics"][0]["resource"];
    assert_eq!(attribute(resource, "service.name"), "behaviour-host");
    assert_eq!(attribute(resource, "device.id"), rig::DEVICE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_gets_the_context_of_its_call_while_traces_are_pushed() {
    let Some(sdk) = sdk() else { return };
    let (mut receiver, port) = sdk.otlp_receiver().await;
    let endpoint = set("host.otlp.endpoint", format!("http://127.0.0.1:{port}"));
    let counts = set("methods", vec!["trace"]);
    let rig = Rig::new().plugin("counts.wat", counts).host(endpoint).start().await;
    let answer = rig.service.call("trace", json!(null)).await.unwrap();
    let context = answer.payload.as_str().unwrap().to_owned();

    let is_trace = |it: &Value| it["path"] == "/v1/traces";
    let received = receiver.wait_for_matching("received", is_trace).await;
    let spans = &received["body"]["resourceSpans"][0]["scopeSpans"][0]["spans"];
    let spans = spans.as_array().unwrap();
    let plugin = spans.iter().find(|span| span["name"] == "plugin").unwrap();
    let id = |key: &str| {
        let bytes = STANDARD.decode(plugin[key].as_str().unwrap()).unwrap();
        bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>()
    };
    assert_eq!(context, format!("00-{}-{}-01", id("traceId"), id("spanId")));
}

/// Returns the span with this name below `parent`.
fn span<'a>(spans: &'a [Value], name: &str, parent: &Value) -> &'a Value {
    let found = spans.iter().find(|it| it["name"] == name && it["parentSpanId"] == *parent);
    found.unwrap_or_else(|| panic!("no `{name}` below {parent} in {spans:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_decodes_the_trace_of_a_call_with_its_report_message_and_job() {
    let Some(sdk) = sdk() else { return };
    let (mut receiver, port) = sdk.otlp_receiver().await;
    let otlp = [
        set("host.otlp.endpoint", format!("http://127.0.0.1:{port}")),
        set("host.otlp.traceparent_key", "traceparent"),
    ];
    let rig = Rig::new().plugin("tells.wat", set("methods", vec!["tell"])).host(otlp).start().await;
    let caller = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let answer = rig.service.call("tell", json!({ "traceparent": caller })).await.unwrap();
    assert_eq!(answer.status, 200);

    let mut spans = Vec::new();
    while !spans.iter().any(|it: &Value| it["name"] == "job") {
        let is_trace = |it: &Value| it["path"] == "/v1/traces";
        let received = receiver.wait_for_matching("received", is_trace).await;
        let batch = &received["body"]["resourceSpans"][0]["scopeSpans"][0]["spans"];
        spans.extend(batch.as_array().unwrap().iter().cloned());
    }
    let method = span(&spans, "tell", &json!("APBnqgupArc="));
    assert_eq!(
        (&method["kind"], attribute(method, "rpc.response.status_code")),
        (&json!("SPAN_KIND_SERVER"), &json!("200"))
    );
    let plugin = span(&spans, "plugin", &method["spanId"]);
    assert_eq!(attribute(plugin, "behaviour.plugin"), "tells");
    for name in ["twin.report", "telemetry.send", "jobs.add"] {
        span(&spans, name, &plugin["spanId"]);
    }
    let added = span(&spans, "jobs.add", &plugin["spanId"]);
    let job = span(&spans, "job", &added["spanId"]);
    assert_eq!(job["kind"], "SPAN_KIND_CONSUMER");
    let plugin = span(&spans, "plugin", &job["spanId"]);
    span(&spans, "telemetry.send", &plugin["spanId"]);
    assert!(spans.iter().all(|it| it["traceId"] == "S/kvNXezTaajzpKdDg5HNg=="), "{spans:?}");
    assert!(method["startTimeUnixNano"].as_str() <= plugin["startTimeUnixNano"].as_str());
}
