//! Tests of jobs.

use std::time::Duration;

use super::*;

impl Rig {
    async fn create(&self, id: &str, body: Value) -> Reply {
        self.request(Method::PUT, &format!("/jobs/v2/{id}"), body).await
    }

    /// Waits until a job has a status.
    async fn job(&self, id: &str, status: &str) -> Value {
        let path = format!("/jobs/v2/{id}");
        let reached = async {
            loop {
                let job = self.request(Method::GET, &path, "").await.body;
                if job["status"] == status {
                    return job;
                }
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(Duration::from_secs(30), reached).await.expect("the status in time")
    }
}

fn twin_job(condition: &str) -> Value {
    json!({"type": "scheduleUpdateTwin", "queryCondition": condition,
        "updateTwin": {"etag": "*", "tags": {"a": 1}, "properties": {"desired": {"b": 2}}}})
}

fn method_job() -> Value {
    json!({"type": "scheduleDeviceMethod", "cloudToDeviceMethod": {"methodName": "m"}})
}

#[tokio::test]
async fn a_job_changes_the_twins_of_the_selected_devices() {
    let rig = Rig::new().with_devices(&["d1", "d2", "d3"]);
    let created = rig.create("job01", twin_job("deviceId IN ['d1', 'd3']")).await;
    let accepted = json!({"jobId": "job01", "type": "scheduleUpdateTwin", "status": "queued"});
    assert_eq!(created.body, accepted, "{}", created.text);
    let job = rig.job("job01", "completed").await;
    assert_eq!(
        job["deviceJobStatistics"],
        json!({"deviceCount": 2, "failedCount": 0, "succeededCount": 2, "runningCount": 0,
            "pendingCount": 0})
    );
    assert_eq!(job["updateTwin"]["etag"], "*");
    assert!(job["endTime"].is_string() && job["maxExecutionTimeInSeconds"] == 3600);
    for (id, value) in [("d1", json!(2)), ("d2", Value::Null), ("d3", json!(2))] {
        let twin = rig.request(Method::GET, &format!("/twins/{id}"), "").await.body;
        assert_eq!(twin["properties"]["desired"]["b"], value, "{id}");
    }
    let text = "SELECT * FROM devices.jobs WHERE devices.jobs.jobId = 'job01' AND \
                devices.jobs.status = 'completed'";
    let page = rig.query(text, &[("x-ms-max-item-count", "1")]).await;
    assert_eq!(page.headers["x-ms-item-type"], "DeviceJob");
    assert_eq!(page.body[0]["deviceId"], "d1");
    assert_eq!(page.body[0]["outcome"], json!({"deviceMethodResponse": null}));
    let next = page.headers["x-ms-continuation"].to_str().unwrap();
    let page = rig.query(text, &[("x-ms-continuation", next)]).await;
    assert_eq!(page.body[0]["deviceId"], "d3");
    assert_eq!(page.headers.get("x-ms-continuation"), None);
}

#[tokio::test]
async fn a_method_job_fails_on_devices_that_are_offline_and_completes() {
    let rig = Rig::new().with_devices(&["d1"]);
    rig.create("job01", method_job()).await;
    let job = rig.job("job01", "completed").await;
    assert_eq!(job["deviceJobStatistics"]["failedCount"], 1);
    let page = rig.query("SELECT * FROM devices.jobs", &[]).await;
    assert_eq!(
        page.body[0]["error"],
        json!({"code": "404103",
            "description": "Timed out waiting for the requested device to connect."})
    );
}

#[tokio::test]
async fn a_scheduled_job_can_be_cancelled_and_a_finished_one_cannot() {
    let rig = Rig::new();
    let mut later = twin_job("*");
    later["startTime"] = json!("2100-01-01T00:00:00.000Z");
    rig.create("later", later.clone()).await;
    rig.job("later", "scheduled").await;
    let taken = rig.create("later", later).await;
    assert_eq!(taken.error().code, ErrorCode::JobAlreadyExists);
    let cancelled = rig.request(Method::POST, "/jobs/v2/later/cancel", "").await;
    assert_eq!(cancelled.body["status"], "cancelled", "{}", cancelled.text);
    let again = rig.request(Method::POST, "/jobs/v2/later/cancel", "").await;
    assert_eq!(again.status, StatusCode::BAD_REQUEST);
    assert_eq!(
        again.body["Message"],
        "ErrorCode:OperationNotAllowedInCurrentState;Job cannot be cancelled in 'Cancelled' status."
    );
    let unknown = rig.request(Method::GET, "/jobs/v2/none", "").await;
    assert_eq!(unknown.error().code, ErrorCode::JobNotFound);
}

#[tokio::test]
async fn only_one_job_is_active_and_jobs_are_listed_by_kind_and_status() {
    let rig = Rig::new().with_devices(&["d1"]);
    let mut slow = method_job();
    slow["cloudToDeviceMethod"]["connectTimeoutInSeconds"] = json!(300);
    rig.create("slow", slow).await;
    let second = rig.create("second", twin_job("*")).await;
    let error = second.error();
    assert_eq!(error.code, ErrorCode::ThrottlingMaxActiveJobCountExceeded);
    assert!(error.message.starts_with("Error: 429 {\"ExceptionMessage\":\"Tracking ID:"));
    rig.job("slow", "running").await;
    let running = rig.request(Method::POST, "/jobs/v2/slow/cancel", "").await;
    let text = "Job cannot be cancelled in 'Running' status.";
    let message = format!("ErrorCode:OperationNotAllowedInCurrentState;{text}");
    assert_eq!(running.body["Message"], message);

    let list = |query: &str| format!("/jobs/v2/query?{query}&x=");
    for (query, count) in [
        ("jobType=ScheduleDeviceMethod", 1),
        ("jobType=scheduleUpdateTwin", 0),
        ("jobType=&jobStatus=completed", 0),
        ("jobType=", 1),
    ] {
        let request = Request::builder()
            .uri(list(query))
            .header(AUTHORIZATION, rig.token("iothubowner", "localhost", u64::MAX));
        let listed = rig.send(request.body(Body::empty()).unwrap()).await;
        assert_eq!(listed.headers["x-ms-item-type"], "JobResponse");
        assert_eq!(listed.body.as_array().unwrap().len(), count, "{query}");
    }
}

#[tokio::test]
async fn a_job_continues_after_a_restart_without_calling_a_method_twice() {
    let dir = tempfile::tempdir().unwrap();
    let open = || State::open(Some(dir.path()), vec!["localhost".into()]).unwrap();
    let rig = Rig::over(open()).with_devices(&["d1"]);
    let mut slow = method_job();
    slow["cloudToDeviceMethod"]["connectTimeoutInSeconds"] = json!(300);
    rig.create("slow", slow).await;
    rig.job("slow", "running").await;
    let mut later = twin_job("*");
    later["startTime"] = json!("2100-01-01T00:00:00.000Z");
    // An active job does not prevent one with a later start.
    rig.create("later", later).await;
    rig.job("later", "scheduled").await;
    rig.stop.cancel();
    drop(rig);

    let rig = Rig::over(reopen(dir.path()).await);
    rig.rest.jobs.resume();
    let job = rig.job("slow", "completed").await;
    assert_eq!(job["deviceJobStatistics"]["failedCount"], 1, "{job}");
    let part = &rig.query("SELECT * FROM devices.jobs", &[]).await.body[0];
    assert_eq!(part["error"]["description"], "the hub stopped before the device answered");
    rig.job("later", "scheduled").await;
}

/// Opens the state again as soon as the tasks of the earlier one have ended.
async fn reopen(path: &std::path::Path) -> Arc<State> {
    let opened = async {
        loop {
            match State::open(Some(path), vec!["localhost".into()]) {
                Ok(state) => return state,
                Err(_) => tokio::task::yield_now().await,
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(30), opened).await.expect("the state in time")
}
