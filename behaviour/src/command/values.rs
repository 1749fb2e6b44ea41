//! Parsers for option values (sizes, pairs and JSON), and a formatter for sizes.

use behaviour::Language;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};
use plugin::Json;
use program::{chain, text};
use serde_json::{Map, Value};

/// Parses a size in bytes: `1048576`, `512KiB`, `64MiB`.
pub(crate) fn size(text: &str) -> Result<usize, String> {
    let invalid =
        || format!("invalid size `{text}`: expected a value such as 1048576, 512KiB or 64MiB");
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let number: usize = number.parse().map_err(|_| invalid())?;
    let factor = match unit {
        "" | "B" => 1,
        "KiB" => 1024,
        "MiB" => 1024 * 1024,
        _ => return Err(invalid()),
    };
    number.checked_mul(factor).ok_or_else(invalid)
}

/// Parses `KEY=VALUE`. The value can be empty and can contain `=`.
pub(crate) fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err("not of the form KEY=VALUE".to_owned()),
    }
}

/// Returns the parser of a language's name, which offers the names to help and completions.
pub(crate) fn language() -> impl TypedValueParser<Value = Language> {
    let values = Language::ALL
        .map(|language| PossibleValue::new(language.name()).aliases(language.aliases()));
    PossibleValuesParser::new(values).try_map(|name| name.parse::<Language>())
}

/// Parses a JSON object: the argument itself, the contents of `@FILE`, or `-` for standard
/// input.
pub(crate) fn object(text: &str) -> Result<Map<String, Value>, String> {
    serde_json::from_str(&argument(text)?).map_err(|error| format!("not a JSON object: {error}"))
}

/// Parses any JSON value: the argument itself, the contents of `@FILE`, or `-` for standard
/// input.
pub(crate) fn json(text: &str) -> Result<String, String> {
    Json::new(argument(text)?).map(Json::into_text).map_err(|error| error.to_string())
}

/// Reads the text of an argument.
fn argument(argument: &str) -> Result<String, String> {
    text::argument(argument).map_err(|error| chain(&error).to_string())
}

/// Formats a number of bytes in a readable unit.
pub(crate) fn bytes(bytes: u64) -> String {
    match bytes {
        0..1_000 => format!("{bytes} bytes"),
        1_000..1_000_000 => format!("{} KB", bytes.div_ceil(1_000)),
        #[expect(clippy::cast_precision_loss, reason = "one decimal is shown")]
        _ => format!("{:.1} MB", bytes as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_can_have_a_unit() {
        assert_eq!(
            size("1GB").unwrap_err(),
            "invalid size `1GB`: expected a value such as 1048576, 512KiB or 64MiB"
        );
        assert_eq!(size("1048576"), Ok(1_048_576));
        assert_eq!(size("64MiB"), Ok(64 << 20));
        assert_eq!(size("1KiB"), Ok(1024));
        for text in ["", "MiB", "1GB", "-1", "99999999999999999999"] {
            size(text).unwrap_err();
        }
    }

    #[test]
    fn a_pair_is_split_at_its_first_equals_sign() {
        assert_eq!(pair("report={\"a\":\"b=c\"}").unwrap().1, "{\"a\":\"b=c\"}");
        assert_eq!(pair("empty=").unwrap(), ("empty".into(), String::new()));
        pair("=value").unwrap_err();
        pair("key").unwrap_err();
    }

    #[test]
    fn invalid_json_is_reported_in_one_line() {
        assert_eq!(json("\"text\"").unwrap(), "\"text\"");
        assert_eq!(json("text").unwrap_err(), "is not JSON: expected ident at line 1 column 2");
        assert!(object("[1]").unwrap_err().starts_with("not a JSON object: "));
        assert!(json("@/nowhere.json").unwrap_err().starts_with("/nowhere.json: "));
    }
}
