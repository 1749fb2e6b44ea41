//! Release of the memory that a burst of calls leaves in the pool.

use crate::rig::{Host, engine_with};
use behaviour_plugin::{Engine, Plugin, PluginSettings};
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

#[tokio::test(start_paused = true)]
async fn repeated_bursts_keep_their_memory() {
    let (engine, plugin) = sleeper();
    for _ in 0..3 {
        burst(&engine, &plugin).await;
    }
}
