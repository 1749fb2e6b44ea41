//! Metrics that a plugin keeps, and the trace context that it can pass on.

use crate::rig::{Host, load, load_with};
use behaviour_plugin::{Call, Limits, PluginSettings};

#[tokio::test]
async fn a_guest_keeps_counters_gauges_and_histograms_over_calls_and_versions() {
    let host = Host::default();
    let first = load("counts.wat");
    for method in ["bounds", "order", "bounds", "order"] {
        assert_eq!(host.call(&first, method, "null").await.unwrap().status, 200);
    }
    // The same component under a new number, like the next version in a slot.
    let second = load("counts.wat");
    host.call(&second, "order", "null").await.unwrap();

    let (series, dropped) = host.metrics();
    let expected = [
        r#"heat [] [] Number(21.5)"#,
        r#"orders [("size", "xl")] [] Number(3.0)"#,
        r#"wait_seconds [] [1.0, 2.0] Distribution { buckets: [3, 0, 0], sum: 0.6000000000000001 }"#,
    ];
    assert_eq!((series, dropped), (expected.map(str::to_owned).into(), 0));
    assert_eq!(host.log(), [""; 0]);
}

#[tokio::test]
async fn a_flood_of_label_values_is_bounded_counted_and_one_line_of_the_log() {
    let host = Host::default();
    let limits = Limits { metric_series: 20, ..Limits::default() };
    let plugin =
        load_with("counts.wat", PluginSettings { limits, ..PluginSettings::default() }).unwrap();
    for _ in 0..2 {
        assert_eq!(host.call(&plugin, "flood", "null").await.unwrap().status, 200);
    }

    let (series, dropped) = host.metrics();
    assert_eq!((series.len(), dropped), (20, 2 * (100_000 - 20)));
    let line = "reboot flood call-1 Warn: metric update dropped, further ones are only counted: \
                limit of 20 series of a plugin reached (`metric_series`) []";
    assert_eq!(host.log(), [line]);
}

#[tokio::test]
async fn invalid_updates_are_dropped_without_an_error_and_one_line_of_the_log() {
    let host = Host::default();
    let plugin = load("counts.wat");
    for _ in 0..3 {
        assert_eq!(host.call(&plugin, "wrong", "null").await.unwrap().status, 200);
    }

    assert_eq!(host.metrics(), (Vec::new(), 12));
    let line = "reboot wrong call-1 Warn: metric update dropped, further ones are only counted: \
                metric `orders`: the amount of a counter is negative []";
    assert_eq!(host.log(), [line]);
}

#[tokio::test]
async fn a_guest_reads_the_trace_context_of_its_call() {
    let (host, plugin) = (Host::default(), load("counts.wat"));
    assert!(host.call(&plugin, "trace", "null").await.unwrap().payload.is_none());

    let context = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let trace_parent = Some(context.to_owned());
    let call = Call { trace_parent, ..host.a_call("trace", "null") };
    let answer = plugin.invoke(call).await.unwrap();
    assert_eq!(answer.payload.unwrap().get(), format!("\"{context}\""));
}
