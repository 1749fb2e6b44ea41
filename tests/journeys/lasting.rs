//! What outlives the host: reports, state and jobs, over its end and its start.

use rig::{Rig, config, set};
use serde_json::{Value, json};

#[tokio::test]
async fn what_a_plugin_remembers_and_has_asked_for_is_there_after_a_restart() {
    let mut rig = Rig::new().plugin("keeps.wat", ()).start().await;
    // It remembers the number, reports it, and asks for a job that ends its waiting.
    assert_eq!(rig.service.call("k1", json!(17)).await.unwrap().status, 200);
    rig.stop_host().await.unwrap();
    rig.start_host().await;

    let last = rig.service.call("last", json!("k1")).await.unwrap();
    assert_eq!((last.status, last.payload), (200, json!(17)));
    rig.until_reported("/k1", &json!(17)).await;
    while rig.service.call("waits", json!(17)).await.unwrap().status != 200 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test]
async fn a_report_made_without_a_hub_leaves_with_the_next_run_of_the_host() {
    let mut rig = Rig::new()
        .reboot([
            config("delay_seconds", 1),
            config("report", json!({"reason": "asked"})),
            set("limits.calls_at_once", 1),
        ])
        .host(set("host.grace", "2s"))
        .start()
        .await;
    let service = rig.service.clone();
    let lost = tokio::spawn(async move { service.call("rebootDevice", Value::Null).await });
    rig.service.until_busy("probe").await;

    rig.stop_hub().await;
    lost.await.unwrap().unwrap_err();
    rig.stop_host().await.unwrap();
    rig.start_hub().await;
    rig.start_host().await;

    rig.until_reported("/reason", &json!("asked")).await;
}
