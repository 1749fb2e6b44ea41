//! Swaps with real files. Each test changes files as a user or a program would, and waits
//! until the host has applied the change.

mod cache;
mod concurrent;
mod panics;
mod refused;
mod restart;

use std::collections::BTreeMap;
use std::fs;

use plugin::Plugin;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::*;
use crate::known_good::{GoodRecord, KnownGood};
use crate::plugins;
use crate::plugins::gate::{Closed, Gate};
use crate::plugins::slot::{Slot, SlotStatus, SlotView};
use crate::router::{Table, tests::lent};
use crate::supervision::Supervisor;

/// Host without a hub: a directory with its files, and the task that applies their changes.
struct Rig {
    directory: TempDir,
    router: Arc<Router>,
    changes: Changes,
    operator: Operator,
    gate: Gate,
    swap: JoinSet<()>,
}

impl Rig {
    /// Creates a rig with plugins, each with a name and the fixture in its file.
    fn new(plugins: &[(&str, &str)]) -> Rig {
        let sections: String = plugins.iter().map(|(name, _)| section(name, "")).collect();
        Rig::configured(plugins, &sections)
    }

    fn configured(plugins: &[(&str, &str)], toml: &str) -> Rig {
        Rig::start(Rig::files(plugins, toml), true, Gate::default())
    }

    /// Writes the files of a rig to a new directory.
    fn files(plugins: &[(&str, &str)], toml: &str) -> TempDir {
        let directory = tempfile::tempdir().unwrap();
        for (name, fixture) in plugins {
            fs::write(file(&directory, name), fixtures::guest(fixture)).unwrap();
        }
        fs::write(directory.path().join("host.toml"), toml).unwrap();
        directory
    }

    /// Restarts the host, which then loads its plugins in the background.
    fn restart(self) -> Rig {
        let Rig { directory, router, changes, operator, gate, swap } = self;
        drop((router, changes, operator, swap));
        Rig::start(directory, false, gate)
    }

    fn start(directory: TempDir, is_first: bool, gate: Gate) -> Rig {
        Rig::start_with(directory, is_first, lent(), gate)
    }

    fn start_with(directory: TempDir, is_first: bool, lent: plugin::Lent, gate: Gate) -> Rig {
        let (mut rig, swap) = Rig::not_running(directory, is_first, lent, gate);
        rig.swap.spawn(swap.run(Watch::new()));
        rig
    }

    /// Creates a rig whose task does not run yet.
    fn not_running(
        directory: TempDir,
        is_first: bool,
        lent: plugin::Lent,
        gate: Gate,
    ) -> (Rig, Swap) {
        let config = Config::read(&directory.path().join("host.toml")).unwrap();
        let mut loader = Loader::new(&config).unwrap();
        loader.gate = gate.clone();
        let changes = Changes::new(());
        let mut made = match is_first {
            true => plugins::load_all(&loader, &config).unwrap(),
            false => BTreeMap::new(),
        };
        let slots = config.plugins.iter().map(|(name, section)| {
            let (patience, changes) = (section.patience, changes.clone());
            let slot = match made.remove(name) {
                Some(made) => Slot::new(name, made, patience, changes),
                None => Slot::loading(name, patience, changes),
            };
            (name.clone(), Arc::new(slot))
        });
        let table = Table::new(&config.plugins, slots.collect());
        let router = Arc::new(Router::new(table, lent, None));
        let known = Some(KnownGood::in_data(&directory.path().join("data")));
        let (changes_too, pulse) = (changes.clone(), Supervisor::new(None).pulse("swap"));
        let switches = Arc::default();
        let (swap, operator) = Swap::new(
            loader,
            Arc::clone(&router),
            changes_too,
            config.into(),
            switches,
            known,
            pulse,
        );
        (Rig { directory, router, changes, operator, gate, swap: JoinSet::new() }, swap)
    }

    /// Holds the loading of a fixture back until the result is dropped.
    fn hold(&self, fixture: &str) -> Closed {
        self.gate.close(&digest(fixture))
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        fs::write(file(&self.directory, name), bytes).unwrap();
    }

    /// Replaces a plugin's file atomically.
    fn replace(&self, name: &str, fixture: &str) {
        let temporary = self.directory.path().join(".new");
        fs::write(&temporary, fixtures::guest(fixture)).unwrap();
        fs::rename(temporary, file(&self.directory, name)).unwrap();
    }

    /// Replaces the configuration atomically.
    fn configure(&self, toml: &str) {
        let temporary = self.directory.path().join(".host.toml");
        fs::write(&temporary, toml).unwrap();
        fs::rename(temporary, self.directory.path().join("host.toml")).unwrap();
    }

    fn view(&self, name: &str) -> SlotView<Plugin> {
        self.router.table().slot(name).unwrap().view()
    }

    /// Waits for a condition, which is checked after each change of a slot.
    async fn until(&self, condition: impl Fn(&Rig) -> bool) {
        let mut changed = self.changes.subscribe();
        while !condition(self) {
            changed.changed().await.unwrap();
        }
    }

    async fn until_version(&self, name: &str, number: u32) {
        let is = |rig: &Rig| rig.view(name).active.is_some_and(|active| active.number == number);
        self.until(is).await;
    }

    async fn call(&self, method: &str) -> (i32, Value) {
        let answer =
            self.router.answer(&"1".parse().unwrap(), &method.parse().unwrap(), b"1").await;
        (answer.status, serde_json::from_str(&answer.body).unwrap())
    }
}

fn file(directory: &TempDir, name: &str) -> PathBuf {
    directory.path().join(name).with_extension("wasm")
}

/// Returns the digest of a fixture.
fn digest(fixture: &str) -> String {
    let digest = Sha256::digest(fixtures::guest(fixture));
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns the section of a plugin that serves the method of its own name.
fn section(name: &str, settings: &str) -> String {
    format!("[plugins.{name}]\nfile = \"{name}.wasm\"\nmethods = [\"{name}\"]\n{settings}\n")
}

fn says(version: &str) -> (i32, Value) {
    (200, json!({"first": version, "second": version}))
}

#[tokio::test]
async fn a_file_that_is_renamed_into_place_becomes_active() {
    let rig = Rig::new(&[("p", "version-one.wat")]);
    assert_eq!(rig.call("p").await, says("one"));
    rig.replace("p", "version-two.wat");
    rig.until_version("p", 2).await;
    assert_eq!(rig.call("p").await, says("two"));
}

/// Kubernetes mounts volumes like this: files are links through a directory that is a link
/// itself, and updates switch the link of the directory.
#[tokio::test]
async fn a_switched_link_and_a_replaced_directory_are_noticed() {
    use std::os::unix::fs::symlink;
    let rig = Rig::new(&[("p", "version-one.wat")]);
    let root = rig.directory.path();
    for (folder, fixture) in [("..1", "version-two.wat"), ("..2", "version-one.wat")] {
        fs::create_dir(root.join(folder)).unwrap();
        fs::write(root.join(folder).join("p.wasm"), fixtures::guest(fixture)).unwrap();
    }
    symlink("..1", root.join("..data")).unwrap();
    symlink("..data/p.wasm", root.join("link")).unwrap();
    fs::rename(root.join("link"), root.join("p.wasm")).unwrap();
    rig.until_version("p", 2).await;
    assert_eq!(rig.call("p").await, says("two"));

    symlink("..2", root.join("..data_tmp")).unwrap();
    fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
    rig.until_version("p", 3).await;
    assert_eq!(rig.call("p").await, says("one"));

    fs::rename(root.join("..2"), root.join("..3")).unwrap();
    fs::rename(root.join("..1"), root.join("..2")).unwrap();
    rig.until_version("p", 4).await;
    assert_eq!(rig.call("p").await, says("two"));
}

#[tokio::test]
async fn a_partial_file_is_refused_and_the_complete_one_becomes_active() {
    let rig = Rig::new(&[("p", "version-one.wat")]);
    let whole = fixtures::guest("version-two.wat");
    rig.write("p", &whole[..whole.len() / 2]);
    rig.until(|rig| rig.view("p").last_error.is_some()).await;
    assert_eq!(rig.call("p").await, says("one"));

    rig.write("p", &whole);
    rig.until_version("p", 2).await;
    let view = rig.view("p");
    assert_eq!((rig.call("p").await, view.last_error), (says("two"), None));
}

#[tokio::test]
async fn a_file_that_is_removed_and_restored_makes_no_new_version() {
    let rig = Rig::new(&[("p", "version-one.wat")]);
    fs::remove_file(file(&rig.directory, "p")).unwrap();
    rig.until(|rig| rig.view("p").last_error.is_some()).await;
    assert!(rig.view("p").last_error.unwrap().contains("No such file"));

    rig.write("p", fixtures::guest("version-one.wat"));
    rig.until(|rig| rig.view("p").last_error.is_none()).await;
    assert_eq!((rig.call("p").await, rig.view("p").active.unwrap().number), (says("one"), 1));
}

#[tokio::test]
async fn a_changed_configuration_adds_removes_and_changes_plugins() {
    let rig = Rig::new(&[("a", "version-one.wat"), ("b", "version-one.wat")]);
    rig.write("c", fixtures::guest("version-two.wat"));
    rig.configure(&(section("a", "deadline = \"5s\"") + &section("c", "")));
    rig.until(|rig| rig.router.table().slot("b").is_none()).await;
    assert_eq!(rig.call("c").await, says("two"));
    assert_eq!(rig.call("b").await.0, 404);
    assert_eq!((rig.call("a").await, rig.view("a").active.unwrap().number), (says("one"), 2));
}

#[tokio::test]
async fn a_configuration_is_applied_only_after_its_writer_has_closed_it() {
    use std::io::Write as _;
    let rig = Rig::new(&[("a", "version-one.wat"), ("b", "version-one.wat")]);
    let slot = rig.router.table().slot("b").cloned().unwrap();
    let mut file = fs::File::create(rig.directory.path().join("host.toml")).unwrap();
    file.write_all(section("a", "deadline = \"5s\"").as_bytes()).unwrap();
    // The swap of a plugin shows that the host has checked the partial file too.
    rig.replace("a", "version-two.wat");
    rig.until_version("a", 2).await;
    assert_eq!(rig.call("b").await, says("one"));

    file.write_all(section("b", "").as_bytes()).unwrap();
    drop(file);
    rig.until_version("a", 3).await;
    assert!(Arc::ptr_eq(rig.router.table().slot("b").unwrap(), &slot));
}

#[tokio::test]
async fn a_configuration_that_is_written_in_place_is_applied_after_a_pause() {
    let rig = Rig::new(&[("a", "version-one.wat")]);
    let file = rig.directory.path().join("host.toml");
    fs::write(file, section("a", "deadline = \"5s\"")).unwrap();
    rig.until_version("a", 2).await;
}

#[tokio::test]
async fn other_methods_and_another_patience_make_no_new_version() {
    let rig = Rig::new(&[("a", "misbehaves.wat")]);
    let moved =
        section("a", "disable_after = 1\nfailing_for = \"0s\"").replace("[\"a\"]", "[\"trap\"]");
    rig.configure(&moved);
    rig.until(|rig| rig.router.table().serving(&"trap".parse().unwrap()).is_some()).await;
    assert_eq!(rig.view("a").active.unwrap().number, 1);
    assert_eq!(rig.call("trap").await.0, 500);
    assert_eq!(rig.view("a").state, SlotStatus::Disabled);
}

#[tokio::test]
async fn an_invalid_configuration_changes_nothing() {
    let rig = Rig::new(&[("a", "version-one.wat")]);
    let mut refused = rig.operator.clone();
    rig.configure(&(section("a", "deadline = \"5s\"") + "mistake = 1\n"));
    let reason = refused.until_refused().await;
    assert!(reason.contains("line 5: unknown key `plugins.a.mistake`"), "{reason}");
    assert_eq!(rig.view("a").active.unwrap().number, 1);
}

#[tokio::test]
async fn an_entry_that_does_not_load_is_refused_and_the_others_take_over() {
    let rig = Rig::new(&[("a", "version-one.wat"), ("old", "version-one.wat")]);
    let entries = section("a", "deadline = \"5s\"")
        + &section("b", "")
        + &section("old", "").replace("plugins.old", "plugins.new").replace("old.wasm", "new.wasm");
    rig.configure(&entries);
    rig.until_version("a", 2).await;
    let refused = |rig: &Rig| rig.operator.configuration().refused;
    let names_both =
        |text: String| text.contains("plugin `b`: ") && text.contains("plugin `new`: ");
    rig.until(|rig| refused(rig).is_some_and(names_both)).await;

    // A plugin is not removed before its successor is ready.
    assert_eq!(rig.call("old").await, says("one"));
    rig.write("b", fixtures::guest("version-two.wat"));
    rig.until(|rig| rig.router.table().slot("b").is_some()).await;
    assert_eq!(rig.call("b").await, says("two"));
    rig.until(|rig| !refused(rig).unwrap().contains("plugin `b`: ")).await;
    assert_eq!(rig.call("old").await, says("one"));
    rig.write("new", fixtures::guest("version-two.wat"));
    rig.until(|rig| rig.router.table().slot("old").is_none()).await;
    assert_eq!((rig.call("old").await, refused(&rig)), (says("two"), None));
    assert_eq!(rig.view("a").active.unwrap().number, 2);
}

#[tokio::test]
async fn a_version_that_does_not_start_leaves_the_previous_one_active() {
    let rig = Rig::new(&[("p", "version-one.wat")]);
    // This fixture refuses to start if there is a previous version.
    rig.replace("p", "lasts.wat");
    rig.until(|rig| rig.view("p").last_error.is_some()).await;
    let digest = rig.view("p").active.unwrap().loaded.digest.clone();
    assert_eq!(rig.view("p").last_error, Some(format!("start: {digest}")));
    assert_eq!(rig.call("p").await, says("one"));
}

#[tokio::test]
async fn a_start_that_does_not_return_is_stopped_at_its_deadline() {
    let rig = Rig::new(&[("p", "version-one.wat")]);
    rig.configure(&section("p", "deadline = \"50ms\"\nconfig.loop = true"));
    rig.until_version("p", 2).await;
    rig.replace("p", "follows.wat");
    rig.until(|rig| rig.view("p").last_error.is_some()).await;
    let reason = rig.view("p").last_error.unwrap();
    assert_eq!(reason, "start: no answer within 50ms");
    assert_eq!(rig.call("p").await, says("one"));
}

#[tokio::test]
async fn a_version_that_fails_its_first_calls_is_rolled_back() {
    let rig =
        Rig::configured(&[("trap", "version-one.wat")], &section("trap", "failing_for = \"0s\""));
    rig.replace("trap", "misbehaves.wat");
    rig.until_version("trap", 2).await;
    for _ in 0..3 {
        assert_eq!(rig.call("trap").await.0, 500);
    }
    assert_eq!(rig.call("trap").await, says("one"));
    let SlotView { active, counters, .. } = rig.view("trap");
    assert_eq!((active.unwrap().number, counters.rollbacks), (1, 1));

    // Only an operator can activate a rolled-back version again.
    rig.operator.reload("trap").await.unwrap();
    assert_eq!(rig.view("trap").active.unwrap().number, 3);
}

#[tokio::test]
async fn an_operator_rolls_back_and_reloads() {
    let rig = Rig::new(&[("p", "version-one.wat")]);
    let reason = rig.operator.roll_back("p").await.unwrap_err();
    assert_eq!(reason, "there is no previous version");
    rig.replace("p", "version-two.wat");
    rig.until_version("p", 2).await;

    let done = rig.operator.roll_back("p").await.unwrap();
    assert_eq!(done, "version 1 is active again, in place of 2");
    assert_eq!(rig.call("p").await, says("one"));
    let done = rig.operator.reload("p").await.unwrap();
    assert_eq!(done, "version 3 is active");
    assert_eq!(rig.call("p").await, says("two"));
    let done = rig.operator.reload("p").await.unwrap();
    assert_eq!(done, "version 3 of this file is already active");
    assert_eq!(rig.operator.reload("q").await.unwrap_err(), "no plugin `q`");
}

#[tokio::test]
async fn a_plugin_that_does_not_start_with_the_host_is_disabled_and_tried_again() {
    let rig = Rig::configured(
        &[("p", "follows.wat"), ("q", "version-one.wat")],
        &(section("p", "config.start = \"no sensor\"") + &section("q", "")),
    );
    rig.until(|rig| rig.view("p").state == SlotStatus::NotStarted).await;
    assert_eq!(rig.view("p").last_error.as_deref(), Some("start: no sensor"));
    assert_eq!(rig.call("p").await.0, 503);
    assert_eq!(rig.call("q").await, says("one"));

    rig.configure(&(section("p", "") + &section("q", "")));
    rig.until(|rig| rig.view("p").state == SlotStatus::Active).await;
    assert_eq!(rig.call("p").await.0, 200);
}

#[tokio::test]
async fn changes_that_need_a_restart_are_reported_and_the_others_are_applied() {
    let rig = Rig::new(&[("p", "version-one.wat")]);
    let with_grace = |settings| section("p", settings) + "[host]\ngrace = \"1s\"\n";
    rig.configure(&with_grace(""));
    let mut operator = rig.operator.clone();
    operator.until_restart_needed().await;
    assert_eq!(rig.view("p").active.unwrap().number, 1);

    rig.configure(&with_grace("deadline = \"5s\""));
    rig.until_version("p", 2).await;
    assert!(rig.operator.configuration().restart_needed);
}
