//! Removal of secrets from a recorded case or a support bundle.
//!
//! A value is a secret if its name contains a word such as `password`, or if its text has the
//! format of a key or token. The text is removed wherever it occurs in the case.

use serde_json::Value;

/// Replacement of a secret in the inputs of a case.
pub(super) const REDACTED: &str = "redacted";

/// Minimum length of a secret that is searched for in the rest of the case, in bytes. Shorter
/// texts would match by chance.
const MIN_SEARCHED_BYTES: usize = 6;

/// Parts of the names of secrets, in lower case and without separators.
const NAMES: [&str; 17] = [
    "password",
    "passwd",
    "passphrase",
    "passcode",
    "secret",
    "token",
    "credential",
    "authorization",
    "cookie",
    "apikey",
    "accesskey",
    "privatekey",
    "sharedkey",
    "signingkey",
    "encryptionkey",
    "accountkey",
    "connectionstring",
];

/// Parts of texts that occur only in secrets.
const TEXTS: [&str; 5] =
    ["SharedAccessKey=", "&sig=", "AccountKey=", "PRIVATE KEY-----", "Bearer "];

/// Secrets of a case, found in its inputs.
#[derive(Default)]
pub(crate) struct Secrets {
    texts: Vec<String>,
    /// JSON pointers to the values that were left out.
    pub(super) left_out: Vec<String>,
}

/// Rule for the names of secrets.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum NameRule {
    /// Settings, where a name that ends with `key` or `keys` also denotes a secret.
    Settings,
    /// Other data, where a key is usually an identifier.
    Data,
}

impl Secrets {
    /// Replaces the secrets below `at`, which is the JSON pointer to the value.
    pub(crate) fn redact(&mut self, at: &str, value: &mut Value, rule: NameRule) {
        match value {
            Value::Object(members) => {
                for (name, member) in members.iter_mut() {
                    let at = format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
                    let is_empty = matches!(member, Value::Null | Value::Bool(_))
                        || member.as_str() == Some("");
                    if is_secret_name(name, rule) && !is_empty {
                        self.leave_out(at, member);
                    } else {
                        self.redact(&at, member, rule);
                    }
                }
            }
            Value::Array(items) => {
                for (index, item) in items.iter_mut().enumerate() {
                    self.redact(&format!("{at}/{index}"), item, rule);
                }
            }
            Value::String(text) => {
                if let Some(mut inner) = json_inside(text) {
                    let before = self.left_out.len();
                    self.redact(at, &mut inner, rule);
                    if self.left_out.len() > before {
                        *text = inner.to_string();
                    }
                } else if has_secret(text) {
                    self.leave_out(at.to_owned(), value);
                }
            }
            _ => {}
        }
    }

    /// Replaces the secrets in the query of a URL, which remains a URL. `at` is the JSON pointer
    /// to it.
    pub(super) fn redact_query(&mut self, at: &str, url: &mut String) {
        let Some((path, query)) = url.split_once('?') else { return };
        let mut is_changed = false;
        let pairs = query.split('&').map(|pair| match pair.split_once('=') {
            Some((name, value)) if is_secret_parameter(name) && !value.is_empty() => {
                is_changed = true;
                self.search_for(value);
                format!("{name}={REDACTED}")
            }
            _ => pair.to_owned(),
        });
        let query = pairs.collect::<Vec<_>>().join("&");
        if is_changed {
            *url = format!("{path}?{query}");
            self.left_out.push(at.to_owned());
        }
    }

    /// Removes a text wherever it occurs, unless it is too short. The texts in an object or array
    /// are removed as well.
    pub(crate) fn search_for(&mut self, text: &str) {
        collect_texts(&text.into(), &mut self.texts);
        if let Some(inner) = json_inside(text) {
            collect_texts(&inner, &mut self.texts);
        }
    }

    /// Replaces a value, and stores its texts for [`remove_from`](Self::remove_from).
    pub(crate) fn leave_out(&mut self, at: String, value: &mut Value) {
        collect_texts(value, &mut self.texts);
        *value = REDACTED.into();
        self.left_out.push(at);
    }

    /// Removes the texts of the secrets from other inputs.
    pub(crate) fn remove_from(&self, value: &mut Value) {
        match value {
            Value::Object(members) => members.values_mut().for_each(|it| self.remove_from(it)),
            Value::Array(items) => items.iter_mut().for_each(|it| self.remove_from(it)),
            Value::String(text) if self.occur_in(text) => {
                for secret in &self.texts {
                    *text = text.replace(secret.as_str(), REDACTED);
                }
            }
            _ => {}
        }
    }

    /// Returns `true` if a text contains a secret.
    pub(super) fn occur_in(&self, text: &str) -> bool {
        self.texts.iter().any(|secret| text.contains(secret.as_str()))
    }
}

/// Returns the object or array in a string. Settings and states often contain JSON as text.
fn json_inside(text: &str) -> Option<Value> {
    let is_nested = text.starts_with('{') || text.starts_with('[');
    is_nested.then(|| serde_json::from_str(text).ok()).flatten()
}

/// Adds the texts of a secret that are long enough to search for.
fn collect_texts(value: &Value, texts: &mut Vec<String>) {
    match value {
        Value::Object(members) => members.values().for_each(|it| collect_texts(it, texts)),
        Value::Array(items) => items.iter().for_each(|it| collect_texts(it, texts)),
        Value::String(text) if text.len() >= MIN_SEARCHED_BYTES => texts.push(text.clone()),
        Value::Number(number) if number.to_string().len() >= MIN_SEARCHED_BYTES => {
            texts.push(number.to_string());
        }
        _ => {}
    }
}

/// Returns `true` if a name denotes a secret.
pub(super) fn is_secret_name(name: &str, rule: NameRule) -> bool {
    let plain: String =
        name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let is_word =
        |word: &str| plain == word || name.to_ascii_lowercase().ends_with(&format!("_{word}"));
    NAMES.iter().any(|part| plain.contains(part))
        || ["pwd", "sas", "auth"].into_iter().any(is_word)
        || rule == NameRule::Settings && (plain.ends_with("key") || plain.ends_with("keys"))
}

/// Returns `true` if the name of a parameter in a URL announces a secret.
fn is_secret_parameter(name: &str) -> bool {
    let is_signature = ["sig", "signature", "code"].contains(&&*name.to_ascii_lowercase());
    is_signature || is_secret_name(name, NameRule::Settings)
}

fn has_secret(text: &str) -> bool {
    let has_password = text.split_once("://").is_some_and(|(_, rest)| {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        authority.split_once('@').is_some_and(|(user, _)| user.contains(':'))
    });
    has_password || TEXTS.iter().any(|part| text.contains(part))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn names_of_secrets_are_recognized_in_every_notation() {
        for name in ["password", "apiToken", "API_KEY", "client-secret", "db_pwd", "sas"] {
            assert!(is_secret_name(name, NameRule::Data), "{name}");
        }
        for name in ["key", "keyboard", "monkey", "author", "delay", "passage", "tokyo"] {
            assert!(!is_secret_name(name, NameRule::Data), "{name}");
        }
        assert!(is_secret_name("deviceKey", NameRule::Settings));
    }

    #[test]
    fn a_secret_is_removed_from_all_inputs() {
        let mut secrets = Secrets::default();
        let mut config = json!({"apiToken": "abc-123-def", "url": "https://u:p@h/", "n": 1});
        secrets.redact("/config", &mut config, NameRule::Settings);
        assert_eq!(config, json!({"apiToken": "redacted", "url": "redacted", "n": 1}));
        assert_eq!(secrets.left_out, ["/config/apiToken", "/config/url"]);

        let mut state = json!({"last": "GET abc-123-def", "{}": "{\"password\":\"hunter22\"}"});
        secrets.redact("/state", &mut state, NameRule::Data);
        secrets.remove_from(&mut state);
        assert_eq!(state, json!({"last": "GET redacted", "{}": "{\"password\":\"redacted\"}"}));
        assert!(secrets.occur_in("of hunter22"));
    }

    #[test]
    fn an_empty_value_is_not_a_secret() {
        let mut secrets = Secrets::default();
        let mut value = json!({"password": null, "token": "", "hasSecret": true});
        secrets.redact("/payload", &mut value, NameRule::Data);
        assert!(secrets.left_out.is_empty());
    }
}
