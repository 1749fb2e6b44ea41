//! Restarts of the host: plugins that do not work are replaced by their last working
//! versions.

use super::*;

impl Rig {
    /// Waits until the record on disk meets a condition.
    async fn until_kept(&self, condition: impl Fn(&GoodRecord) -> bool) {
        let known = KnownGood::in_data(&self.directory.path().join("data"));
        while !condition(&known.record()) {
            tokio::task::yield_now().await;
        }
    }

    /// Calls a plugin, and waits until its version is recorded as working.
    async fn prove(&self, name: &str) {
        let digest = self.digest(name);
        assert_eq!(self.call(name).await.0, 200);
        self.until_kept(|record| {
            let good = record.plugins.get(name).and_then(|version| version.good.as_ref());
            good == Some(&digest) && record.configuration.is_some()
        })
        .await;
    }

    fn digest(&self, name: &str) -> String {
        self.view(name).active.unwrap().loaded.digest.clone()
    }

    async fn until_state(&self, name: &str, state: SlotStatus) {
        self.until(|rig| rig.view(name).state == state).await;
    }
}

#[tokio::test]
async fn a_plugin_with_a_corrupt_file_runs_its_last_working_version() {
    let rig = Rig::new(&[("p", "version-one.wat"), ("q", "version-two.wat")]);
    rig.prove("p").await;
    let good = rig.digest("p");
    let whole = fixtures::guest("version-two.wat");
    rig.write("p", &whole[..whole.len() / 2]);

    let rig = rig.restart();
    assert_eq!(rig.call("p").await, says("one"));
    assert_eq!(rig.call("q").await, says("two"));
    rig.until(|rig| rig.view("p").last_error.is_some()).await;
    assert_eq!(rig.digest("p"), good);

    rig.write("p", &whole);
    rig.until_version("p", 2).await;
    assert_eq!((rig.call("p").await, rig.view("p").last_error), (says("two"), None));
}

#[tokio::test]
async fn a_plugin_that_never_worked_is_not_started_and_the_others_answer() {
    let rig = Rig::new(&[("p", "version-one.wat"), ("q", "version-two.wat")]);
    rig.prove("p").await;
    fs::remove_file(file(&rig.directory, "q")).unwrap();

    let rig = rig.restart();
    rig.until_state("q", SlotStatus::NotStarted).await;
    assert!(rig.view("q").last_error.unwrap().contains("No such file"));
    assert_eq!(rig.call("q").await.0, 503);
    assert_eq!(rig.call("p").await, says("one"));

    rig.write("q", fixtures::guest("version-one.wat"));
    rig.until_state("q", SlotStatus::Active).await;
    assert_eq!(rig.call("q").await, says("one"));
}

#[tokio::test]
async fn a_version_that_does_not_start_is_replaced_by_the_last_working_one() {
    let rig = Rig::new(&[("p", "version-one.wat")]);
    rig.prove("p").await;
    rig.configure(&section("p", "config.start = \"no sensor\""));
    rig.until_version("p", 2).await;
    rig.prove("p").await;
    fs::write(file(&rig.directory, "p"), fixtures::guest("follows.wat")).unwrap();

    let rig = rig.restart();
    rig.until(|rig| rig.view("p").last_error.is_some()).await;
    assert_eq!(rig.view("p").last_error.as_deref(), Some("start: no sensor"));
    assert_eq!(rig.call("p").await, says("one"));
}

#[tokio::test]
async fn a_rolled_back_version_is_not_loaded_until_its_file_changes() {
    let mut rig = Rig::new(&[("p", "version-one.wat")]);
    rig.prove("p").await;
    let one = rig.digest("p");
    rig.replace("p", "version-two.wat");
    rig.until_version("p", 2).await;
    rig.prove("p").await;
    let two = rig.digest("p");
    rig.operator.roll_back("p").await.unwrap();
    rig.until_kept(|record| record.plugins["p"].rolled_back.as_ref() == Some(&two)).await;

    for _ in 0..2 {
        rig = rig.restart();
        assert_eq!(rig.call("p").await, says("one"));
        assert_eq!(rig.digest("p"), one);
        let reason = rig.view("p").last_error.unwrap();
        assert_eq!(reason, format!("version {two} was rolled back; its file has not changed"));
    }

    rig.replace("p", "reply.wat");
    rig.until_version("p", 2).await;
    rig.until_kept(|record| record.plugins["p"].rolled_back.is_none()).await;
}

#[tokio::test]
async fn versions_that_are_no_longer_needed_are_removed() {
    let rig = Rig::new(&[("p", "version-one.wat")]);
    rig.prove("p").await;
    let first = rig.digest("p");
    for (number, fixture) in [(2, "version-two.wat"), (3, "reply.wat")] {
        rig.replace("p", fixture);
        rig.until_version("p", number).await;
        rig.prove("p").await;
    }
    let known = KnownGood::in_data(&rig.directory.path().join("data"));
    // Versions are removed after the record without them was written.
    while known.path(&first).exists() {
        tokio::task::yield_now().await;
    }
    assert!(known.path(&rig.digest("p")).exists());
}

#[tokio::test]
async fn a_version_that_only_failed_is_not_recorded_as_working() {
    let rig = Rig::new(&[("trap", "misbehaves.wat")]);
    assert_eq!(rig.call("trap").await.0, 500);
    rig.until_kept(|record| record.configuration.is_some()).await;
    let known = KnownGood::in_data(&rig.directory.path().join("data"));
    assert_eq!(known.record().plugins.get("trap"), None);
}
