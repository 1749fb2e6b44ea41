//! Release of the memory that a burst of calls leaves in the pool.

use crate::rig::{Host, engine_with};
use behaviour_plugin::{CallError, Engine, Plugin, PluginSettings};
use futures_util::future::join_all;

const AT_ONCE: usize = 200;

/// Memory that a burst leaves in the pool: one page for each instance. Only half of the
/// instances are counted, because some are not yet back in the pool.
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

/// Makes concurrent calls, and checks that their memory stays in the pool for the next burst.
async fn burst(engine: &Engine, plugin: &Plugin) {
    join_all((0..AT_ONCE).map(|_| sleep(plugin, "1000"))).await;
    plugin.release_unused();
    assert!(
        engine.idle_resident_bytes() > MUCH,
        "{} bytes kept for the next burst",
        engine.idle_resident_bytes()
    );
}

#[tokio::test(start_paused = true)]
async fn the_memory_of_a_burst_is_released_after_the_burst() {
    let (engine, plugin) = sleeper();
    burst(&engine, &plugin).await;

    plugin.release_unused();
    assert!(engine.idle_resident_bytes() < MUCH / 4, "{} bytes kept", engine.idle_resident_bytes());
    sleep(&plugin, "1").await;
    assert_eq!(engine.memory_in_use(), 0);
}

#[tokio::test(start_paused = true)]
async fn the_pool_of_a_burst_is_released_after_its_last_call() {
    let (engine, plugin) = sleeper();
    burst(&engine, &plugin).await;

    let ((), ()) = tokio::join!(sleep(&plugin, "5000"), async {
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
        plugin.release_unused();
        assert!(engine.idle_resident_bytes() > MUCH, "{} bytes kept", engine.idle_resident_bytes());
        sleep(&plugin, "1").await;
    });
    assert!(engine.idle_resident_bytes() < MUCH / 4, "{} bytes kept", engine.idle_resident_bytes());
}

/// The pool for steady load keeps at most 216 KiB of each of its 128 instances, and the pool for
/// bursts keeps nothing.
#[tokio::test(start_paused = true)]
async fn a_burst_keeps_no_more_memory_than_the_instances_for_steady_load() {
    let engine = engine_with(500);
    let mut settings = settings();
    settings.limits.calls_at_once = 500;
    let plugin = engine.load("sleeps", &fixtures::guest("sleeps.wat"), settings).unwrap();
    join_all((0..500).map(|_| sleep(&plugin, "1000"))).await;
    let kept = engine.idle_resident_bytes();
    assert!(kept > MUCH && kept <= 128 * 216 * 1024, "{kept} bytes kept");
    assert_eq!(engine.memory_in_use(), 0);
}

#[tokio::test(start_paused = true)]
async fn calls_of_several_plugins_share_the_instances_for_bursts() {
    let (engine, first) = sleeper();
    let second = engine.load("second", &fixtures::guest("sleeps.wat"), settings()).unwrap();
    let calls = |plugin| (0..150).map(move |_| sleep(plugin, "1000"));
    join_all(calls(&first).chain(calls(&second))).await;
    // All 300 instances are in use, so the pool refuses another call.
    let host = Host::default();
    let refused = async {
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
        host.call(&first, "sleep", "1").await.unwrap_err()
    };
    let (_, error) = tokio::join!(join_all(calls(&first).chain(calls(&second))), refused);
    assert!(matches!(error, CallError::NoInstance(_)), "{error}");
}

#[tokio::test(start_paused = true)]
async fn repeated_bursts_keep_their_memory() {
    let (engine, plugin) = sleeper();
    for _ in 0..3 {
        burst(&engine, &plugin).await;
    }
}
