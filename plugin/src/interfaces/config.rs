//! `device:behaviour/config`: the operator's settings for this plugin.

use super::bindings::device::behaviour::config::Host;
use crate::call::state::CallState;

impl Host for CallState {
    fn get(&mut self, key: String) -> Option<String> {
        self.plugin.config.get(&key).cloned()
    }

    fn entries(&mut self) -> Vec<(String, String)> {
        self.plugin.config.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
    }
}
