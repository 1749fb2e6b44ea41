//! The message and the fields of an event.

use std::fmt::{self, Debug};

use serde_json::{Map, Number, Value};
use tracing::Event;
use tracing::field::{Field, Visit};

/// Field whose text is a JSON object: the keys and values that a plugin has logged.
const OBJECT: &str = "fields";

/// The message and the fields of an event, in the order of the event.
#[derive(Debug, Default, Clone, PartialEq)]
pub struct EventFields {
    /// The message.
    pub message: String,
    /// The fields. Numbers and Booleans are as such, and the keys and values that a plugin has
    /// logged are an object.
    pub fields: Vec<(&'static str, Value)>,
}

impl EventFields {
    /// Returns the message and the fields of an event.
    #[must_use]
    pub fn of(event: &Event<'_>) -> EventFields {
        let mut fields = EventFields::default();
        event.record(&mut fields);
        fields
    }

    fn text(&mut self, name: &'static str, text: String) {
        let object = || serde_json::from_str::<Map<String, Value>>(&text).ok();
        match name {
            "message" => self.message = text,
            OBJECT if let Some(object) = object() => self.fields.push((name, object.into())),
            _ => self.fields.push((name, text.into())),
        }
    }

    fn value(&mut self, field: &Field, value: impl Into<Value>) {
        self.fields.push((field.name(), value.into()));
    }
}

impl Visit for EventFields {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.value(field, Number::from_f64(value).map_or(Value::Null, Value::Number));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.value(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.value(field, value);
    }

    fn record_i128(&mut self, field: &Field, value: i128) {
        self.value(field, i64::try_from(value).unwrap_or(i64::MAX));
    }

    fn record_u128(&mut self, field: &Field, value: u128) {
        self.value(field, u64::try_from(value).unwrap_or(u64::MAX));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.value(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.text(field.name(), value.to_owned());
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.text(field.name(), format!("{value:?}"));
    }
}

/// Writes a field for a person: digests are shortened, durations are rounded, and the keys of
/// an object are fields themselves.
pub(super) fn write_short(
    to: &mut impl fmt::Write,
    name: &str,
    value: &Value,
    paint: impl Fn(&str) -> String + Copy,
) -> fmt::Result {
    match value {
        Value::Object(object) => {
            object.iter().try_for_each(|(name, value)| write_short(to, name, value, paint))
        }
        Value::String(text) => {
            let text = short(text);
            let is_plain =
                !text.is_empty() && !text.contains(|c: char| c.is_whitespace() || c == '"');
            match is_plain {
                true => write!(to, " {}{text}", paint(&format!("{name}="))),
                false => write!(to, " {}{text:?}", paint(&format!("{name}="))),
            }
        }
        value => write!(to, " {}{value}", paint(&format!("{name}="))),
    }
}

/// Returns the first 12 digits of a SHA-256 digest, a duration with one decimal place, or the
/// text itself.
fn short(text: &str) -> String {
    let is_digest = text.len() == 64 && text.bytes().all(|byte| byte.is_ascii_hexdigit());
    if is_digest {
        return text[..12].to_owned();
    }
    let number = text.trim_end_matches(|c: char| c.is_alphabetic());
    let unit = &text[number.len()..];
    match number.parse::<f64>() {
        Ok(number) if matches!(unit, "s" | "ms" | "µs" | "ns") && text.contains('.') => {
            format!("{number:.1}{unit}")
        }
        _ => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_and_durations_are_shortened_and_other_texts_are_not() {
        assert_eq!(short(&"0123456789abcdef".repeat(4)), "0123456789ab");
        assert_eq!(short("1.709158221s"), "1.7s");
        assert_eq!(short("10s"), "10s");
        assert_eq!(short("no sensor"), "no sensor");
        assert_eq!(short("1.2.3"), "1.2.3");
    }
}
