//! Formats of log lines: short lines for a terminal, and JSON.

use std::fmt;

use jiff::Timestamp;
use serde_json::{Map, Value};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::event::{EventFields, write_short};

/// Target of the log lines of plugins.
pub(super) const PLUGIN: &str = "plugin";

/// Lines for a terminal: the time, the level, the message and the fields, without the module.
/// Lines of plugins have the prefix `plugin:`.
pub(super) struct ShortFormat {
    pub(super) has_colours: bool,
}

/// JSON lines: `timestamp`, `level`, `message`, the fields of the event, and `target`.
pub(super) struct JsonFormat;

impl<S, N> FormatEvent<S, N> for ShortFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let EventFields { message, fields } = EventFields::of(event);
        let time = Timestamp::now().strftime("%H:%M:%S%.3fZ").to_string();
        let level = *event.metadata().level();
        let (time, shown_level) = (self.paint("2", &time), self.level(level));
        write!(writer, "{time} {shown_level} ")?;
        if event.metadata().target() == PLUGIN {
            write!(writer, "{} ", self.paint("2", "plugin:"))?;
        }
        write!(writer, "{message}")?;
        for (name, value) in &fields {
            write_short(&mut writer, name, value, |name| self.paint("2", name))?;
        }
        writeln!(writer)
    }
}

impl ShortFormat {
    /// Returns the text with an ANSI code, if the terminal has colours.
    fn paint(&self, code: &str, text: &str) -> String {
        match self.has_colours {
            true => format!("\u{1b}[{code}m{text}\u{1b}[0m"),
            false => text.to_owned(),
        }
    }

    fn level(&self, level: Level) -> String {
        let code = match level {
            Level::ERROR => "31",
            Level::WARN => "33",
            Level::INFO => "32",
            Level::DEBUG => "34",
            _ => "35",
        };
        self.paint(code, &format!("{level:>5}"))
    }
}

impl<S, N> FormatEvent<S, N> for JsonFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        _context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let EventFields { message, fields } = EventFields::of(event);
        let mut line = Map::new();
        line.insert("timestamp".to_owned(), format!("{:.6}", Timestamp::now()).into());
        line.insert("level".to_owned(), event.metadata().level().as_str().into());
        line.insert("message".to_owned(), message.into());
        line.extend(fields.into_iter().map(|(name, value)| (name.to_owned(), value)));
        line.insert("target".to_owned(), event.metadata().target().into());
        writeln!(writer, "{}", Value::Object(line))
    }
}

#[cfg(test)]
pub(super) mod tests {
    use std::io::{self, Write};
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tracing::info;
    use tracing_subscriber::fmt::MakeWriter;

    use super::*;

    /// Writer to memory.
    #[derive(Clone, Default)]
    pub(in crate::log) struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.lock().write(text)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl MakeWriter<'_> for Written {
        type Writer = Written;

        fn make_writer(&self) -> Written {
            self.clone()
        }
    }

    impl Written {
        pub(in crate::log) fn text(&self) -> String {
            String::from_utf8(self.0.lock().clone()).unwrap()
        }
    }

    fn log_a_call() {
        let elapsed_ms: u128 = 12;
        let digest = "0123456789abcdef".repeat(4);
        let fields = r#"{"status":"200","with":"the world"}"#;
        info!(target: "plugin", plugin = "greet", elapsed_ms, %digest, %fields, "said \"hello\"");
    }

    #[test]
    fn a_line_of_json_has_numbers_and_the_fields_of_a_plugin_as_an_object() {
        let written = Written::default();
        let builder = tracing_subscriber::fmt().event_format(JsonFormat);
        tracing::subscriber::with_default(
            builder.with_writer(written.clone()).finish(),
            log_a_call,
        );
        let mut line: Value = serde_json::from_str(&written.text()).unwrap();
        assert!(line["timestamp"].take().as_str().unwrap().ends_with('Z'));
        let expected = serde_json::json!({
            "timestamp": null,
            "level": "INFO",
            "message": "said \"hello\"",
            "plugin": "greet",
            "elapsed_ms": 12,
            "digest": "0123456789abcdef".repeat(4),
            "fields": {"status": "200", "with": "the world"},
            "target": "plugin",
        });
        assert_eq!(line, expected);
    }

    #[test]
    fn a_line_for_a_terminal_is_short_and_has_colours_only_if_they_are_enabled() {
        let lines = [false, true].map(|has_colours| {
            let written = Written::default();
            let builder = tracing_subscriber::fmt().event_format(ShortFormat { has_colours });
            let subscriber = builder.with_writer(written.clone()).finish();
            tracing::subscriber::with_default(subscriber, log_a_call);
            written.text()
        });
        let expected = " INFO plugin: said \"hello\" plugin=greet elapsed_ms=12 \
                        digest=0123456789ab status=200 with=\"the world\"\n";
        assert_eq!(lines[0].split_once('Z').unwrap().1, format!(" {expected}"));
        assert!(lines[1].contains("\u{1b}[32m INFO\u{1b}[0m"), "{:?}", lines[1]);
    }
}
