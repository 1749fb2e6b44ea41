//! Tests of the official Node service SDK with configurations and jobs.

use rig::{DEVICE, Rig};
use serde_json::{Value, json};

use super::node_sdk::node_sdk;
use super::script::Script;

async fn ask(script: &mut Script, name: &str, arguments: Value) -> Value {
    script.send(name, json!({ "arguments": arguments })).await;
    let found = script.wait_for_any(&["done", "refused"]).await;
    assert_eq!(found["event"], "done", "{name}: {found}");
    found["result"].clone()
}

#[tokio::test]
async fn the_registry_of_node_manages_configurations() {
    let Some(sdk) = node_sdk() else { return };
    let rig = Rig::new().start().await;
    let mut script = sdk.fleet(&rig).await;
    let configuration = json!({"id": "c1", "labels": {"env": "t"}, "priority": 10,
        "targetCondition": format!("deviceId = '{DEVICE}'"),
        "content": {"deviceContent": {"properties.desired.speed": 1}}});
    let created = ask(&mut script, "addConfiguration", json!([configuration])).await;
    assert_eq!(created["etag"], "MQ==");
    let mut changed = ask(&mut script, "getConfiguration", json!(["c1"])).await;
    changed["priority"] = json!(11);
    let updated = ask(&mut script, "updateConfiguration", json!([changed])).await;
    assert_eq!((&updated["priority"], &updated["etag"]), (&json!(11), &json!("Mg==")));
    let all = ask(&mut script, "getConfigurations", json!([])).await;
    assert_eq!(all.as_array().unwrap().len(), 1);
    script.send("addConfiguration", json!({ "arguments": [changed] })).await;
    assert_eq!(script.wait_for("refused").await["name"], "DeviceAlreadyExistsError");
    ask(&mut script, "removeConfiguration", json!(["c1"])).await;
    script.send("getConfiguration", json!({ "arguments": ["c1"] })).await;
    script.wait_for("refused").await;
    script.stop().await;
}

#[tokio::test]
async fn the_job_client_of_node_creates_lists_and_cancels_jobs() {
    let Some(sdk) = node_sdk() else { return };
    let rig = Rig::new().start().await;
    let mut script = sdk.fleet(&rig).await;
    let patch = json!({"etag": "*", "tags": {"ring": 1}, "properties": {"desired": {"a": 1}}});
    let arguments = json!(["job01", "*", patch, "2020-01-01T00:00:00.000Z", 60]);
    let created = ask(&mut script, "scheduleTwinUpdate", arguments).await;
    assert_eq!(created["jobId"], "job01");
    loop {
        let job = ask(&mut script, "getJob", json!(["job01"])).await;
        if job["status"] == "completed" || job["status"] == "failed" {
            break;
        }
    }
    let method = json!({"methodName": "m", "payload": null, "responseTimeoutInSeconds": 30});
    let arguments = json!(["job02", "*", method, "2100-01-01T00:00:00.000Z", 60]);
    ask(&mut script, "scheduleDeviceMethod", arguments).await;
    let cancelled = ask(&mut script, "cancelJob", json!(["job02"])).await;
    assert_eq!(cancelled["status"], "cancelled");
    let listed = ask(&mut script, "getJobs", json!([])).await;
    let ids: Vec<_> = listed.as_array().unwrap().iter().map(|job| &job["jobId"]).collect();
    assert_eq!(ids, ["job01", "job02"]);
    script.send("getJob", json!({ "arguments": ["none"] })).await;
    script.wait_for("refused").await;
    script.stop().await;
}
