//! A short notation for settings of `host.toml` in tests.

use serde_json::Value;

/// A key and its value. The key of an entry in a table is dotted.
#[derive(Clone, Debug)]
pub struct Setting {
    key: String,
    value: Value,
}

/// A list of settings. A single [`Setting`] and `()` convert into it.
#[derive(Clone, Debug, Default)]
pub struct Settings(Vec<Setting>);

/// Creates a setting with this key, as in `set("limits.calls", 2)`.
pub fn set(key: &str, value: impl Into<Value>) -> Setting {
    Setting { key: key.to_owned(), value: value.into() }
}

/// Creates the setting for the deadline of a call, as in `deadline("50ms")`.
#[must_use]
pub fn deadline(duration: &str) -> Setting {
    set("deadline", duration)
}

/// Creates a setting that the plugin itself reads, as in `config("delay_seconds", 0)`.
pub fn config(key: &str, value: impl Into<Value>) -> Setting {
    set(&format!("config.{key}"), value)
}

impl Settings {
    /// Adds more settings.
    #[must_use]
    pub fn and<const N: usize>(mut self, more: [Setting; N]) -> Settings {
        self.0.extend(more);
        self
    }

    pub(crate) fn has(&self, key: &str) -> bool {
        self.0.iter().any(|setting| setting.key == key)
    }

    pub(crate) fn to_toml(&self) -> String {
        self.0.iter().map(|setting| line(&setting.key, &setting.value)).collect()
    }
}

impl From<()> for Settings {
    fn from((): ()) -> Settings {
        Settings::default()
    }
}

impl From<Setting> for Settings {
    fn from(setting: Setting) -> Settings {
        Settings(vec![setting])
    }
}

impl<const N: usize> From<[Setting; N]> for Settings {
    fn from(settings: [Setting; N]) -> Settings {
        Settings(settings.into())
    }
}

/// Formats `key = value` as a line of TOML.
pub(crate) fn line(key: &str, value: &Value) -> String {
    format!("{key} = {}\n", toml(value))
}

/// Formats a value as TOML. Scalars and strings have the same syntax as in JSON, but tables
/// differ.
///
/// # Panics
///
/// Panics if the value contains null, which TOML does not have.
fn toml(value: &Value) -> String {
    match value {
        Value::Null => panic!("TOML has no null"),
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(toml).collect();
            format!("[{}]", items.join(", "))
        }
        Value::Object(entries) => {
            let entry = |(key, value)| format!("{} = {}", Value::String(key), toml(&value));
            let entries: Vec<_> = entries.clone().into_iter().map(entry).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        plain => plain.to_string(),
    }
}
