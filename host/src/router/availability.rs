//! The state of the plugin that serves a method, for a caller that asks before it calls.

use protocol::id::MethodName;
use tokio::time::Instant;

use super::Router;
use crate::plugins::slot::Disabled;

/// The state of the plugin that serves a method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Availability {
    /// A plugin that can begin this number of calls now.
    Free { plugin: String, calls: usize },
    /// A plugin at its limit of calls or disabled, or a host that drains.
    Busy,
    /// No plugin for this method.
    Unknown,
}

impl Router {
    /// Returns the state of the plugin that serves the method, without calling it.
    pub(crate) fn availability(&self, method: &MethodName) -> Availability {
        if self.is_draining() {
            return Availability::Busy;
        }
        let table = self.table();
        let Some(slot) = table.serving(method) else { return Availability::Unknown };
        let plugin = slot.name().to_owned();
        match slot.begin(Instant::now()) {
            Ok(begun) => match begun.version.loaded.plugin.free_calls() {
                0 => Availability::Busy,
                calls => Availability::Free { plugin, calls },
            },
            // Its call waits until it is loaded.
            Err(Disabled::Starting | Disabled::Loading) => Availability::Free { plugin, calls: 1 },
            Err(_) => Availability::Busy,
        }
    }
}
