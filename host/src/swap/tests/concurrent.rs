//! Several loads at the same time. A gate holds the loading of one file back, like a
//! compilation that takes long.

use std::time::Duration;

use tokio::time::timeout;

use super::*;
use crate::swap::loads::Outcome;

/// Limit of everything that does not wait for the gate, long enough for a loaded machine.
const SOON: Duration = Duration::from_secs(30);

/// Fixture that is held back.
const SLOW: &str = "version-two.wat";

impl Rig {
    /// Returns the plugins that are being compiled.
    fn compiling(&self) -> Vec<String> {
        self.operator.compilations().into_iter().map(|compilation| compilation.plugin).collect()
    }

    async fn until_compiling(&self, plugins: &[&str]) {
        while self.compiling() != plugins {
            tokio::task::yield_now().await;
        }
    }

    fn number(&self, name: &str) -> Option<u32> {
        self.view(name).active.map(|active| active.number)
    }

    fn has(&self, name: &str) -> bool {
        self.router.table().slot(name).is_some()
    }
}

#[tokio::test]
async fn a_plugin_that_compiles_long_delays_no_other_one_at_the_start() {
    let rig = Rig::new(&[("a", SLOW), ("p", "version-one.wat")]);
    let held = rig.hold(SLOW);
    let rig = rig.restart();
    assert_eq!(rig.call("p").await, says("one"));
    rig.until_compiling(&["a"]).await;
    assert_eq!(rig.view("a").state, SlotStatus::Loading);
    drop(held);
    assert_eq!(rig.call("a").await, says("two"));
}

#[tokio::test]
async fn a_first_start_loads_all_plugins_concurrently() {
    let directory = tempfile::tempdir().unwrap();
    for (name, fixture) in [("a", SLOW), ("p", "version-one.wat")] {
        fs::write(file(&directory, name), fixtures::guest(fixture)).unwrap();
    }
    fs::write(directory.path().join("host.toml"), section("a", "") + &section("p", "")).unwrap();
    let config = Config::read(&directory.path().join("host.toml")).unwrap();
    let loader = Loader::new(&config).unwrap();
    let close = |fixture| loader.gate.close(&digest(fixture));
    let (slow, quick) = (close(SLOW), close("version-one.wat"));
    let (loading, compiling) = (loader.clone(), loader.compiling().clone());
    let all = tokio::task::spawn_blocking(move || plugins::load_all(&loading, &config).unwrap());
    while compiling.list().len() < 2 {
        tokio::task::yield_now().await;
    }
    drop(quick);
    while compiling.list().len() > 1 {
        tokio::task::yield_now().await;
    }
    assert_eq!(compiling.list()[0].plugin, "a");
    drop(slow);
    assert_eq!(all.await.unwrap().len(), 2);
}

#[tokio::test]
async fn a_changed_file_that_compiles_long_delays_no_other_one() {
    let rig = Rig::new(&[("a", "version-one.wat"), ("b", "version-one.wat")]);
    let held = rig.hold(SLOW);
    rig.replace("a", SLOW);
    rig.until_compiling(&["a"]).await;
    for (number, fixture) in [(2, "reply.wat"), (3, "version-one.wat")] {
        rig.replace("b", fixture);
        rig.until_version("b", number).await;
    }
    assert_eq!(rig.call("b").await, says("one"));
    assert_eq!((rig.number("a"), rig.call("a").await), (Some(1), says("one")));
    drop(held);
    rig.until_version("a", 2).await;
    assert_eq!(rig.call("a").await, says("two"));
}

#[tokio::test]
async fn each_plugin_of_a_changed_configuration_takes_over_when_it_is_ready() {
    let rig = Rig::new(&[("a", "version-one.wat")]);
    rig.write("quick", fixtures::guest("version-one.wat"));
    rig.write("slow", fixtures::guest(SLOW));
    let held = rig.hold(SLOW);
    rig.configure(
        &(section("a", "deadline = \"5s\"") + &section("quick", "") + &section("slow", "")),
    );
    rig.until_version("a", 2).await;
    rig.until(|rig| rig.has("quick")).await;
    assert_eq!(rig.call("quick").await, says("one"));
    rig.until_compiling(&["slow"]).await;
    assert_eq!((rig.has("slow"), rig.call("slow").await.0), (false, 404));
    drop(held);
    rig.until(|rig| rig.has("slow")).await;
    assert_eq!(rig.call("slow").await, says("two"));
}

#[tokio::test]
async fn a_method_stays_with_its_plugin_until_the_next_one_is_ready() {
    let rig = Rig::new(&[("moves", "version-one.wat"), ("leaves", "version-one.wat")]);
    rig.write("next", fixtures::guest(SLOW));
    let held = rig.hold(SLOW);
    let moved = section("moves", "").replace("[\"moves\"]", "[\"stays\"]");
    let next = section("next", "").replace("[\"next\"]", "[\"moves\", \"leaves\"]");
    rig.configure(&(moved + &next));
    let method = "stays".parse().unwrap();
    rig.until(|rig| rig.router.table().serving(&method).is_some()).await;
    for method in ["stays", "moves", "leaves"] {
        assert_eq!(rig.call(method).await, says("one"), "{method}");
    }
    drop(held);
    rig.until(|rig| !rig.has("leaves")).await;
    for (method, version) in [("stays", "one"), ("moves", "two"), ("leaves", "two")] {
        assert_eq!(rig.call(method).await, says(version), "{method}");
    }
}

#[tokio::test]
async fn a_plugin_that_is_removed_while_it_compiles_is_not_added() {
    let rig = Rig::new(&[("a", "version-one.wat")]);
    rig.write("slow", fixtures::guest(SLOW));
    let held = rig.hold(SLOW);
    rig.configure(&(section("a", "") + &section("slow", "")));
    rig.until_compiling(&["slow"]).await;
    rig.configure(&section("a", "deadline = \"5s\""));
    rig.until_version("a", 2).await;
    drop(held);
    rig.until_compiling(&[]).await;
    rig.configure(&section("a", "deadline = \"6s\""));
    rig.until_version("a", 3).await;
    assert!(!rig.has("slow"));
}

#[tokio::test]
async fn an_order_that_compiles_long_delays_no_other_one() {
    let rig = Rig::new(&[("a", "version-one.wat"), ("b", "version-one.wat")]);
    rig.replace("a", SLOW);
    rig.until_version("a", 2).await;
    rig.operator.roll_back("a").await.unwrap();
    let held = rig.hold(SLOW);
    let operator = rig.operator.clone();
    let slow = tokio::spawn(async move { operator.reload("a").await });
    rig.until_compiling(&["a"]).await;

    let done = timeout(SOON, rig.operator.reload("b")).await.unwrap().unwrap();
    assert_eq!(done, "version 1 of this file is already active");
    rig.replace("b", "reply.wat");
    rig.until_version("b", 2).await;
    let done = timeout(SOON, rig.operator.roll_back("b")).await.unwrap().unwrap();
    assert_eq!(done, "version 1 is active again, in place of 2");
    assert_eq!((slow.is_finished(), rig.call("a").await), (false, says("one")));

    drop(held);
    assert_eq!(slow.await.unwrap().unwrap(), "version 3 is active");
    assert_eq!(rig.call("a").await, says("two"));
}

#[tokio::test]
async fn a_file_that_changes_while_its_earlier_version_compiles_is_loaded_at_once() {
    let rig = Rig::new(&[("a", "version-one.wat")]);
    let held = rig.hold(SLOW);
    rig.replace("a", SLOW);
    rig.until_compiling(&["a"]).await;
    rig.replace("a", "reply.wat");
    rig.until_version("a", 2).await;
    assert_eq!(rig.view("a").active.unwrap().loaded.digest, digest("reply.wat"));

    // The earlier version is compiled, but never active.
    drop(held);
    rig.until_compiling(&[]).await;
    rig.replace("a", "version-one.wat");
    rig.until_version("a", 3).await;
    assert_eq!(rig.call("a").await, says("one"));
}

#[tokio::test]
async fn a_file_that_changes_while_its_first_version_compiles_is_loaded_at_once() {
    let rig = Rig::new(&[("a", SLOW)]);
    let held = rig.hold(SLOW);
    let rig = rig.restart();
    rig.until_compiling(&["a"]).await;
    rig.replace("a", "version-one.wat");
    assert_eq!(rig.call("a").await, says("one"));
    drop(held);
    rig.until_compiling(&[]).await;
    rig.replace("a", "reply.wat");
    rig.until_version("a", 2).await;
}

#[tokio::test]
async fn a_file_that_keeps_changing_is_compiled_at_most_twice_at_a_time() {
    let rig = Rig::new(&[("a", "version-one.wat")]);
    let held = (rig.hold(SLOW), rig.hold("reply.wat"));
    rig.replace("a", SLOW);
    rig.until_compiling(&["a"]).await;
    rig.replace("a", "reply.wat");
    rig.until_compiling(&["a", "a"]).await;
    rig.replace("a", "follows.wat");
    let operator = rig.operator.clone();
    let reload = tokio::spawn(async move { operator.reload("a").await });
    rig.until_compiling(&["a", "a"]).await;
    drop(held);
    // The order may arrive after the version has become active.
    let outcome = reload.await.unwrap().unwrap();
    assert!(outcome.starts_with("version 2 "), "{outcome}");
    assert_eq!(rig.view("a").active.unwrap().loaded.digest, digest("follows.wat"));
}

#[tokio::test]
async fn the_host_stops_while_a_plugin_compiles() {
    let mut rig = Rig::new(&[("a", "version-one.wat"), ("b", "follows.wat")]);
    rig.until(|rig| rig.view("b").state == SlotStatus::Active).await;
    let held = rig.hold(SLOW);
    rig.replace("a", SLOW);
    rig.until_compiling(&["a"]).await;
    let operator = rig.operator.clone();
    let reload = tokio::spawn(async move { operator.reload("a").await });
    timeout(SOON, rig.swap.shutdown()).await.unwrap();
    timeout(SOON, stop_all(&rig.router)).await.unwrap();
    let stopped = Err("the host is stopping".to_owned());
    let too_late = Err("too many pending orders".to_owned());
    let outcome = timeout(SOON, reload).await.unwrap().unwrap();
    assert!(outcome == stopped || outcome == too_late, "{outcome:?}");

    drop(held);
    rig.until_compiling(&[]).await;
    assert_eq!((rig.number("a"), rig.call("a").await), (Some(1), says("one")));
}

#[tokio::test]
async fn an_outdated_load_of_the_active_version_does_not_restore_its_entry() {
    let directory = Rig::files(&[("a", "version-one.wat")], &section("a", ""));
    let (_rig, mut swap) = Rig::not_running(directory, true, lent(), Gate::default());
    let slot = swap.router.table().slot("a").cloned();
    let old = swap.config.plugins["a"].clone();
    let mut new = old.clone();
    new.patience.disable_after += 1;
    swap.config.plugins.insert("a".to_owned(), new.clone());
    swap.put_in_force("a", new.clone(), None);

    swap.take_over("a", old, slot, Outcome::Known, false);
    assert_eq!(swap.in_force["a"], new);
}
