//! Tests of configurations, jobs and rollouts, from the service to the device.

use std::time::Duration;

use protocol::configuration::Configuration;
use protocol::job::{Job, JobStatus};
use rig::{DEVICE, Rig, Running, until};
use serde_json::{Map, Value, json};
use service::rollout::{
    self, Rollout, RolloutError, RolloutEvent, RolloutOutcome, RolloutPlan, RolloutState,
};

const POLL: Duration = Duration::from_millis(20);

fn image(digit: &str) -> String {
    format!("registry.example/reboot@sha256:{}", digit.repeat(64))
}

fn plan(digit: &str) -> RolloutPlan {
    RolloutPlan {
        plugin: "reboot".to_owned(),
        key: "plugins".to_owned(),
        entry: Map::from_iter([("image".to_owned(), json!(image(digit)))]),
        target: "*".to_owned(),
        waves: ["40%", "100%"].map(|share| share.parse().unwrap()).into(),
        healthy: "99%".parse().unwrap(),
        pause: Duration::ZERO,
        timeout: Duration::from_secs(600),
    }
}

/// Waits until the device sees this image, or none.
async fn until_desired(rig: &Running, image: Option<String>) {
    let wanted = json!(image);
    until(format!("the device sees {wanted}"), || async {
        let answer = rig.service.call("desired", Value::Null).await.unwrap();
        let found = answer.payload.pointer("/plugins/reboot/image").cloned().unwrap_or_default();
        (found == wanted).then_some(())
    })
    .await;
}

async fn report(rig: &Running, state: &str, digit: &str) {
    let digest = format!("sha256:{}", digit.repeat(64));
    let report = json!({"state": state, "digest": digest, "reason": "health-gate"});
    rig.service.call("report", json!({"plugins": {"reboot": report}})).await.unwrap();
}

/// Drives a rollout to its end, and returns it with the numbers of the waves that began.
async fn drive(rig: &Running, rollout: &Rollout) -> (Rollout, Vec<usize>) {
    let mut waves = Vec::new();
    let on_event = |event: RolloutEvent<'_>| {
        if let RolloutEvent::Wave(rollout) = event {
            waves.push(rollout.wave);
        }
    };
    let driven = rollout::drive(&rig.service.client, rollout.id(), POLL, on_event);
    let outcome = tokio::time::timeout(Duration::from_secs(60), driven).await.unwrap();
    match outcome.unwrap() {
        RolloutOutcome::Ended(rollout) => (*rollout, waves),
        RolloutOutcome::Deleted => panic!("the rollout was deleted"),
    }
}

/// Returns a rig with a device that is connected and two that sort behind it and are not.
async fn rig() -> Running {
    let rig = Rig::new().plugin("asks.wat", ()).start().await;
    for name in ["x", "y"] {
        rig.hub().create_device(&format!("{DEVICE}-{name}").parse().unwrap()).unwrap();
    }
    rig
}

#[tokio::test]
async fn a_rollout_reaches_all_devices_in_waves_and_goes_back_when_it_fails() {
    let rig = rig().await;
    let client = &rig.service.client;

    let first = rollout::start(client, plan("a")).await.unwrap();
    let again = rollout::start(client, plan("b")).await;
    assert!(matches!(again, Err(RolloutError::Unfinished { .. })), "{again:?}");
    until_desired(&rig, Some(image("a"))).await;
    report(&rig, "active", "a").await;
    let (done, waves) = drive(&rig, &first).await;
    assert_eq!((done.state, waves), (RolloutState::Done, vec![0, 1]));
    assert_eq!(done.condition(), "*");

    let second = rollout::start(client, plan("b")).await.unwrap();
    until_desired(&rig, Some(image("b"))).await;
    report(&rig, "rolled-back", "b").await;
    let (stopped, waves) = drive(&rig, &second).await;
    assert_eq!((stopped.state, waves), (RolloutState::Stopped, vec![0]));
    assert!(stopped.reason.contains("devices failed; 0 may fail"), "{}", stopped.reason);
    let failures = rollout::failures(client, &stopped).await.unwrap();
    assert_eq!(failures, [(DEVICE.to_owned(), "health-gate".to_owned())]);

    let back = rollout::go_back(client, stopped, POLL, |_| {}).await.unwrap();
    assert_eq!(back.state, RolloutState::Back);
    until_desired(&rig, Some(image("a"))).await;
    let (ended, waves) = drive(&rig, &back).await;
    assert_eq!((ended.state, waves), (RolloutState::Back, vec![]));
}

#[tokio::test]
async fn a_rollout_continues_at_any_desk_where_another_one_left_it() {
    let rig = rig().await;
    let client = &rig.service.client;
    let slow = RolloutPlan { pause: Duration::from_secs(3600), ..plan("a") };
    rollout::start(client, slow).await.unwrap();
    report(&rig, "active", "a").await;

    // Another desk knows only the hub.
    let found = Rollout::all(client.configurations().await.unwrap()).pop().unwrap();
    assert_eq!((found.wave, found.pause), (0, Duration::from_secs(3600)));
    let mut paused = found.clone();
    paused.state = RolloutState::Paused;
    client.write_configuration(&paused.to_configuration()).await.unwrap();
    let (ended, _) = drive(&rig, &found).await;
    assert_eq!(ended.state, RolloutState::Paused);

    // A desk with an old version cannot overwrite the decision.
    let refused = client.write_configuration(&found.to_configuration()).await.unwrap_err();
    assert_eq!(refused.code(), Some(protocol::error::ErrorCode::PreconditionFailed));
    let mut resumed = ended;
    resumed.state = RolloutState::Running;
    resumed.pause = Duration::ZERO;
    client.write_configuration(&resumed.to_configuration()).await.unwrap();
    assert_eq!(drive(&rig, &resumed).await.0.state, RolloutState::Done);
}

#[tokio::test]
async fn the_versions_that_devices_run_are_counted_before_a_rollout() {
    let rig = rig().await;
    let client = &rig.service.client;
    let digest = |digit: &str| format!("sha256:{}", digit.repeat(64));
    let report = json!({"state": "refused", "digest": digest("b"), "runningDigest": digest("a"),
        "capabilities": ["power", "http"]});
    rig.service.call("report", json!({"plugins": {"reboot": report}})).await.unwrap();
    let versions = until("the report arrives", || async {
        let versions = rollout::running(client, &plan("c")).await.unwrap();
        (versions.len() == 2).then_some(versions)
    })
    .await;
    let [none, running] = &versions[..] else { panic!("{versions:?}") };
    assert_eq!((none.devices, none.digest.as_deref()), (2, None));
    assert_eq!((running.devices, running.digest.clone()), (1, Some(digest("a"))));
    assert_eq!(running.capabilities.iter().collect::<Vec<_>>(), ["http", "power"]);
    let nobody = RolloutPlan { target: "tags.none = 1".to_owned(), ..plan("c") };
    let nobody = rollout::running(client, &nobody).await;
    assert!(matches!(nobody, Err(RolloutError::NoDevices(_))), "{nobody:?}");
}

#[tokio::test]
async fn a_connected_device_gets_each_change_of_its_configurations() {
    let rig = Rig::new().plugin("asks.wat", ()).start().await;
    let client = &rig.service.client;
    let entry = json!({"image": image("a")});
    let content = Map::from_iter([("properties.desired.plugins.reboot".to_owned(), entry)]);
    let mut configuration = Configuration::new("c1".parse().unwrap(), content);
    configuration.target_condition = format!("deviceId = '{DEVICE}'");
    client.write_configuration(&configuration).await.unwrap();
    until_desired(&rig, Some(image("a"))).await;
    client.delete_configuration(&configuration.id).await.unwrap();
    until_desired(&rig, None).await;
}

#[tokio::test]
async fn a_job_calls_a_method_of_the_selected_devices() {
    let rig = rig().await;
    let client = &rig.service.client;
    let job = json!({"jobId": "ask", "type": "scheduleDeviceMethod", "queryCondition": "*",
        "cloudToDeviceMethod": {"methodName": "desired", "payload": null}});
    let job: Job = serde_json::from_value(job).unwrap();
    client.create_job(&job).await.unwrap();
    let done = until("the job ends", || async {
        let job = client.job(&job.job_id).await.unwrap();
        job.status.is_final().then_some(job)
    })
    .await;
    assert_eq!(done.status, JobStatus::Completed);
    let count = done.device_job_statistics.unwrap();
    assert_eq!((count.succeeded_count, count.failed_count), (1, 2));
    let condition = Some("devices.jobs.status = 'completed'");
    let parts = client.device_jobs(&job.job_id, condition).await.unwrap();
    assert_eq!(parts[0].device_id.as_str(), DEVICE);
    assert_eq!(parts[0].outcome.device_method_response.as_ref().unwrap().status, 200);
}
