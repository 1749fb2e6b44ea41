//! Removal of secrets from a recorded case or a support bundle.
//!
//! A value is a secret if its name contains a word such as `password`, or if its text has the
//! format of a key or token. The text is removed wherever it occurs in the case.

use std::borrow::Cow;

use aho_corasick::{AhoCorasick, AhoCorasickBuilder, MatchKind};
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

/// Names in `host.toml` and in the status of the host that only look like those of secrets: names
/// of fields and of files of public keys, and times.
const HARMLESS_OF_HOST: [&str; 6] = [
    "desired_key",
    "idempotency_key",
    "keys",
    "token_expires",
    "token_lifetime",
    "traceparent_key",
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
    /// The configuration and the status of the host itself, whose names are known.
    Host,
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

    /// Replaces the values of pairs such as `password=abc` in all texts.
    pub(crate) fn redact_pairs(&mut self, value: &mut Value) {
        match value {
            Value::Object(members) => members.values_mut().for_each(|it| self.redact_pairs(it)),
            Value::Array(items) => items.iter_mut().for_each(|it| self.redact_pairs(it)),
            Value::String(text) if text.contains('=') => {
                let words = text.split_inclusive(|c: char| c.is_whitespace() || ";&,".contains(c));
                let words: Vec<_> = words.map(|word| self.without_value(word)).collect();
                *text = words.concat();
            }
            _ => {}
        }
    }

    /// Returns a word without its value, if it is a pair with the name of a secret.
    fn without_value<'w>(&mut self, word: &'w str) -> Cow<'w, str> {
        let end = |c: char| c.is_whitespace() || ";&,\"'".contains(c);
        let Some((name, rest)) = word.split_once('=') else { return word.into() };
        let value = rest.trim_end_matches(end);
        if value.is_empty() || !is_secret_name(name, NameRule::Data) {
            return word.into();
        }
        self.search_for(value);
        format!("{name}={REDACTED}{}", &rest[value.len()..]).into()
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

    /// Removes the texts of the secrets from other inputs: of two that begin at the same place,
    /// the longer one.
    pub(crate) fn remove_from(&self, value: &mut Value) {
        let mut builder = AhoCorasickBuilder::new();
        match builder.match_kind(MatchKind::LeftmostLongest).build(&self.texts) {
            Ok(secrets) => remove_all(&secrets, value),
            // Only more texts than fit into memory are an error.
            Err(_) => *value = REDACTED.into(),
        }
    }

    /// Returns `true` if a text contains a secret.
    pub(super) fn occur_in(&self, text: &str) -> bool {
        self.texts.iter().any(|secret| text.contains(secret.as_str()))
    }
}

fn remove_all(secrets: &AhoCorasick, value: &mut Value) {
    match value {
        Value::Object(members) => members.values_mut().for_each(|it| remove_all(secrets, it)),
        Value::Array(items) => items.iter_mut().for_each(|it| remove_all(secrets, it)),
        Value::String(text) if secrets.is_match(text.as_str()) => {
            let mut kept = String::with_capacity(text.len());
            secrets.replace_all_with(text, &mut kept, |_, _, kept| {
                kept.push_str(REDACTED);
                true
            });
            *text = kept;
        }
        _ => {}
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
    // The content of a file is secret, and not its path.
    if rule == NameRule::Host && (name.ends_with("_file") || HARMLESS_OF_HOST.contains(&name)) {
        return false;
    }
    let plain: String =
        name.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_ascii_lowercase();
    let is_word =
        |word: &str| plain == word || name.to_ascii_lowercase().ends_with(&format!("_{word}"));
    NAMES.iter().any(|part| plain.contains(part))
        || ["pwd", "sas", "auth"].into_iter().any(is_word)
        || rule != NameRule::Data && (plain.ends_with("key") || plain.ends_with("keys"))
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
        for name in ["traceparent_key", "keys", "key_file", "token_expires"] {
            assert!(!is_secret_name(name, NameRule::Host), "{name}");
        }
        assert!(is_secret_name("api_key", NameRule::Host));
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
    fn a_secret_that_begins_with_another_one_is_removed_whole() {
        let mut secrets = Secrets::default();
        secrets.search_for("factory");
        secrets.search_for("factory-secret");
        let mut value = json!(["login with factory-secret", "at the factory"]);
        secrets.remove_from(&mut value);
        assert_eq!(value, json!(["login with redacted", "at the redacted"]));
    }

    #[test]
    fn an_empty_value_is_not_a_secret() {
        let mut secrets = Secrets::default();
        let mut value = json!({"password": null, "token": "", "hasSecret": true});
        secrets.redact("/payload", &mut value, NameRule::Data);
        assert!(secrets.left_out.is_empty());
    }
}
