//! Limits of tags and properties (documentation of IoT Hub, device twins).

use serde_json::{Map, Value};

use super::{MAX_DEPTH, MAX_INTEGER, MAX_KEY_BYTES, MAX_STRING_BYTES, MIN_INTEGER};

/// A change of a twin that violates a limit. The message contains the path of the value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatchError {
    /// A malformed key.
    #[error("key `{0}` must not be empty or have a control character, `.`, `$` or a space")]
    Key(String),
    /// A key that is too long.
    #[error("a key below `{path}` has {bytes} bytes; at most {MAX_KEY_BYTES} are allowed")]
    LongKey {
        /// The path of the object with the key.
        path: String,
        /// The length, in bytes.
        bytes: usize,
    },
    /// A string that is too long.
    #[error("the string at `{path}` has {bytes} bytes; at most {MAX_STRING_BYTES} are allowed")]
    LongString {
        /// The path of the string.
        path: String,
        /// The length, in bytes.
        bytes: usize,
    },
    /// An integer outside the range.
    #[error("the integer at `{0}` is outside {MIN_INTEGER} to {MAX_INTEGER}")]
    Integer(String),
    /// Objects or arrays nested too deeply.
    #[error("`{0}` is nested more than {MAX_DEPTH} levels deep")]
    Depth(String),
    /// A null in an array or in a whole section, where it cannot delete a key. The message is
    /// that of IoT Hub.
    #[error("Value of Property or Tag cannot be null. Error in Property/Tag {0}")]
    Null(String),
    /// Tags or properties that would become too large.
    #[error("{section} would have {bytes} bytes; at most {max} are allowed")]
    Size {
        /// "tags", "desired properties" or "reported properties".
        section: &'static str,
        /// The size after the change, in bytes.
        bytes: usize,
        /// The maximum size, in bytes.
        max: usize,
    },
}

/// Checks the keys, strings, integers and depth of a patch. Nulls are refused in arrays.
pub fn check_patch(patch: &Map<String, Value>) -> Result<(), PatchError> {
    check_object(patch, "", 1, Nulls::Delete)
}

/// Checks a whole section like [`check_patch`], but refuses every null.
pub fn check_section(body: &Map<String, Value>) -> Result<(), PatchError> {
    check_object(body, "", 1, Nulls::Refused)
}

/// Treatment of nulls.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Nulls {
    /// A null deletes a member of an object.
    Delete,
    /// Nulls are errors.
    Refused,
}

fn check_object(
    object: &Map<String, Value>,
    path: &str,
    depth: usize,
    nulls: Nulls,
) -> Result<(), PatchError> {
    for (key, value) in object {
        let bad = |c: char| c.is_control() || matches!(c, '.' | '$' | ' ');
        let full_path =
            || if path.is_empty() { escaped(key) } else { format!("{path}.{}", escaped(key)) };
        if key.len() > MAX_KEY_BYTES {
            return Err(PatchError::LongKey { path: path.to_owned(), bytes: key.len() });
        }
        if key.is_empty() || key.contains(bad) {
            return Err(PatchError::Key(full_path()));
        }
        if depth > MAX_DEPTH {
            return Err(PatchError::Depth(full_path()));
        }
        check_value(value, &full_path, depth, nulls)?;
    }
    Ok(())
}

fn check_value(
    value: &Value,
    path: &dyn Fn() -> String,
    depth: usize,
    nulls: Nulls,
) -> Result<(), PatchError> {
    match value {
        Value::Null if nulls == Nulls::Refused => Err(PatchError::Null(path())),
        Value::String(text) if text.len() > MAX_STRING_BYTES => {
            Err(PatchError::LongString { path: path(), bytes: text.len() })
        }
        Value::Number(number) => {
            let in_range = number.as_i64().map(|n| (MIN_INTEGER..=MAX_INTEGER).contains(&n));
            // serde_json represents integers above `i64::MAX` as `u64`.
            match in_range.unwrap_or(!number.is_u64()) {
                true => Ok(()),
                false => Err(PatchError::Integer(path())),
            }
        }
        Value::Array(items) if depth >= MAX_DEPTH && !items.is_empty() => {
            Err(PatchError::Depth(path()))
        }
        Value::Array(items) => {
            items.iter().try_for_each(|item| check_value(item, path, depth + 1, Nulls::Refused))
        }
        Value::Object(object) => check_object(object, &path(), depth + 1, nulls),
        _ => Ok(()),
    }
}

/// Escapes and truncates a key for an error message.
fn escaped(key: &str) -> String {
    json::excerpt(key, 40).into_owned()
}

/// Checks the size of a whole section or of the tags.
pub fn check_size(
    section: &'static str,
    body: &Map<String, Value>,
    max: usize,
) -> Result<(), PatchError> {
    match size(body) {
        bytes if bytes > max => Err(PatchError::Size { section, bytes, max }),
        _ => Ok(()),
    }
}

/// Returns the size in bytes, as IoT Hub counts it: 8 for a number, 4 for a boolean, and
/// the number of characters of each key and string, without control characters.
#[must_use]
pub fn size(body: &Map<String, Value>) -> usize {
    body.iter().map(|(key, value)| characters(key) + size_of(value)).sum()
}

fn size_of(value: &Value) -> usize {
    match value {
        Value::Null => 0,
        Value::Bool(_) => 4,
        Value::Number(_) => 8,
        Value::String(text) => characters(text),
        Value::Array(items) => items.iter().map(size_of).sum(),
        Value::Object(object) => size(object),
    }
}

fn characters(text: &str) -> usize {
    text.chars().filter(|c| !c.is_control()).count()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(patch: &Value) -> Result<(), PatchError> {
        check_patch(patch.as_object().unwrap())
    }

    fn nested(levels: usize) -> Value {
        (1..levels).fold(json!({"k": 1}), |inner, _| json!({"k": inner}))
    }

    #[test]
    fn values_at_their_limits_are_accepted_and_values_beyond_are_refused() {
        for (good, bad) in [
            (json!({"a": MAX_INTEGER}), json!({"a": MAX_INTEGER + 1})),
            (json!({"a": MIN_INTEGER}), json!({"a": MIN_INTEGER - 1})),
            (json!({"a": 1.5e300}), json!({"a": u64::MAX})),
            (json!({"a": "x".repeat(4096)}), json!({"a": "x".repeat(4097)})),
            (json!({"x".repeat(1024): 1}), json!({"x".repeat(1025): 1})),
            (nested(10), nested(11)),
        ] {
            assert_eq!(check(&good), Ok(()), "{good}");
            assert!(check(&bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn an_error_contains_the_path() {
        let error = check(&json!({"a": {"b c": 1}})).unwrap_err();
        assert_eq!(
            error.to_string(),
            "key `a.b c` must not be empty or have a control character, `.`, `$` or a space"
        );
        for bad in ["$a", "a.b", "", "a\u{1}"] {
            assert!(check(&json!({bad: 1})).is_err(), "{bad:?}");
        }
        let error = check(&json!({"a": [{"b": u64::MAX}]})).unwrap_err();
        assert!(error.to_string().contains("`a.b`"), "{error}");
    }

    #[test]
    fn a_null_deletes_in_a_patch_and_is_refused_elsewhere() {
        let path = |outcome: Result<(), PatchError>| match outcome {
            Err(PatchError::Null(path)) => path,
            other => panic!("{other:?}"),
        };
        assert_eq!(check(&json!({"a": null, "b": {"c": null}})), Ok(()));
        for patch in [json!({"a": [1, null]}), json!({"a": [{"b": null}]}), json!({"a": [[null]]})]
        {
            let outcome = check(&patch);
            assert!(matches!(outcome, Err(PatchError::Null(_))), "{patch}: {outcome:?}");
        }
        for (body, expected) in [(json!({"a": null}), "a"), (json!({"a": {"b": null}}), "a.b")] {
            assert_eq!(path(check_section(body.as_object().unwrap())), expected);
        }
        assert_eq!(check_section(json!({"a": {"b": 1}}).as_object().unwrap()), Ok(()));
        assert_eq!(
            PatchError::Null("my-tag".into()).to_string(),
            "Value of Property or Tag cannot be null. Error in Property/Tag my-tag"
        );
    }

    #[test]
    fn arrays_count_as_levels() {
        let arrays = |levels: usize| (0..levels).fold(json!(1), |inner, _| json!([inner]));
        assert_eq!(check(&json!({"a": arrays(9)})), Ok(()));
        assert_eq!(check(&json!({"a": arrays(10)})), Err(PatchError::Depth("a".into())));
    }

    #[test]
    fn size_counts_characters_numbers_and_booleans() {
        let body = json!({"ab": "äö\u{1}", "n": 1, "b": true, "o": {"x": [1, null]}});
        assert_eq!(size(body.as_object().unwrap()), 2 + 2 + 1 + 8 + 1 + 4 + 1 + 1 + 8);
        let error = check_size("tags", body.as_object().unwrap(), 27).unwrap_err();
        assert_eq!(error.to_string(), "tags would have 28 bytes; at most 27 are allowed");
    }
}
