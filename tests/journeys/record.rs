//! Tests that a call that was recorded on a host is replayed by the author's tool.

use std::path::Path;

use behaviour::cases;
use behaviour::desk::{compile, engine};
use host::control::{ControlAnswer, ControlRequest, ask_for_lines};
use rig::{Rig, Running, config, set};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot};

/// A recording of the next calls.
struct Recording {
    cases: mpsc::Receiver<String>,
}

impl Recording {
    /// Starts to record calls of a method, and waits until the host records.
    async fn start(rig: &Running, method: &str, calls: u32) -> Recording {
        let file = rig.data().with_file_name("host.toml");
        let request = ControlRequest::Record {
            method: Some(method.parse().unwrap()),
            plugin: None,
            calls,
            seconds: 60,
            redact: Vec::new(),
        };
        let (sender, cases) = mpsc::channel(8);
        let (ready, is_ready) = oneshot::channel();
        let mut ready = Some(ready);
        tokio::task::spawn_blocking(move || {
            ask_for_lines(&file, &request, |answer| match answer {
                ControlAnswer::Recording(_) => ready.take().unwrap().send(()).is_ok(),
                ControlAnswer::Recorded(call) => sender.try_send(call.case.unwrap()).is_ok(),
                _ => false,
            })
        });
        is_ready.await.unwrap();
        Recording { cases }
    }

    async fn next(&mut self) -> String {
        rig::within("a call is recorded", self.cases.recv()).await.unwrap()
    }
}

/// Replays a case on a component, and returns the differences, one line each.
async fn replay(component: &Path, case: &str) -> String {
    let (component, case) = (component.to_owned(), case.to_owned());
    // The author's tool has a runtime of its own.
    tokio::task::spawn_blocking(move || {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("recorded.json"), case).unwrap();
        let case = cases::find(folder.path()).unwrap().remove(0).case;
        let engine = engine(0).unwrap();
        let (_, compiled) = compile(&engine, &component).unwrap();
        let verdict = case.and_then(|case| case.run(&engine, "plugin", &compiled)).unwrap();
        let differences: Vec<_> = verdict.differences().map(ToString::to_string).collect();
        differences.join("\n")
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn a_failing_call_of_a_device_fails_in_its_replay_until_the_plugin_is_fixed() {
    let rig = Rig::new().plugin("misbehaves.wat", ()).start().await;
    let component = rig.plugin_file("misbehaves");
    let mut recording = Recording::start(&rig, "trap", 1).await;
    assert_eq!(rig.service.call("trap", json!({"door": 7})).await.unwrap().status, 500);
    let case = recording.next().await;

    assert_eq!(replay(&component, &case).await, "", "{case}");
    // The author writes what the plugin should have done, and fixes the plugin.
    let mut wanted: Value = serde_json::from_str(&case).unwrap();
    assert_eq!(wanted["expect"]["error"], "trapped");
    wanted["expect"] = json!({"status": 200, "answer": {"door": 7}});
    let wanted = wanted.to_string();
    let failed = replay(&component, &wanted).await;
    assert!(failed.starts_with("status: expected 200, found 500\n"), "{failed}");
    rig.swap("misbehaves", "reply.wat");
    assert_eq!(replay(&component, &wanted).await, "");
}

#[tokio::test]
async fn a_replay_begins_with_the_state_and_the_twin_of_the_device() {
    let rig = Rig::new().plugin("keeps.wat", ()).start().await;
    assert_eq!(rig.service.call("k1", json!(17)).await.unwrap().status, 200);
    let mut recording = Recording::start(&rig, "last", 1).await;
    assert_eq!(rig.service.call("last", json!("k1")).await.unwrap().payload, json!(17));
    let case = recording.next().await;
    assert_eq!(replay(&rig.plugin_file("keeps"), &case).await, "", "{case}");
    let case: Value = serde_json::from_str(&case).unwrap();
    assert_eq!(case["state"]["k1"], "17");

    let mut recording = Recording::start(&rig, "k2", 1).await;
    assert_eq!(rig.service.call("k2", json!(5)).await.unwrap().status, 200);
    let case = recording.next().await;
    assert_eq!(replay(&rig.plugin_file("keeps"), &case).await, "", "{case}");
    let case: Value = serde_json::from_str(&case).unwrap();
    assert_eq!(case["expect"]["reported"], json!({"k2": 5}));
    assert_eq!(case["expect"]["jobs"][0]["when"], "after-delay 20 ms");
}

#[tokio::test]
async fn a_replay_passes_although_ids_and_times_differ() {
    let settings =
        [config("delay", 5), config("apiToken", "t-12345678"), set("methods", vec!["*"])];
    let rig = Rig::new().plugin("asks.wat", settings).start().await;
    rig.service.desire(json!({"delay": 9})).await;
    for method in ["now", "call", "device", "get", "desired"] {
        let mut recording = Recording::start(&rig, method, 1).await;
        rig.service.call(method, Value::Null).await.unwrap();
        let case = recording.next().await;
        assert!(!case.contains("t-12345678"), "{case}");
        assert_eq!(replay(&rig.plugin_file("asks"), &case).await, "", "{case}");
    }
}

#[tokio::test]
async fn several_calls_are_recorded_and_the_recording_then_ends() {
    let rig = Rig::new().plugin("reply.wat", ()).start().await;
    let mut recording = Recording::start(&rig, "echo", 2).await;
    for number in 1..=3 {
        rig.service.call("echo", json!(number)).await.unwrap();
    }
    for number in 1..=2 {
        let case: Value = serde_json::from_str(&recording.next().await).unwrap();
        assert_eq!(case["payload"], number);
    }
    assert_eq!(rig::within("the recording ends", recording.cases.recv()).await, None);
    Recording::start(&rig, "echo", 1).await;
}

/// Answers each request to a free port of this machine with a JSON string and a cookie, and
/// returns the port.
async fn http_server() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut request = [0; 4096];
                let _ = socket.read(&mut request).await;
                let response = "HTTP/1.1 203 OK\r\nset-cookie: id=c-12345678\r\n\
                                content-length: 7\r\n\r\n\"hello\"";
                let _ = socket.write_all(response.as_bytes()).await;
            });
        }
    });
    port
}

#[tokio::test]
async fn a_replay_gets_the_recorded_responses_to_http_requests() {
    let host = format!("http://localhost:{}", http_server().await);
    let granted = [
        set("capabilities", vec!["http"]),
        set("http.hosts", vec![host.clone()]),
        set("methods", vec!["*"]),
    ];
    let rig = Rig::new().plugin("requests.wat", granted).start().await;
    let mut recording = Recording::start(&rig, "ask", 2).await;
    let url = format!("{host}/door?api_token=t-12345678&n=1");
    let answer = rig.service.call("ask", json!(url)).await.unwrap();
    assert_eq!((answer.status, answer.payload), (203, json!("hello")));
    let case = recording.next().await;
    assert!(!case.contains("12345678"), "{case}");
    assert_eq!(replay(&rig.plugin_file("requests"), &case).await, "", "{case}");
}

#[tokio::test]
async fn a_replay_gets_the_recorded_refusals_of_http_requests() {
    let host = format!("http://localhost:{}", http_server().await);
    let granted = [
        set("capabilities", vec!["http"]),
        set("http.hosts", vec![host.clone()]),
        set("http.requests", 2),
        set("methods", vec!["*"]),
    ];
    let rig = Rig::new().plugin("requests.wat", granted).start().await;
    for (method, url, requests, cause) in [
        ("ask", "http://localhost:1/door".to_owned(), 1, "not-allowed"),
        ("often", host.clone(), 3, "quota-exceeded"),
        ("vast", host.clone(), 1, "too-large"),
    ] {
        let mut recording = Recording::start(&rig, method, 1).await;
        assert_eq!(rig.service.call(method, json!(url)).await.unwrap().status / 100, 5);
        let case = recording.next().await;
        assert_eq!(replay(&rig.plugin_file("requests"), &case).await, "", "{case}");
        let case: Value = serde_json::from_str(&case).unwrap();
        let exchanges = case["http"].as_array().unwrap();
        assert_eq!(exchanges.len(), requests, "{case}");
        assert_eq!(exchanges.last().unwrap()["response"]["cause"], cause, "{case}");
    }
}

#[tokio::test]
async fn a_replay_expects_the_metrics_and_has_the_trace_context_of_the_call() {
    let rig = Rig::new()
        .plugin("counts.wat", ())
        .host(set("host.otlp.traceparent_key", "trace"))
        .start()
        .await;
    let context = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    for method in ["order", "trace"] {
        let mut recording = Recording::start(&rig, method, 1).await;
        rig.service.call(method, json!({ "trace": context })).await.unwrap();
        let case = recording.next().await;
        assert_eq!(replay(&rig.plugin_file("counts"), &case).await, "", "{case}");
        let mut changed: Value = serde_json::from_str(&case).unwrap();
        assert_eq!(changed["trace_parent"], context);
        changed["expect"]["metrics"] = json!([{ "name": "orders", "value": 7 }]);
        let differences = replay(&rig.plugin_file("counts"), &changed.to_string()).await;
        assert!(differences.contains("metrics[0]"), "{differences}");
    }
}
