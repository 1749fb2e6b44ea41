//! Format of log lines for files and pipes: the time, the level, the module, the message and
//! the fields.
//!
//! The lines are those of `tracing_subscriber`'s full format without colours. A busy host logs
//! a line per call, which with that format was a seventh of the processor time of a small call.
//! It passes each message on in single characters (version 0.3.23). This format writes whole
//! values.

use std::fmt::{self, Debug, Write as _};

use jiff::Timestamp;
use tracing::field::{Field, Visit};
use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::LookupSpan;

/// Lines for files and pipes.
pub(super) struct LineFormat;

impl<S, N> FormatEvent<S, N> for LineFormat
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let metadata = event.metadata();
        write!(writer, "{:.6} {:>5} ", Timestamp::now(), metadata.level())?;
        let mut has_spans = false;
        for span in context.event_scope().into_iter().flat_map(|scope| scope.from_root()) {
            has_spans = true;
            writer.write_str(span.name())?;
            if let Some(fields) = span.extensions().get::<FormattedFields<N>>()
                && !fields.is_empty()
            {
                write!(writer, "{{{fields}}}")?;
            }
            writer.write_char(':')?;
        }
        if has_spans {
            writer.write_char(' ')?;
        }
        writer.write_str(metadata.target())?;
        writer.write_str(": ")?;
        let mut fields = FieldWriter { to: Escaped(writer), is_first: true, result: Ok(()) };
        event.record(&mut fields);
        fields.result?;
        fields.to.0.write_char('\n')
    }
}

/// Writer of the message and the fields of an event.
struct FieldWriter<'a> {
    to: Escaped<'a>,
    is_first: bool,
    result: fmt::Result,
}

impl FieldWriter<'_> {
    fn field(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        if self.result.is_ok() {
            self.result = self.try_field(field.name(), value);
        }
    }

    fn try_field(&mut self, name: &str, value: fmt::Arguments<'_>) -> fmt::Result {
        let to = &mut self.to;
        if !std::mem::take(&mut self.is_first) {
            to.0.write_char(' ')?;
        }
        if name != "message" {
            to.0.write_str(name.strip_prefix("r#").unwrap_or(name))?;
            to.0.write_char('=')?;
        }
        match value.as_str() {
            Some(text) => to.write_str(text),
            None => to.write_fmt(value),
        }
    }
}

impl Visit for FieldWriter<'_> {
    fn record_str(&mut self, field: &Field, value: &str) {
        match field.name() {
            "message" => self.field(field, format_args!("{value}")),
            _ => self.field(field, format_args!("{value:?}")),
        }
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.field(field, format_args!("{value:?}"));
    }
}

/// Text without control characters, which could control a terminal. Tabs and line feeds are
/// kept: a panic is logged with the lines of its backtrace.
struct Escaped<'a>(Writer<'a>);

impl fmt::Write for Escaped<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let is_escaped = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
        if !text.contains(is_escaped) {
            return self.0.write_str(text);
        }
        text.chars().try_for_each(|character| match is_escaped(character) {
            true => write!(self.0, "\\u{{{:x}}}", u32::from(character)),
            false => self.0.write_char(character),
        })
    }
}

#[cfg(test)]
mod tests {
    use std::fmt::Display;

    use tracing::{info, info_span, warn};

    use super::*;
    use crate::log::format::tests::Written;

    fn log_all_kinds_of_values(text: &dyn Display) {
        let elapsed_ms: u128 = 12;
        let device: Option<&str> = None;
        let _span = info_span!("connection", number = 2).entered();
        info!(device, plugin = "greet", %text, elapsed_ms, ratio = 0.5, ok = true, "said \"{text}\"");
        warn!(target: "plugin", negative = -1, r#type = ?Some("x"));
    }

    /// Returns the log without the times.
    fn logged(format: impl FnOnce(Written) -> Box<dyn Fn(&dyn Fn())>) -> String {
        let written = Written::default();
        format(written.clone())(&|| log_all_kinds_of_values(&"a text"));
        let without_time = |line: &str| line.split_once('Z').map(|(_, rest)| rest.to_owned());
        written.text().lines().map(|line| without_time(line).unwrap() + "\n").collect()
    }

    #[test]
    fn lines_are_those_of_the_full_format() {
        let builder = || tracing_subscriber::fmt().with_ansi(false);
        let own = logged(|to| {
            let subscriber = builder().event_format(LineFormat).with_writer(to).finish();
            let dispatch = tracing::Dispatch::new(subscriber);
            Box::new(move |log| tracing::dispatcher::with_default(&dispatch, log))
        });
        let full = logged(|to| {
            let dispatch = tracing::Dispatch::new(builder().with_writer(to).finish());
            Box::new(move |log| tracing::dispatcher::with_default(&dispatch, log))
        });
        assert_eq!(own, full);
        assert!(own.starts_with("  INFO connection{number=2}: "), "{own}");
    }

    #[test]
    fn control_characters_of_a_value_do_not_reach_the_log() {
        let written = Written::default();
        let builder = tracing_subscriber::fmt().with_ansi(false).event_format(LineFormat);
        let subscriber = builder.with_writer(written.clone()).finish();
        tracing::subscriber::with_default(subscriber, || {
            info!(text = %"\x1b[31mred", "\x07\u{9b}2J");
        });
        let text = written.text();
        assert!(text.ends_with("\\u{7}\\u{9b}2J text=\\u{1b}[31mred\n"), "{text}");
    }
}
