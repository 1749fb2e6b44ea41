//! Panics of the host, which end only the call in which they happen.

use crate::rig::{Host, load_with};
use behaviour_plugin::{CallError, Clock, Limits, PluginSettings};
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;

/// Clock that panics.
struct Broken;

impl Clock for Broken {
    fn now(&self) -> jiff::Timestamp {
        panic!("the clock is broken")
    }

    fn sleep(&self, _duration: Duration) -> BoxFuture<'_, ()> {
        panic!("the clock is broken")
    }
}

#[tokio::test]
async fn a_panic_in_a_host_function_ends_only_its_call() {
    let limits = Limits { calls_at_once: 1, ..Limits::default() };
    let settings = PluginSettings { limits, ..PluginSettings::default() };
    let host = Host::default();

    for (guest, method) in [("asks.wat", "now"), ("sleeps.wat", "sleep")] {
        let plugin = load_with(guest, settings.clone()).unwrap();
        let mut call = host.a_call(method, "1");
        Arc::get_mut(&mut call.lent).unwrap().clock = Arc::new(Broken);
        let error = plugin.invoke(call).await.unwrap_err();

        assert!(matches!(&error, CallError::HostFault(reason) if reason == "the clock is broken"));
        assert_eq!((error.status(), error.code()), (500, "host-fault"));
        // The only permit is free again.
        assert_eq!(host.call(&plugin, method, "1").await.unwrap().status, 200);
    }
}
