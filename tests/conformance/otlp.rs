//! A receiver that decodes OTLP with the messages of OpenTelemetry.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

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

/// Returns the value of an attribute.
fn attribute<'a>(of: &'a Value, key: &str) -> &'a Value {
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
    receiver.send("answer", json!({ "statuses": [503, 400] })).await;
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
        .host(otlp)
        .start()
        .await;
    for method in ["echo", "echo", "trap"] {
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
    let resource = &received["body"]["resourceMetrics"][0]["resource"];
    assert_eq!(attribute(resource, "service.name"), "behaviour-host");
    assert_eq!(attribute(resource, "device.id"), rig::DEVICE);
}
