//! Expectations that hold in every replay of a recorded call.

use std::collections::HashSet;
use std::time::Duration;

use jiff::Timestamp;
use json::placeholder::{self, is_reserved};
use serde_json::Value;

use super::before::Before;
use super::handles::Effects;
use super::secrets::{REDACTED, Secrets};

/// The tolerance for numbers that are times: a plugin can round.
const NEAR: Duration = Duration::from_secs(2);

/// The rules by which outputs become expectations that hold in every replay.
pub(super) struct Outputs<'a> {
    before: &'a Before,
    effects: &'a Effects,
    secrets: &'a Secrets,
    /// The strings of the inputs. The plugin copied equal outputs from them.
    inputs: HashSet<String>,
    begun: Timestamp,
    end: Timestamp,
}

impl Outputs<'_> {
    pub(super) fn new<'a>(
        before: &'a Before,
        effects: &'a Effects,
        inputs: &Value,
        secrets: &'a Secrets,
        end: Timestamp,
    ) -> Outputs<'a> {
        let mut strings = HashSet::new();
        collect(inputs, &mut strings);
        let near = jiff::SignedDuration::try_from(NEAR).unwrap_or_default();
        Outputs {
            before,
            effects,
            secrets,
            inputs: strings,
            begun: before.time.saturating_sub(near).unwrap_or(Timestamp::MIN),
            end: end.saturating_add(near).unwrap_or(Timestamp::MAX),
        }
    }

    /// Replaces values that differ in each run by placeholders, and makes strings that look
    /// like placeholders literal.
    pub(super) fn generalize(&self, value: &mut Value) {
        match value {
            Value::Object(members) => {
                let names: Vec<_> =
                    members.keys().filter(|key| needs_escape(key)).cloned().collect();
                for name in names {
                    if let Some(member) = members.remove(&name) {
                        members.insert(format!("${name}"), member);
                    }
                }
                members.values_mut().for_each(|member| self.generalize(member));
            }
            Value::Array(items) => items.iter_mut().for_each(|item| self.generalize(item)),
            Value::Number(number) if number.as_f64().is_some_and(|it| self.is_now(it)) => {
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
        if self.inputs.contains(text) && text != REDACTED {
            return None;
        }
        let Before { call, device, .. } = self.before;
        let ids = || self.effects.job_ids.iter().chain([call]);
        if ids().any(|id| id == text) {
            return Some(placeholder::ID);
        }
        if text.parse::<Timestamp>().is_ok() {
            return Some(placeholder::TIME);
        }
        let changes = ids().chain([device]).any(|id| text.contains(id.as_str()))
            || has_timestamp(text)
            || text.parse::<f64>().is_ok_and(|number| self.is_now(number));
        changes.then_some(placeholder::STRING)
    }

    /// Returns `true` if a number is the time of the call, in seconds, milliseconds,
    /// microseconds or nanoseconds.
    #[expect(clippy::cast_precision_loss, reason = "seconds are compared with a tolerance")]
    fn is_now(&self, number: f64) -> bool {
        let span = self.begun.as_second() as f64..=self.end.as_second() as f64;
        [1.0, 1e3, 1e6, 1e9].into_iter().any(|unit| span.contains(&(number / unit)))
    }
}

/// Returns `true` if a key of an expected object must be escaped. Only `...` is a placeholder
/// there.
fn needs_escape(key: &str) -> bool {
    key.trim_start_matches('$') == placeholder::REST
}

/// Adds all strings of a value, also those inside of JSON text.
fn collect(value: &Value, into: &mut HashSet<String>) {
    match value {
        Value::Object(members) => members.values().for_each(|it| collect(it, into)),
        Value::Array(items) => items.iter().for_each(|it| collect(it, into)),
        Value::String(text) => {
            if let Ok(inner @ (Value::Object(_) | Value::Array(_) | Value::String(_))) =
                serde_json::from_str(text)
            {
                collect(&inner, into);
            }
            into.insert(text.clone());
        }
        _ => {}
    }
}

/// Returns `true` if a text contains a date and a time as in RFC 3339.
fn has_timestamp(text: &str) -> bool {
    const FORM: &[u8] = b"dddd-dd-ddtdd:dd:dd";
    text.as_bytes().windows(FORM.len()).any(|window| {
        window.iter().zip(FORM).all(|(byte, form)| match form {
            b'd' => byte.is_ascii_digit(),
            b't' => matches!(byte, b'T' | b't' | b' '),
            _ => byte == form,
        })
    })
}
