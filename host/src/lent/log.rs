//! The log lines of plugins.

use std::sync::Arc;

use plugin::{Level, LogLine, LogSink};
use serde_json::{Map, Value};

mod recent;

pub use recent::LoggedLine;
pub(crate) use recent::{LinesAfter, RecentLines};

/// A sink that emits the lines of plugins as events with the target `plugin`.
pub(crate) struct Log {
    /// The last lines, for the operator; `None` in a simulation.
    pub(crate) recent: Option<Arc<RecentLines>>,
    /// Name of the device in each line, if several devices share the log.
    pub(crate) device: Option<String>,
}

impl LogSink for Log {
    fn write(&self, line: &LogLine<'_>) {
        let LogLine { plugin, method, call, level, message, fields } = *line;
        let device = self.device.as_deref();
        if let Some(recent) = &self.recent {
            recent.add(line, object(fields));
        }
        macro_rules! emit {
            ($level:ident) => {
                if fields.is_empty() {
                    tracing::$level!(target: "plugin", device, plugin, method, call, "{message}")
                } else {
                    tracing::$level!(
                        target: "plugin", device, plugin, method, call, fields = %object(fields), "{message}"
                    )
                }
            };
        }
        match level {
            Level::Trace => emit!(trace),
            Level::Debug => emit!(debug),
            Level::Info => emit!(info),
            Level::Warn => emit!(warn),
            Level::Error => emit!(error),
        }
    }

    fn retain(&self, is_configured: &dyn Fn(&str) -> bool) {
        if let Some(recent) = &self.recent {
            recent.retain(is_configured);
        }
    }
}

/// Returns the fields of a line as a JSON object, in which the last value of a key counts.
fn object(fields: &[(String, String)]) -> Value {
    let fields = fields.iter().map(|(key, value)| (key.clone(), Value::from(value.as_str())));
    Value::Object(fields.collect::<Map<_, _>>())
}
