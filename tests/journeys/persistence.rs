//! Tests that reports survive a restart of the host. `wires` tests state and jobs.

use rig::{Rig, config, set};
use serde_json::{Value, json};

#[tokio::test]
async fn a_report_made_while_the_hub_is_down_is_sent_after_a_restart_of_the_host() {
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
