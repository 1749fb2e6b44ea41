//! `device:behaviour/log`: lines in the host's log.

use super::bindings::device::behaviour::log::{Host, Level as WitLevel};
use crate::Level;
use crate::call::state::CallState;

impl Host for CallState {
    fn write(&mut self, level: WitLevel, message: String, fields: Vec<(String, String)>) {
        self.log.write(level.into(), &message, fields);
    }
}

impl From<WitLevel> for Level {
    fn from(level: WitLevel) -> Level {
        match level {
            WitLevel::Trace => Level::Trace,
            WitLevel::Debug => Level::Debug,
            WitLevel::Info => Level::Info,
            WitLevel::Warn => Level::Warn,
            WitLevel::Error => Level::Error,
        }
    }
}
