//! Log of one call, with escaped lines and limits on its size.
//!
//! A line is truncated at its limit and its control characters are escaped, so a guest can
//! neither forge a line nor send escape sequences to a terminal. When the call has used up its
//! quota, one warning is logged and further lines are dropped.

use crate::about::About;
use crate::{Call, Level, LogLine, LogSink};
use json::{affects_display, push_escaped};
use parking_lot::Mutex;
use std::borrow::Cow;
use std::sync::Arc;

/// Maximum number of fields in a line. Further fields are dropped.
const MAX_FIELDS: usize = 32;

/// Bytes counted for a field in addition to its name and value, for the separators that a
/// log adds.
const FIELD_BYTES: usize = 8;

/// Log of one call.
pub(crate) struct CallLog {
    plugin: Arc<About>,
    method: String,
    pub(crate) call: Arc<str>,
    sink: Arc<dyn LogSink>,
    quota: Mutex<Quota>,
}

/// Remaining quota of a call.
struct Quota {
    lines: u32,
    bytes: usize,
    /// `true` after the warning was logged.
    exhausted: bool,
}

impl CallLog {
    pub(crate) fn new(plugin: &Arc<About>, call: &Call<'_>) -> CallLog {
        CallLog {
            method: call.method.to_owned(),
            call: Arc::clone(&call.id),
            sink: Arc::clone(&call.lent.log),
            quota: Mutex::new(Quota {
                lines: plugin.limits.log_lines,
                bytes: plugin.limits.log_bytes,
                exhausted: false,
            }),
            plugin: Arc::clone(plugin),
        }
    }

    /// Returns the maximum length of a line, in bytes.
    pub(crate) fn line_bytes(&self) -> usize {
        self.plugin.limits.log_line_bytes
    }

    pub(crate) fn write(&self, level: Level, message: &str, fields: Vec<(String, String)>) {
        let mut left = self.line_bytes();
        let message = fit(message, &mut left);
        let fields = fit_fields(&fields, &mut left);
        match self.admit(self.line_bytes() - left) {
            Admission::Accepted => self.send(level, &message, &fields),
            Admission::Exhausted => {
                self.send(Level::Warn, "this call has used up its log quota", &[]);
            }
            Admission::Dropped => {}
        }
    }

    /// Logs the backtrace of a trap.
    pub(crate) fn trapped(&self, frames: &str) {
        self.write(Level::Warn, &format!("trapped: {frames}"), Vec::new());
    }

    fn admit(&self, bytes: usize) -> Admission {
        let mut quota = self.quota.lock();
        if quota.exhausted {
            return Admission::Dropped;
        }
        if quota.lines == 0 || quota.bytes < bytes {
            quota.exhausted = true;
            return Admission::Exhausted;
        }
        quota.lines -= 1;
        quota.bytes -= bytes;
        Admission::Accepted
    }

    fn send(&self, level: Level, message: &str, fields: &[(String, String)]) {
        self.sink.write(&LogLine {
            plugin: &self.plugin.name,
            method: &self.method,
            call: &self.call,
            level,
            message,
            fields,
        });
    }
}

enum Admission {
    Accepted,
    Exhausted,
    Dropped,
}

/// Escapes the fields and truncates them to `left`, the remaining bytes of the line.
fn fit_fields(fields: &[(String, String)], left: &mut usize) -> Vec<(String, String)> {
    let fitted = fields.iter().take(MAX_FIELDS).map_while(|(name, value)| {
        *left = left.checked_sub(FIELD_BYTES)?;
        Some((fit(name, left).into_owned(), fit(value, left).into_owned()))
    });
    fitted.collect()
}

/// Escapes `text` and truncates it to `left`, the remaining bytes of the line.
fn fit<'a>(text: &'a str, left: &mut usize) -> Cow<'a, str> {
    if text.len() <= *left && !text.contains(affects_display) {
        *left -= text.len();
        return Cow::Borrowed(text);
    }
    let mut fitted = String::new();
    for character in text.chars() {
        let before = fitted.len();
        push_escaped(&mut fitted, character);
        if fitted.len() > *left {
            fitted.truncate(before);
            fitted.push('…');
            *left = 0;
            return Cow::Owned(fitted);
        }
    }
    *left -= fitted.len();
    Cow::Owned(fitted)
}

/// Escapes `text` so that it fits on one line.
pub(crate) fn safe_line(text: &str) -> Cow<'_, str> {
    fit(text, &mut { usize::MAX })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, limit: usize, expected: &str) {
        assert_eq!(fit(text, &mut { limit }), expected);
    }

    #[test]
    fn control_characters_are_escaped() {
        check("two\nlines", 100, "two\\nlines");
        check("\x1b[31mred\x07", 100, "\\u{1b}[31mred\\u{7}");
        check("a\u{2028}b\u{202e}c", 100, "a\\u{2028}b\\u{202e}c");
        check("Grüße", 100, "Grüße");
    }

    #[test]
    fn empty_fields_count_and_the_number_of_fields_is_limited() {
        let fields = |count| vec![(String::new(), String::new()); count];
        let mut left = 4096;
        assert_eq!(fit_fields(&fields(100_000), &mut left).len(), MAX_FIELDS);
        assert_eq!(left, 4096 - MAX_FIELDS * FIELD_BYTES);

        assert_eq!(fit_fields(&fields(10), &mut 30).len(), 3);
    }

    #[test]
    fn a_line_is_truncated_between_characters() {
        check("Grüße", 3, "Gr…");
        check("a\n", 2, "a…");
    }
}
