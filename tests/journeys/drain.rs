//! Tests that the host finishes its calls before it stops.

use rig::{Rig, set, within};
use serde_json::json;

#[tokio::test]
async fn a_running_call_is_answered_before_the_host_ends() {
    let mut rig = Rig::new().plugin("sleeps.wat", set("limits.calls_at_once", 1)).start().await;
    let service = rig.service.clone();
    let running = tokio::spawn(async move { service.call_until_free("sleep", json!(500)).await });
    rig.service.until_busy("sleep").await;

    rig.stop_host().await.unwrap();

    assert_eq!(running.await.unwrap().status, 200);
    assert!(!rig.hub().is_connected(&rig.service.device));
}

#[tokio::test]
async fn a_host_stops_even_under_constant_calls() {
    let mut rig = Rig::new().plugin("reply.wat", ()).start().await;
    let service = rig.service.clone();
    let calling = tokio::spawn(async move {
        let call = || async { while service.call("echo", json!(1)).await.is_ok() {} };
        tokio::join!(call(), call(), call(), call());
    });
    rig.ready().await;

    rig.stop_host().await.unwrap();

    within("the calls fail once the host has stopped", calling).await.unwrap();
}

#[tokio::test]
async fn a_call_that_exceeds_the_grace_period_is_answered_with_draining() {
    let mut rig = Rig::new()
        .plugin("sleeps.wat", set("limits.calls_at_once", 1))
        .host(set("host.grace", "50ms"))
        .start()
        .await;
    let service = rig.service.clone();
    let running =
        tokio::spawn(async move { service.call_until_free("sleep", json!(20_000)).await });
    rig.service.until_busy("sleep").await;

    rig.stop_host().await.unwrap();

    let answer = running.await.unwrap();
    assert_eq!((answer.status, &answer.payload["error"]), (503, &json!("draining")));
}
