//! Parsers for option values (sizes, pairs and JSON), and a formatter for sizes.

use plugin::Json;
use program::text;
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

/// Parses a JSON object: the argument itself, or the contents of `@FILE`.
pub(crate) fn object(text: &str) -> Result<Map<String, Value>, String> {
    let text = match text.strip_prefix('@') {
        Some(file) => text::read(file.as_ref()).map_err(|error| format!("{file}: {error}"))?,
        None => text.to_owned(),
    };
    serde_json::from_str(&text).map_err(|error| format!("not a JSON object: {error}"))
}

/// Parses any JSON value: the argument itself, the contents of `@FILE`, or `-` for standard
/// input.
pub(crate) fn json(text: &str) -> Result<String, String> {
    let text = match text.strip_prefix('@') {
        Some(file) => text::read(file.as_ref()).map_err(|error| format!("{file}: {error}"))?,
        None if text == "-" => {
            text::read_stdin().map_err(|error| format!("standard input: {error}"))?
        }
        None => text.to_owned(),
    };
    Json::new(text).map(Json::into_text).map_err(|error| error.to_string())
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
