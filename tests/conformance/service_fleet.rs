//! Tests of the official Python service SDK with configurations and jobs.

use rig::Rig;
use serde_json::json;

use super::sdk::sdk;
use super::service::{done, refused};

#[tokio::test]
async fn the_configuration_manager_of_python_manages_configurations() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().start().await;
    let mut service = sdk.service(&rig).await;
    let configuration = json!({"id": "c1", "target": "*", "priority": 10,
        "content": {"properties.desired.speed": 1}});
    let created = done(&mut service, "create_configuration", configuration.clone()).await;
    assert_eq!((&created["etag"], &created["priority"]), (&json!("MQ=="), &json!(10)));
    let again = refused(&mut service, "create_configuration", configuration.clone()).await;
    assert_eq!(again["status"], 409);
    // The client sends the etag without quotes, which Azure does not take as an update either.
    let mut update = configuration;
    update["etag"] = json!("MQ==");
    assert_eq!(refused(&mut service, "update_configuration", update.clone()).await["status"], 409);
    update["etag"] = json!("*");
    let updated = done(&mut service, "update_configuration", update).await;
    assert_eq!(updated["etag"], "Mg==");
    let all = done(&mut service, "get_configurations", json!({})).await;
    assert_eq!(all.as_array().unwrap().len(), 1);
    let tested = json!({"target": "tags.", "queries": {"m": "SELECT * FROM devices"}});
    let tested = done(&mut service, "test_queries", tested).await;
    assert!(tested["target_condition_error"].as_str().unwrap().contains("property name"));
    done(&mut service, "delete_configuration", json!({"id": "c1"})).await;
    let gone = refused(&mut service, "get_configuration", json!({"id": "c1"})).await;
    assert_eq!((&gone["status"], &gone["code"]), (&json!(404), &json!("ConfigurationNotFound")));
}

#[tokio::test]
async fn the_job_manager_of_python_creates_and_cancels_jobs() {
    let Some(sdk) = sdk() else { return };
    let rig = Rig::new().start().await;
    let mut service = sdk.service(&rig).await;
    let job = json!({"id": "job01", "condition": "*", "tags": {"ring": 1}});
    let created = done(&mut service, "create_twin_job", job.clone()).await;
    assert_eq!((&created["job_id"], &created["status"]), (&json!("job01"), &json!("queued")));
    loop {
        let job = done(&mut service, "get_job", json!({"id": "job01"})).await;
        if job["status"] == "completed" {
            assert_eq!(job["device_job_statistics"]["succeeded_count"], 1);
            break;
        }
    }
    assert_eq!(refused(&mut service, "create_twin_job", job).await["code"], "JobAlreadyExists");
    let later = json!({"id": "job02", "condition": "*", "method": "m",
        "start": "2100-01-01T00:00:00Z"});
    done(&mut service, "create_method_job", later).await;
    let cancelled = done(&mut service, "cancel_job", json!({"id": "job02"})).await;
    assert_eq!(cancelled["status"], "cancelled");
    let unknown = refused(&mut service, "get_job", json!({"id": "none"})).await;
    assert_eq!((&unknown["status"], &unknown["code"]), (&json!(404), &json!("JobNotFound")));
}
