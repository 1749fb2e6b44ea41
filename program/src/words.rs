//! Type errors of `serde` in the words of a file's format, not in those of Rust.

use json::readable_url;

/// The words of a file format.
#[derive(Debug, Clone, Copy)]
pub struct FormatWords {
    /// A map of keys to values, with its article.
    pub map: &'static str,
}

/// The words of JSON.
pub const JSON_WORDS: FormatWords = FormatWords { map: "an object" };

/// The words of TOML.
pub const TOML_WORDS: FormatWords = FormatWords { map: "a table" };

impl FormatWords {
    /// Returns the rest of a sentence about a value, such as `is the string "x", not an integer
    /// from 0 to 65535`. Returns `None` if the message is not about a type.
    #[must_use]
    pub fn type_error(self, message: &str) -> Option<String> {
        let rest = ["invalid type: ", "invalid value: "];
        let rest = rest.iter().find_map(|prefix| message.strip_prefix(prefix))?;
        let (found, expected) = rest.rsplit_once(", expected ")?;
        Some(format!("is {}, not {}", self.found(found), self.expected(expected)))
    }

    fn found(self, text: &str) -> String {
        let quoted = ["integer `", "floating point `", "boolean `"];
        let number = quoted.iter().find_map(|prefix| text.strip_prefix(prefix)?.strip_suffix('`'));
        match (number, text) {
            (Some(number), _) => number.to_owned(),
            (None, "sequence") => "an array".to_owned(),
            (None, "map") => self.map.to_owned(),
            (None, "unit value") => "null".to_owned(),
            // The value may be a URL with a password.
            (None, _) if text.starts_with("string ") => format!("the {}", without_user(text)),
            (None, _) => text.to_owned(),
        }
    }

    fn expected(self, text: &str) -> String {
        let integer = |from: u8, to: u64| format!("an integer from {from} to {to}");
        match text {
            "u8" => integer(0, u8::MAX.into()),
            "u16" => integer(0, u16::MAX.into()),
            "u32" => integer(0, u32::MAX.into()),
            "u64" | "usize" => "an integer that is not negative".to_owned(),
            "a nonzero u8" => integer(1, u8::MAX.into()),
            "a nonzero u16" => integer(1, u16::MAX.into()),
            "a nonzero u32" => integer(1, u32::MAX.into()),
            "a nonzero u64" | "a nonzero usize" => "an integer of at least 1".to_owned(),
            "path string" => "a string".to_owned(),
            "a sequence" => "an array".to_owned(),
            "a map" => self.map.to_owned(),
            _ if text.starts_with("struct ") => self.map.to_owned(),
            _ => text.to_owned(),
        }
    }
}

/// Returns the description of a string without the user information of a URL.
fn without_user(text: &str) -> String {
    let value = text.strip_prefix("string \"").and_then(|rest| rest.strip_suffix('"'));
    value.map_or_else(|| text.to_owned(), |value| format!("string \"{}\"", readable_url(value)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn types_have_the_names_of_the_format() {
        for (message, toml) in [
            (
                "invalid type: string \"x, expected y\", expected u16",
                "is the string \"x, expected y\", not an integer from 0 to 65535",
            ),
            (
                "invalid value: integer `-1`, expected usize",
                "is -1, not an integer that is not negative",
            ),
            (
                "invalid type: string \"https://user:passw0rd@h\", expected a map",
                "is the string \"https://…@h\", not a table",
            ),
            ("invalid type: floating point `1.5`, expected a string", "is 1.5, not a string"),
            ("invalid type: sequence, expected struct Hub", "is an array, not a table"),
            ("invalid type: map, expected a sequence", "is a table, not an array"),
            (
                "invalid value: integer `0`, expected a nonzero u32",
                "is 0, not an integer from 1 to 4294967295",
            ),
        ] {
            assert_eq!(TOML_WORDS.type_error(message).as_deref(), Some(toml));
        }
        let json = JSON_WORDS.type_error("invalid type: null, expected struct Expect");
        assert_eq!(json.as_deref(), Some("is null, not an object"));
        assert_eq!(TOML_WORDS.type_error("missing field `x`"), None);
    }
}
