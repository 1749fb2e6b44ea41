//! Conversion of recorded outputs to expectations that hold in every replay.

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;
use json::placeholder::{self, is_reserved};
use serde_json::Value;

use super::handles::Effects;
use super::inputs::CallInputs;
use super::secrets::{REDACTED, Secrets};

/// Tolerance for numbers that are times, because a plugin may round them.
const TIME_TOLERANCE: Duration = Duration::from_secs(2);

/// Data that decides which outputs differ in each run.
pub(super) struct OutputRules<'a> {
    call: &'a CallInputs,
    effects: &'a Effects,
    secrets: &'a Secrets,
    /// Strings of the inputs. An output that equals one of them was copied by the plugin.
    input_strings: HashSet<String>,
    begun: Timestamp,
    end: Timestamp,
}

impl OutputRules<'_> {
    pub(super) fn new<'a>(
        call: &'a CallInputs,
        effects: &'a Effects,
        inputs: &Value,
        secrets: &'a Secrets,
        end: Timestamp,
    ) -> OutputRules<'a> {
        let mut input_strings = HashSet::new();
        collect_strings(inputs, &mut input_strings);
        let tolerance = jiff::SignedDuration::try_from(TIME_TOLERANCE).unwrap_or_default();
        OutputRules {
            call,
            effects,
            secrets,
            input_strings,
            begun: call.time.saturating_sub(tolerance).unwrap_or(Timestamp::MIN),
            end: end.saturating_add(tolerance).unwrap_or(Timestamp::MAX),
        }
    }

    /// Replaces values that differ in each run by placeholders, and makes strings that look
    /// like placeholders literal.
    pub(super) fn generalise(&self, value: &mut Value) {
        match value {
            Value::Object(members) => {
                let names: Vec<_> =
                    members.keys().filter(|key| needs_escape(key)).cloned().collect();
                for name in names {
                    if let Some(member) = members.remove(&name) {
                        members.insert(format!("${name}"), member);
                    }
                }
                members.values_mut().for_each(|member| self.generalise(member));
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.generalise(item)),
            Value::Number(number) if number.as_f64().is_some_and(|it| self.is_time_of_call(it)) => {
                *value = placeholder::NUMBER.into();
            }
            Value::String(text) => {
                if let Some(placeholder) = self.placeholder(text) {
                    *text = placeholder.to_owned();
                } else if is_reserved(text) {
                    text.insert(0, '$');
                }
            }
            _ => {}
        }
    }

    fn placeholder(&self, text: &str) -> Option<&'static str> {
        if self.secrets.occur_in(text) {
            return Some(placeholder::STRING);
        }
        if self.input_strings.contains(text) && text != REDACTED {
            return None;
        }
        let CallInputs { call, device, .. } = self.call;
        let ids = || self.effects.job_ids.iter().chain([call]);
        if ids().any(|id| id == text) {
            return Some(placeholder::ID);
        }
        if text.parse::<Timestamp>().is_ok() {
            return Some(placeholder::TIME);
        }
        let changes = ids().chain([device]).any(|id| text.contains(id.as_str()))
            || has_timestamp(text)
            || text.parse::<f64>().is_ok_and(|number| self.is_time_of_call(number));
        changes.then_some(placeholder::STRING)
    }

    /// Returns `true` if a number is the time of the call, in seconds, milliseconds,
    /// microseconds or nanoseconds.
    #[expect(clippy::cast_precision_loss, reason = "seconds are compared with a tolerance")]
    fn is_time_of_call(&self, number: f64) -> bool {
        let span = self.begun.as_second() as f64..=self.end.as_second() as f64;
        [1.0, 1e3, 1e6, 1e9].into_iter().any(|unit| span.contains(&(number / unit)))
    }
}

/// Returns `true` if a key of an expected object must be escaped. Only `...` is a placeholder
/// there.
fn needs_escape(key: &str) -> bool {
    key.trim_start_matches('$') == placeholder::REST
}

/// Adds all strings of a value, including those in JSON text.
fn collect_strings(value: &Value, into: &mut HashSet<String>) {
    match value {
        Value::Object(members) => members.values().for_each(|it| collect_strings(it, into)),
        Value::Array(items) => items.iter().for_each(|it| collect_strings(it, into)),
        Value::String(text) => {
            if let Ok(inner @ (Value::Object(_) | Value::Array(_) | Value::String(_))) =
                serde_json::from_str(text)
            {
                collect_strings(&inner, into);
            }
            into.insert(text.clone());
        }
        _ => {}
    }
}

/// Returns `true` if a text contains a date and a time in the format of RFC 3339.
fn has_timestamp(text: &str) -> bool {
    const FORMAT: &[u8] = b"dddd-dd-ddtdd:dd:dd";
    text.as_bytes().windows(FORMAT.len()).any(|window| {
        window.iter().zip(FORMAT).all(|(byte, format)| match format {
            b'd' => byte.is_ascii_digit(),
            b't' => matches!(byte, b'T' | b't' | b' '),
            _ => byte == format,
        })
    })
}
