//! Tests with many concurrent methods.

use std::sync::Arc;

use rig::{Rig, deadline, set};
use serde_json::json;
use tokio::task::JoinSet;

#[tokio::test]
async fn a_method_is_answered_while_a_hundred_others_sleep() {
    let rig = Rig::new()
        .plugin("sleeps.wat", [set("methods", vec!["sleep"]), set("limits.calls_at_once", 100)])
        .plugin("reply.wat", ())
        .start()
        .await;
    let service = Arc::new(rig.service.clone());
    let mut sleepers = JoinSet::new();
    for _ in 0..100 {
        let service = Arc::clone(&service);
        sleepers.spawn(async move { service.call_until_free("sleep", json!(20_000)).await });
    }
    // Once the plugin is at its limit, all calls are sleeping.
    rig.service.until_busy("sleep").await;

    let answer = rig.service.call("echo", json!("awake")).await.unwrap();

    assert_eq!(answer.payload, json!("awake"));
    assert!(sleepers.try_join_next().is_none());
}

#[tokio::test]
async fn a_thousand_methods_can_be_in_flight_at_once() {
    let rig = Rig::new().plugin("sleeps.wat", set("limits.calls_at_once", 1000)).start().await;
    let service = Arc::new(rig.service.clone());
    let mut sleepers = JoinSet::new();
    for _ in 0..1000 {
        let service = Arc::clone(&service);
        sleepers.spawn(async move { service.call("sleep", json!(2_000)).await });
    }

    while let Some(answer) = sleepers.join_next().await {
        assert_eq!(answer.unwrap().unwrap().status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_thousand_quick_methods_are_answered_while_a_plugin_spins() {
    let spin = set("methods", vec!["spin"]);
    let rig = Rig::new()
        .plugin("misbehaves.wat", [spin, deadline("5m"), set("limits.calls_at_once", 1)])
        .plugin("reply.wat", ())
        .start()
        .await;
    let service = Arc::new(rig.service.clone());
    let call = |method, payload| {
        let service = Arc::clone(&service);
        async move { service.call(method, payload).await.unwrap().status }
    };
    let mut spinners: JoinSet<_> = (0..2).map(|_| call("spin", json!(null))).collect();
    // One of them is refused while the other spins.
    assert_eq!(spinners.join_next().await.unwrap().unwrap(), 429);

    let quick: JoinSet<_> = (0..1000).map(|number| call("echo", json!(number))).collect();

    assert!(quick.join_all().await.iter().all(|status| *status == 200));
    assert_eq!(call("spin", json!(null)).await, 429, "it still spins");
}
