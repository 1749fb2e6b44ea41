//! Lines of `host.toml`, written as a test likes to read them.

use serde_json::Value;

/// One key, dotted where it stands in a table, and its value.
#[derive(Clone, Debug)]
pub struct Setting {
    key: String,
    value: Value,
}

/// Any number of settings, none and one included.
#[derive(Clone, Debug, Default)]
pub struct Settings(Vec<Setting>);

/// A setting by its key: `set("limits.calls", 2)`.
pub fn set(key: &str, value: impl Into<Value>) -> Setting {
    Setting { key: key.to_owned(), value: value.into() }
}

/// How long a call may take: `deadline("50ms")`.
#[must_use]
pub fn deadline(duration: &str) -> Setting {
    set("deadline", duration)
}

/// A setting that the plugin itself reads: `config("delay_seconds", 0)`.
pub fn config(key: &str, value: impl Into<Value>) -> Setting {
    set(&format!("config.{key}"), value)
}

impl Settings {
    /// These and more.
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

/// `key = value`, as a line of TOML.
pub(crate) fn line(key: &str, value: &Value) -> String {
    format!("{key} = {}\n", toml(value))
}

/// JSON is TOML but for its tables and its null, which TOML lacks.
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
