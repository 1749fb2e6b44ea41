//! Effects that outlive a call: state, jobs, changes of the twin, versions and reboots.

use crate::rig::{Host, load, load_with};
use behaviour_plugin::{
    BootOutcome, Call, CallError, Capability, JobError, JobWhen, Limits, NewJob, Plugin,
    PluginSettings,
};
use std::collections::BTreeSet;
use std::time::Duration;

const INVALID: u16 = 400 + 1;
const TOO_LARGE: u16 = 400 + 2;
const QUOTA_EXCEEDED: u16 = 400 + 3;

async fn status(host: &Host, plugin: &Plugin, method: &str, payload: &str) -> u16 {
    host.call(plugin, method, payload).await.unwrap().status
}

#[tokio::test]
async fn a_value_that_one_call_sets_is_read_by_another() {
    let (host, plugin) = (Host::default(), load("lasts.wat"));

    assert!(host.call(&plugin, "get", "null").await.unwrap().payload.is_none());
    assert_eq!(status(&host, &plugin, "set", "[1]").await, 200);
    assert_eq!(host.call(&plugin, "get", "null").await.unwrap().payload.unwrap().get(), "[1]");
    assert_eq!(status(&host, &plugin, "keys", "null").await, 201);
}

#[tokio::test]
async fn a_key_is_swapped_only_if_it_has_the_expected_value() {
    let (host, plugin) = (Host::default(), load("lasts.wat"));
    let (done, not_done) = (201, 200);

    assert_eq!(status(&host, &plugin, "write", "1").await, done);
    assert_eq!(status(&host, &plugin, "write", "2").await, not_done);
    assert_eq!(host.call(&plugin, "get", "null").await.unwrap().payload.unwrap().get(), "1");
}

#[tokio::test]
async fn keys_values_and_changes_of_the_state_are_limited() {
    let limits = Limits { state_value_bytes: 8, state_changes: 3, ..Limits::default() };
    let settings = PluginSettings { limits, ..PluginSettings::default() };
    let (host, plugin) = (Host::default(), load_with("lasts.wat", settings).unwrap());

    assert_eq!(status(&host, &plugin, "empty", "1").await, INVALID);
    assert_eq!(status(&host, &plugin, "set", "\"too long\"").await, TOO_LARGE);
    assert_eq!(status(&host, &plugin, "often", "1").await, QUOTA_EXCEEDED);
}

#[tokio::test]
async fn a_job_is_scheduled_with_its_due_time() {
    let (host, plugin) = (Host::default(), load("lasts.wat"));
    let delay = JobWhen::AfterDelay(Duration::from_secs(5));
    let boot = JobWhen::AfterBoot { within: Duration::from_secs(60) };

    for (method, when) in [("response", JobWhen::AfterResponse), ("delay", delay), ("boot", boot)] {
        assert_eq!(status(&host, &plugin, method, "[2]").await, 200, "{method}");
        let job = NewJob { name: "job".to_owned(), payload: "[2]".to_owned(), when };
        assert_eq!(host.jobs().last(), Some(&job));
    }
    assert_eq!(status(&host, &plugin, "cancel", "null").await, 201);
    assert_eq!(host.jobs().len(), 2);
}

#[tokio::test]
async fn an_invalid_job_and_a_job_above_the_limit_are_refused() {
    let limits = Limits { jobs: 3, ..Limits::default() };
    let settings = PluginSettings { limits, ..PluginSettings::default() };
    let (host, plugin) = (Host::default(), load_with("lasts.wat", settings).unwrap());

    assert_eq!(status(&host, &plugin, "nonsense", "1").await, INVALID);
    assert_eq!(status(&host, &plugin, "many", "1").await, QUOTA_EXCEEDED);
    assert_eq!(host.jobs().len(), 3);
}

#[tokio::test]
async fn each_outcome_of_a_job_is_returned() {
    let (host, plugin) = (Host::default(), load("lasts.wat"));
    let because = || "because".to_owned();

    for (name, expected) in [
        ("done", Ok(())),
        ("later", Err(JobError::Retry(None))),
        ("reject", Err(JobError::Reject(because()))),
        ("other", Err(JobError::Other(because()))),
    ] {
        assert_eq!(plugin.run_job(host.a_call(name, "null")).await.unwrap(), expected);
    }
}

#[tokio::test]
async fn a_job_reads_its_attempt_and_the_outcome_of_the_boot() {
    let (host, plugin) = (Host::default(), load("lasts.wat"));

    let call = Call { attempt: 7, ..host.a_call("attempt", "null") };
    assert_eq!(plugin.run_job(call).await.unwrap(), Err(JobError::Retry(Some(7))));
    let outcomes =
        [BootOutcome::NotWaitedFor, BootOutcome::Rebooted, BootOutcome::HostRestartedOnly];
    for (number, boot_outcome) in (0..).zip(outcomes) {
        let call = Call { boot_outcome, ..host.a_call("boot", "null") };
        assert_eq!(plugin.run_job(call).await.unwrap(), Err(JobError::Retry(Some(number))));
    }
}

#[tokio::test]
async fn a_job_has_a_deadline() {
    let limits = Limits { deadline: Duration::from_millis(50), ..Limits::default() };
    let settings = PluginSettings { limits, ..PluginSettings::default() };
    let (host, plugin) = (Host::default(), load_with("lasts.wat", settings).unwrap());

    let error = plugin.run_job(host.a_call("spin", "null")).await.unwrap_err();
    assert!(matches!(error, CallError::DeadlineExceeded(_)), "{error}");
}

#[tokio::test]
async fn a_plugin_accepts_a_change_or_requests_a_retry() {
    let (host, plugin) = (Host::default(), load("lasts.wat"));
    let changed = |version| plugin.desired_changed(host.a_call("desired", "{}"), version);

    assert_eq!(changed(3).await.unwrap(), Ok(()));
    assert_eq!(changed(4).await.unwrap(), Err(JobError::Retry(Some(4))));
}

#[tokio::test]
async fn a_message_is_accepted_rejected_or_tried_again() {
    let (host, plugin) = (Host::default(), load("mails.wat"));
    let reason = [("$.mid".to_owned(), "m1".to_owned()), ("why".to_owned(), "because".to_owned())];
    let receive = |body: &'static str, attempt| {
        let call = Call { attempt, ..host.a_call("messages.receive", "null") };
        plugin.receive_message(call, body.as_bytes(), &reason)
    };

    assert_eq!(receive("hello", 1).await.unwrap(), Ok(()));
    assert_eq!(receive("later", 1).await.unwrap(), Err(JobError::Retry(Some(1))));
    assert_eq!(receive("later", 2).await.unwrap(), Ok(()));
    let rejected = Err(JobError::Reject("because".to_owned()));
    assert_eq!(receive("reject", 1).await.unwrap(), rejected);
}

#[tokio::test]
async fn a_message_counts_as_the_payload_with_its_properties() {
    let limits = Limits { payload_bytes: 10, ..Limits::default() };
    let settings = PluginSettings { limits, ..PluginSettings::default() };
    let (host, plugin) = (Host::default(), load_with("mails.wat", settings).unwrap());
    let call = || host.a_call("messages.receive", "null");

    assert_eq!(plugin.receive_message(call(), b"123456789", &[]).await.unwrap(), Ok(()));
    let property = [("a".to_owned(), "b".to_owned())];
    let error = plugin.receive_message(call(), b"123456789", &property).await.unwrap_err();
    assert!(matches!(error, CallError::PayloadTooLarge { bytes: 11, limit_bytes: 10 }), "{error}");
}

#[tokio::test]
async fn a_version_starts_or_refuses_with_a_reason_and_stops() {
    let (host, plugin) = (Host::default(), load("lasts.wat"));
    let start = |previous| plugin.start(host.a_call("start", "null"), previous);

    assert_eq!(start(None).await.unwrap(), Ok(()));
    assert_eq!(start(Some("v1")).await.unwrap(), Err("v1".to_owned()));
    host.call(&plugin, "set", "1").await.unwrap();
    plugin.stop(host.a_call("stop", "null")).await.unwrap();
    assert!(host.call(&plugin, "get", "null").await.unwrap().payload.is_none());
}

#[tokio::test]
async fn a_call_of_a_missing_export_has_its_own_error() {
    let (host, plugin) = (Host::default(), load("sleeps.wat"));
    let no_export = |error: CallError| {
        assert!(matches!(error, CallError::NoExport(_)), "{error}");
        assert_eq!((error.status(), error.code()), (501, "no-export"));
    };

    no_export(plugin.run_job(host.a_call("job", "null")).await.unwrap_err());
    no_export(plugin.desired_changed(host.a_call("desired", "{}"), 1).await.unwrap_err());
    let message = plugin.receive_message(host.a_call("message", "null"), b"", &[]);
    no_export(message.await.unwrap_err());
    no_export(plugin.start(host.a_call("start", "null"), None).await.unwrap_err());
    no_export(plugin.stop(host.a_call("stop", "null")).await.unwrap_err());
}

#[tokio::test]
async fn a_reboot_needs_a_grant_and_its_reason_is_on_one_line() {
    let capabilities = BTreeSet::from([Capability::Power]);
    let settings = PluginSettings { capabilities, ..PluginSettings::default() };
    let (host, plugin) = (Host::default(), load_with("reboots.wat", settings).unwrap());

    assert_eq!(status(&host, &plugin, "reboot", "null").await, 200);
    assert_eq!(host.reboots(), ["reboot in 5s: for\\nmaintenance"]);
}

#[tokio::test]
async fn the_peak_memory_of_a_plugins_calls_is_recorded() {
    let (host, plugin) = (Host::default(), load("misbehaves.wat"));
    assert_eq!(plugin.peak_memory_bytes(), 0);

    host.call(&plugin, "echo", "null").await.unwrap();
    let once = plugin.peak_memory_bytes();
    host.call(&plugin, "grow", "null").await.unwrap_err();
    // One page of its own, and eight of headroom.
    assert_eq!(once, 9 * 64 * 1024);
    assert!(plugin.peak_memory_bytes() > 60 * 1024 * 1024);
}
