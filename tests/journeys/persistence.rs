//! Tests that reports, state and jobs survive a restart of the host.

use rig::{Rig, config, set, until};
use serde_json::{Value, json};

#[tokio::test]
async fn state_reports_and_jobs_of_a_plugin_survive_a_restart() {
    let mut rig = Rig::new().plugin("keeps.wat", ()).start().await;
    // The call stores the number, reports it, and schedules a job that clears it from
    // `waits`.
    assert_eq!(rig.service.call("k1", json!(17)).await.unwrap().status, 200);
    rig.stop_host().await.unwrap();
    rig.start_host().await;

    let last = rig.service.call("last", json!("k1")).await.unwrap();
    assert_eq!((last.status, last.payload), (200, json!(17)));
    rig.until_reported("/k1", &json!(17)).await;
    until("the job has run", || async {
        let answer = rig.service.call("waits", json!(17)).await.unwrap();
        (answer.status == 200).then_some(())
    })
    .await;
}

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
