//! Broken versions: each ends on the version before, and is not tried again after a restart.

use fixtures::Publisher;
use oci::Digest;
use oci::artifact::Metadata;
use rig::until;
use serde_json::{Value, json};

use super::{Fleet, release};

/// Moves a device from version one to a broken version, and checks the outcome before and after a
/// restart.
async fn check(
    publish: impl AsyncFnOnce(&Publisher) -> Digest,
    more: Value,
    state: &str,
    reason: &str,
) {
    let mut fleet = Fleet::start().await;
    let one = fleet.publisher.publish("version-one.wat", &release(1)).await;
    fleet.move_to(&one).await;
    let broken = publish(&fleet.publisher).await;
    let mut entry = json!({"image": fleet.publisher.image(&broken), "methods": ["ask"]});
    entry.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    fleet.desire(entry).await;
    let since = check_refused(&fleet, state, &broken, &one, reason).await;

    fleet.restart().await;
    fleet.check_answer("one").await;
    assert_eq!(check_refused(&fleet, state, &broken, &one, reason).await, since);
    fleet.rig.stop_host().await.unwrap();
}

/// Checks that a version is refused. Returns the time of the refusal.
async fn check_refused(
    fleet: &Fleet,
    state: &str,
    broken: &Digest,
    one: &Digest,
    reason: &str,
) -> Value {
    let mut report = fleet.until_state(state, broken).await;
    assert_eq!(report["reason"], reason, "{report}");
    assert_eq!(report["runningDigest"], json!(one));
    assert!(report["message"].as_str().is_some_and(|message| !message.is_empty()));
    fleet.check_answer("one").await;
    report["since"].take()
}

fn with_health(method: &str) -> Metadata {
    Metadata { health: Some(method.to_owned()), ..release(2) }
}

#[tokio::test]
async fn a_version_with_the_signature_of_a_stranger_or_with_none() {
    let stranger = async |publisher: &Publisher| {
        publisher.stranger().publish("version-two.wat", &release(2)).await
    };
    check(stranger, json!({}), "refused", "signature-invalid").await;
    let unsigned = async |publisher: &Publisher| {
        publisher.publish_unsigned("version-two.wat", &release(2)).await
    };
    check(unsigned, json!({}), "refused", "signature-missing").await;
}

#[tokio::test]
async fn a_version_whose_component_has_another_digest() {
    let tampered = async |publisher: &Publisher| {
        let digest = publisher.publish("version-two.wat", &release(2)).await;
        publisher.tamper("version-two.wat");
        digest
    };
    check(tampered, json!({}), "refused", "wrong-digest").await;
}

#[tokio::test]
async fn a_version_that_imports_more_than_it_is_granted() {
    let publish = async |publisher: &Publisher| publisher.publish("reboots.wat", &release(2)).await;
    check(publish, json!({}), "refused", "not-loadable").await;
}

#[tokio::test]
async fn a_version_that_does_not_start() {
    let publish =
        async |publisher: &Publisher| publisher.publish("never_takes_over.wat", &release(2)).await;
    check(publish, json!({"deadline": "500ms"}), "refused", "did-not-start").await;
}

#[tokio::test]
async fn a_version_whose_health_method_traps_or_hangs() {
    let traps = async |publisher: &Publisher| {
        publisher.publish("misbehaves.wat", &with_health("trap")).await
    };
    check(traps, json!({}), "rolled-back", "unhealthy").await;
    let hangs = async |publisher: &Publisher| {
        publisher.publish("misbehaves.wat", &with_health("spin")).await
    };
    check(hangs, json!({"deadline": "500ms"}), "rolled-back", "unhealthy").await;
}

#[tokio::test]
async fn a_release_that_is_older_than_the_one_that_proved_itself_needs_permission() {
    let mut fleet = Fleet::start().await;
    let two = fleet.publisher.publish("version-two.wat", &release(2)).await;
    let one = fleet.publisher.publish("version-one.wat", &release(1)).await;
    fleet.move_to(&two).await;
    fleet.rig.stop_host().await.unwrap();
    // A device on which release 2 has run for the time of the probation.
    let path = fleet.rig.data().join("fleet.json");
    let record = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, record.replace("\"floor\": 0", "\"floor\": 2")).unwrap();
    fleet.rig.start_host().await;

    let image = fleet.publisher.image(&one);
    fleet.desire(json!({"image": image})).await;
    let report = fleet.until_state("refused", &one).await;
    assert_eq!(report["reason"], "release-too-old");
    fleet.check_answer("two").await;
    fleet.desire(json!({"image": image, "allowDowngrade": true})).await;
    fleet.until_state("active", &one).await;
    fleet.check_answer("one").await;
}

#[tokio::test]
async fn a_version_whose_first_calls_trap() {
    let mut fleet = Fleet::start().await;
    let one = fleet.publisher.publish("version-one.wat", &release(1)).await;
    fleet.move_to(&one).await;
    let traps = fleet.publisher.publish("misbehaves.wat", &release(2)).await;
    let image = fleet.publisher.image(&traps);
    fleet.desire(json!({"image": image, "methods": ["ask", "trap"]})).await;
    fleet.until_state("active", &traps).await;
    until("the version is rolled back", || async {
        let answer = fleet.rig.service.call("trap", json!(1)).await.unwrap();
        // The version before does not serve the method.
        (answer.status == 404).then_some(())
    })
    .await;
    let since = check_refused(&fleet, "rolled-back", &traps, &one, "unhealthy").await;
    fleet.restart().await;
    assert_eq!(check_refused(&fleet, "rolled-back", &traps, &one, "unhealthy").await, since);
}
