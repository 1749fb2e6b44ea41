//! The metrics of a host, over its control socket.

use host::control::{ControlAnswer, ControlRequest, ask};
use rig::{Rig, Running, deadline, set, until};
use serde_json::json;

/// Returns the metrics of the rig's host.
async fn metrics(rig: &Running) -> String {
    let file = rig.directory().join("host.toml");
    let asking = tokio::task::spawn_blocking(move || ask(&file, &ControlRequest::Metrics {}));
    match asking.await.unwrap().unwrap() {
        ControlAnswer::Metrics(text) => text,
        other => panic!("{other:?}"),
    }
}

/// Returns the value of a series.
fn value(text: &str, series: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    line.unwrap_or_else(|| panic!("no `{series}` in {text}")).parse().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_are_counted_by_plugin_method_and_outcome() {
    let methods = set("methods", vec!["echo", "trap", "spin"]);
    let rig = Rig::new()
        .plugin("misbehaves.wat", [methods, deadline("50ms"), set("disable_after", 0)])
        .start()
        .await;
    for (method, status) in [("echo", 200), ("echo", 200), ("trap", 500), ("spin", 504)] {
        assert_eq!(rig.service.call(method, json!(1)).await.unwrap().status, status);
    }
    assert_eq!(rig.service.call("none", json!(1)).await.unwrap().status, 404);

    let text = metrics(&rig).await;
    let calls = |method, outcome| {
        let labels = format!("plugin=\"misbehaves\",method=\"{method}\",outcome=\"{outcome}\"");
        value(&text, &format!("behaviour_host_method_calls_total{{{labels}}}"))
    };
    assert_eq!((calls("echo", "answered"), calls("echo", "trapped")), (2.0, 0.0));
    assert_eq!((calls("trap", "trapped"), calls("spin", "deadline-exceeded")), (1.0, 1.0));
    assert_eq!(value(&text, "behaviour_host_methods_unserved_total"), 1.0);

    let histogram = |suffix: &str, le: &str| {
        let labels = format!("{le}plugin=\"misbehaves\",method=\"spin\"");
        value(&text, &format!("behaviour_host_method_duration_seconds_{suffix}{{{labels}}}"))
    };
    assert_eq!((histogram("count", ""), histogram("bucket", "le=\"0.025\",")), (1.0, 0.0));
    assert_eq!(histogram("bucket", "le=\"+Inf\","), 1.0);
    assert!(histogram("sum", "") > 0.025, "{text}");

    let plugin =
        |name: &str| value(&text, &format!("behaviour_host_{name}{{plugin=\"misbehaves\"}}"));
    assert_eq!((plugin("plugin_active"), plugin("plugin_rollbacks_total")), (1.0, 0.0));
    assert!(plugin("plugin_memory_peak_bytes") >= 65536.0, "{text}");
    assert_eq!(value(&text, "behaviour_host_connected"), 1.0);
    assert!(value(&text, "behaviour_host_token_validity_seconds") > 3000.0, "{text}");
    assert!(value(&text, "behaviour_host_journal_bytes") > 0.0, "{text}");
    assert!(text.ends_with("# EOF\n"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_of_otlp_that_hangs_delays_neither_calls_nor_the_stop() {
    // Its connections are accepted by the system, and nobody reads them.
    let hanging = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let endpoint = format!("http://{}", hanging.local_addr().unwrap());
    let otlp = [
        set("host.otlp.endpoint", endpoint),
        set("host.otlp.interval", "1s"),
        set("host.otlp.timeout", "5m"),
    ];
    let mut rig = Rig::new().plugin("reply.wat", ()).host(otlp).start().await;
    let accepted = tokio::task::spawn_blocking(move || hanging.accept().unwrap());
    let connection = rig::within("the host pushes", accepted).await.unwrap();
    assert_eq!(rig.service.call("any", json!(1)).await.unwrap().status, 200);
    rig::within("the host stops", rig.stop_host()).await.unwrap();
    drop(connection);
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_do_not_choose_labels_and_lost_connections_are_counted_by_reason() {
    let mut rig = Rig::new().plugin("reply.wat", ()).start().await;
    for number in 0..200 {
        let odd = format!("m{number}\"}} 1");
        let name = if number % 2 == 0 { format!("m{number}") } else { odd };
        // The hub may refuse an odd name, and the host must not repeat it.
        if let Ok(name) = name.parse() {
            let request = protocol::method::MethodRequest::new(name, json!(null));
            rig.service.client.invoke(&rig.service.device, &request).await.ok();
        }
    }
    rig.stop_hub().await;
    rig.start_hub().await;
    rig.ready().await;

    let text = until("the host is connected again", || async {
        let text = metrics(&rig).await;
        (value(&text, "behaviour_host_connections_total") >= 2.0).then_some(text)
    })
    .await;
    let methods = text.lines().filter(|line| line.contains("method=") && line.contains("answered"));
    let methods: Vec<_> = methods.collect();
    assert_eq!(methods.len(), 1, "{methods:?}");
    assert!(methods[0].contains("plugin=\"reply\",method=\"*\""), "{methods:?}");
    let failures = text.lines().filter(|line| line.contains("connection_failures_total{"));
    let failures = failures.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap());
    assert!(failures.sum::<f64>() >= 1.0, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_keeps_metrics_that_survive_a_swap_and_a_flood_of_labels_is_bounded() {
    let rig = Rig::new().plugin("counts.wat", set("limits.metric_series", 20)).start().await;
    let call = async |method| {
        assert_eq!(rig.service.call(method, json!(null)).await.unwrap().status, 200);
    };
    call("order").await;
    // A custom section makes the same guest another version.
    let mut next = fixtures::guest("counts.wat");
    next.extend_from_slice(b"\x00\x02\x01x");
    let file = rig.plugin_file("counts");
    std::fs::write(file.with_extension("new"), next).unwrap();
    std::fs::rename(file.with_extension("new"), file).unwrap();
    let swaps = "behaviour_host_plugin_swaps_total{plugin=\"counts\"}";
    until("the next version is active", || async {
        (value(&metrics(&rig).await, swaps) >= 1.0).then_some(())
    })
    .await;
    call("order").await;
    call("flood").await;

    let text = metrics(&rig).await;
    let own = |name: &str| value(&text, &format!("behaviour_plugin_{name}"));
    assert_eq!(own("orders_total{plugin=\"counts\",size=\"xl\"}"), 2.0, "{text}");
    assert_eq!(own("heat{plugin=\"counts\"}"), 21.5);
    assert_eq!(own("wait_seconds_count{plugin=\"counts\"}"), 2.0);
    assert_eq!(own("wait_seconds_bucket{le=\"0.1\",plugin=\"counts\"}"), 0.0);
    assert_eq!(own("wait_seconds_bucket{le=\"0.25\",plugin=\"counts\"}"), 2.0);
    let about = |name: &str| {
        value(&text, &format!("behaviour_host_plugin_metric_{name}{{plugin=\"counts\"}}"))
    };
    assert_eq!((about("series"), about("series_left_out")), (20.0, 0.0));
    assert_eq!(about("updates_dropped_total"), 100_000.0 - 17.0);
    let floods = text.lines().filter(|line| line.starts_with("behaviour_plugin_flood_total{"));
    assert_eq!(floods.count(), 17);
    assert!(text.ends_with("# EOF\n") && text.matches("# EOF").count() == 1, "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_passes_on_the_trace_of_the_caller_while_none_is_recorded() {
    let key = set("host.otlp.traceparent_key", "trace");
    let rig = Rig::new().plugin("counts.wat", ()).host(key).start().await;
    let context = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

    let answer = rig.service.call("trace", json!({ "trace": context })).await.unwrap();
    assert_eq!(answer.payload, json!(context));
    for payload in [json!(null), json!({ "trace": "00-1" }), json!({ "traceparent": context })] {
        let answer = rig.service.call("trace", payload).await.unwrap();
        assert_eq!(answer.payload, json!(null));
    }
}
