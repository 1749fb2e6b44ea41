//! The memory that many calls at once leave behind, and its return.

use crate::rig::{Host, engine_with};
use behaviour_plugin::{Engine, Plugin, PluginSettings};
use futures_util::future::join_all;

const AT_ONCE: usize = 200;

/// The memory that most instances of a burst have written to: a page each. A few wait
/// to be put back into the pool.
const MUCH: usize = AT_ONCE / 2 * 4096;

fn sleeper() -> (Engine, Plugin) {
    let engine = engine_with(300);
    let plugin = engine.load("sleeps", &fixtures::guest("sleeps.wat"), settings()).unwrap();
    (engine, plugin)
}

fn settings() -> PluginSettings {
    let mut settings = PluginSettings::default();
    settings.limits.calls_at_once = AT_ONCE;
    settings
}

async fn sleep(plugin: &Plugin, ms: &str) {
    assert_eq!(Host::default().call(plugin, "sleep", ms).await.unwrap().status, 200);
}

/// Many calls at once, and a look just after it.
async fn burst(engine: &Engine, plugin: &Plugin) {
    join_all((0..AT_ONCE).map(|_| sleep(plugin, "1000"))).await;
    plugin.give_back();
    assert!(
        engine.idle_resident_bytes() > MUCH,
        "{} bytes kept for the next burst",
        engine.idle_resident_bytes()
    );
}

#[tokio::test(start_paused = true)]
async fn the_memory_of_a_burst_goes_back_when_it_is_over() {
    let (engine, plugin) = sleeper();
    burst(&engine, &plugin).await;

    plugin.give_back();
    assert!(engine.idle_resident_bytes() < MUCH / 4, "{} bytes kept", engine.idle_resident_bytes());
    sleep(&plugin, "1").await;
    assert_eq!(engine.memory_in_use(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_call_that_goes_on_keeps_what_it_runs_in() {
    let (engine, plugin) = sleeper();
    burst(&engine, &plugin).await;

    let ((), ()) = tokio::join!(sleep(&plugin, "5000"), async {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        plugin.give_back();
        assert!(engine.idle_resident_bytes() > MUCH, "{} bytes kept", engine.idle_resident_bytes());
        sleep(&plugin, "1").await;
    });
    assert!(engine.idle_resident_bytes() < MUCH / 4, "{} bytes kept", engine.idle_resident_bytes());
}

#[tokio::test(start_paused = true)]
async fn bursts_that_go_on_coming_find_it_there() {
    let (engine, plugin) = sleeper();
    for _ in 0..3 {
        burst(&engine, &plugin).await;
    }
}
