//! `device:behaviour/context`: properties of the current call.

use super::bindings::device::behaviour::context::Host;
use crate::call::state::CallState;

impl Host for CallState {
    fn plugin_name(&mut self) -> String {
        self.plugin.name.clone()
    }

    fn device_id(&mut self) -> String {
        self.lent.device_id.to_string()
    }

    fn call_id(&mut self) -> String {
        self.log.call.to_string()
    }

    fn remaining_ms(&mut self) -> u32 {
        self.remaining().as_millis().try_into().unwrap_or(u32::MAX)
    }

    fn attempt(&mut self) -> u32 {
        self.attempt
    }

    fn trace_parent(&mut self) -> Option<String> {
        self.trace_parent.clone()
    }
}
