//! The commands for many devices: configurations, jobs and rollouts.

use fixtures::{Publisher, Registry};
use oci::Digest;
use oci::artifact::Metadata;
use serde_json::{Value, json};

use super::watching::Watching;
use super::{Rig, check};

/// An image that nothing serves.
const IMAGE: &str = "127.0.0.1:1/reboot@sha256:\
                     0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

async fn rig(devices: usize) -> Rig {
    let rig = Rig::start().await;
    for number in 0..devices {
        rig.hub.create_device(&format!("d{number}").parse().unwrap()).unwrap();
    }
    rig
}

#[tokio::test(flavor = "multi_thread")]
async fn a_configuration_is_created_updated_listed_and_deleted() {
    let rig = rig(1).await;
    let created = rig.json(&[
        "configurations",
        "create",
        "speed-1",
        r#"{"properties.desired.speed": 1}"#,
        "--target",
        "*",
        "--label",
        "owner=me",
        "--metric",
        "all=SELECT deviceId FROM devices",
    ]);
    assert_eq!((&created["etag"], &created["labels"]["owner"]), (&json!("MQ=="), &json!("me")));
    let updated = rig.json(&["configurations", "update", "speed-1", "--priority", "7"]);
    assert_eq!((&updated["priority"], &updated["targetCondition"]), (&json!(7), &json!("*")));
    let listed = rig.text(&["configurations", "list"]);
    assert!(listed.starts_with("speed-1 ") && listed.contains("priority 7"), "{listed}");
    assert_eq!(rig.json(&["configurations", "show", "speed-1"])["id"], "speed-1");
    rig.text(&["configurations", "delete", "speed-1"]);
    let gone = rig.run(&["configurations", "metrics", "speed-1"]);
    let error = "error: configuration `speed-1`: ConfigurationNotFound (HTTP 404): speed-1\n\
                 hint: check the id; `behaviour-service configurations list` prints all of them\n";
    check(&gone, 4, error);
    let refused = rig.run(&["configurations", "create", "c", r#"{"speed": 1}"#, "--target", "*"]);
    check(&refused, 2, "error: the keys of the content do not begin with `properties.desired`\n");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_job_waits_for_its_devices_and_names_those_that_failed() {
    let rig = rig(2).await;
    let patch = r#"{"tags": {"ring": 1}}"#;
    let done = rig.json(&["jobs", "twin", patch, "--target", "deviceId = 'd1'", "--id", "ring"]);
    assert_eq!(done["deviceJobStatistics"]["succeededCount"], 1);
    assert_eq!(rig.json(&["twin", "get", "d1"])["tags"]["ring"], 1);
    let outcomes = rig.text(&["jobs", "show", "ring", "--devices"]);
    assert_eq!(outcomes.split_whitespace().collect::<Vec<_>>(), ["d1", "completed", "changed"]);

    let failed = rig.run(&["jobs", "method", "greet", "--target", "tags.ring = 1", "--id", "hi"]);
    let offline = "Timed out waiting for the requested device to connect.";
    let error = format!(
        "{:<32} failed     {offline}\nerror: job `hi` failed on 1 devices\nhint: \
         `behaviour-service jobs show hi --devices` prints all outcomes\n",
        "d1"
    );
    check(&failed, 7, &error);
    let arguments = ["jobs", "twin", patch, "--target", "*", "--id", "later", "--start"];
    let later = rig.json(&[&arguments[..], &["2100-01-01T00:00:00Z"]].concat());
    assert_eq!(later["jobId"], "later");
    assert_eq!(rig.json(&["jobs", "cancel", "later"])["status"], "cancelled");
    let unknown = rig.run(&["jobs", "cancel", "none"]);
    let error = "error: job `none`: JobNotFound (404002): Job none not found\n\
                 hint: check the id; `behaviour-service jobs list` prints all of them\n";
    check(&unknown, 4, error);
    assert_eq!(rig.text(&["jobs", "list"]).lines().count(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_is_started_paused_aborted_and_taken_back() {
    let rig = rig(100).await;
    let start = |extra: &[&str]| {
        let arguments =
            ["rollout", "start", "--plugin", "reboot", "--image", IMAGE, "--no-wait", "--yes"];
        rig.run(&[&["--json"], &arguments[..], extra].concat())
    };
    let started = start(&["--waves", "10%,100%", "--method", "rebootDevice"]);
    let events = String::from_utf8(started.stdout).unwrap();
    let (preview, event) = events.split_once('\n').unwrap();
    let preview: Value = serde_json::from_str(preview).unwrap();
    assert_eq!(
        (&preview["event"], &preview["signature"]["state"]),
        (&json!("preview"), &json!("unknown"))
    );
    let event: Value = serde_json::from_str(event).unwrap();
    assert_eq!((&event["event"], &event["id"]), (&json!("started"), &json!("rollout-reboot-1")));
    let written = rig.json(&["configurations", "show", "rollout-reboot-1"]);
    let content = &written["content"]["deviceContent"]["properties.desired.plugins.reboot"];
    assert_eq!(content, &json!({"image": IMAGE, "methods": ["rebootDevice"]}));
    let status = rig.json(&["rollout", "status", "reboot"]);
    assert_eq!(
        (&status["health"]["devices"], &status["health"]["offline"]),
        (&json!(10), &json!(10))
    );

    let again = start(&[]);
    assert_eq!(again.status.code(), Some(1));
    for (command, state) in [("pause", "paused"), ("abort", "aborted")] {
        assert_eq!(rig.json(&["rollout", command, "reboot"])["state"], state);
    }
    assert_eq!(rig.json(&["rollout", "back", "reboot", "--no-wait"])["state"], "back");
    assert_eq!(rig.json(&["rollout", "back", "reboot"])["state"], "back");
    let ended = rig.run(&["rollout", "resume", "reboot"]);
    check(&ended, 1, "error: rollout `rollout-reboot-1` is back\n");
    let none = rig.run(&["rollout", "pause", "other"]);
    let error = "error: plugin `other` has no such rollout\n\
                 hint: `behaviour-service rollout status` prints all rollouts\n";
    check(&none, 4, error);
    let waves = start(&["--waves", "50%,10%"]);
    assert_eq!(waves.status.code(), Some(2));
    let nobody = start(&["--target", "tags.none = 1"]);
    assert_eq!(nobody.status.code(), Some(4));
}

/// A hub with a device, and a registry of the plugin `p`.
struct Desk {
    rig: Rig,
    folder: tempfile::TempDir,
    publisher: Publisher,
    _registry: Registry,
}

impl Desk {
    async fn start() -> Desk {
        let (rig, registry) = (rig(1).await, Registry::start().await);
        let folder = tempfile::tempdir().unwrap();
        let publisher = Publisher::new(folder.path(), &registry.host());
        registry.serve(publisher.directory());
        Desk { rig, folder, publisher, _registry: registry }
    }

    /// Runs `rollout start`. Returns the exit code and standard error.
    fn start_rollout(&self, digest: &Digest, more: &[&str]) -> (Option<i32>, String) {
        let image = self.publisher.image(digest);
        let arguments =
            ["rollout", "start", "--plugin", "p", "--plain-http", "--no-wait", "--image", &image];
        let output = self.rig.run(&[&arguments, more].concat());
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rollout_shows_its_image_and_begins_only_with_a_signature_or_a_yes() {
    let desk = Desk::start().await;
    let metadata = Metadata {
        release: 6,
        capabilities: vec!["power".to_owned()],
        version: Some("1.2.3".to_owned()),
        ..Metadata::default()
    };
    let unsigned = desk.publisher.publish_unsigned("version-one.wat", &metadata).await;
    let (code, stderr) = desk.start_rollout(&unsigned, &[]);
    let error = "error: not started: the image has no signature, which devices require by default\n\
                 hint: add --yes to roll out nevertheless\n";
    assert!(stderr.ends_with(error), "{stderr}");
    assert_eq!(code, Some(2));

    let signed = desk.publisher.publish("version-two.wat", &metadata).await;
    let stranger = tempfile::tempdir().unwrap();
    let _ = Publisher::new(stranger.path(), "other.example");
    let stranger = stranger.path().join("publisher.pem");
    // A yes does not count against the keys on the command line.
    let more = ["--signed-by", stranger.to_str().unwrap(), "--yes"];
    let (code, stderr) = desk.start_rollout(&signed, &more);
    assert!(stderr.contains("is not signed by a trusted key"), "{stderr}");
    assert_eq!(code, Some(1));
    assert_eq!(desk.rig.text(&["rollout", "status"]), "");

    let key = desk.folder.path().join("publisher.pem");
    let (code, stderr) = desk.start_rollout(&signed, &["--signed-by", key.to_str().unwrap()]);
    assert_eq!(code, Some(0), "{stderr}");
    for line in [
        "signature     valid, by the key ",
        "release       6, version 1.2.3\n",
        "capabilities  power\n",
        "instead of    no version on 1 device\n",
    ] {
        assert!(stderr.contains(line), "no `{line}` in {stderr}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watched_status_is_printed_again_when_it_changes() {
    let desk = Desk::start().await;
    let digest = desk.publisher.publish("version-one.wat", &Metadata::default()).await;
    let (code, stderr) = desk.start_rollout(&digest, &[]);
    assert_eq!(code, Some(0), "{stderr}");
    let arguments = ["--json", "rollout", "status", "p", "--watch", "--poll", "100ms"];
    let mut watching = Watching::start(&desk.rig, &arguments);
    let first = watching.json();
    assert_eq!((&first["state"], &first["health"]["active"]), (&json!("running"), &json!(0)));
    desk.rig.text(&["rollout", "pause", "p"]);
    assert_eq!(watching.json()["state"], "paused");
}
