//! Log lines of plugins.

use plugin::{Level, LogLine, LogSink};

/// Lines of plugins as events of the target `plugin`.
pub(crate) struct Log;

impl LogSink for Log {
    fn write(&self, line: &LogLine<'_>) {
        let LogLine { plugin, method, call, level, message, fields } = *line;
        macro_rules! say {
            ($level:ident) => {
                if fields.is_empty() {
                    tracing::$level!(target: "plugin", plugin, method, call, "{message}")
                } else {
                    tracing::$level!(target: "plugin", plugin, method, call, ?fields, "{message}")
                }
            };
        }
        match level {
            Level::Trace => say!(trace),
            Level::Debug => say!(debug),
            Level::Info => say!(info),
            Level::Warn => say!(warn),
            Level::Error => say!(error),
        }
    }
}
