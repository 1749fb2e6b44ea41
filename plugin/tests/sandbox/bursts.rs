//! The memory that many calls at once leave behind: none.

use crate::rig::{Host, engine_with};
use behaviour_plugin::PluginSettings;
use futures_util::future::join_all;

const AT_ONCE: usize = 200;

#[tokio::test(start_paused = true)]
async fn the_memory_of_a_burst_goes_back_when_its_calls_end() {
    let engine = engine_with(300);
    let mut settings = PluginSettings::default();
    settings.limits.calls_at_once = AT_ONCE;
    let plugin = engine.load("sleeps", &fixtures::guest("sleeps.wat"), settings).unwrap();

    let host = Host::default();
    let calls = join_all((0..AT_ONCE).map(|_| host.call(&plugin, "sleep", "1000"))).await;
    assert!(calls.iter().all(Result::is_ok));
    assert_eq!((engine.kept_bytes(), engine.memory_in_use()), (0, 0));
}
