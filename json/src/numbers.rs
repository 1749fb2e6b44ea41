//! Numbers that `serde_json` would change when parsing.

use std::borrow::Cow;

use crate::JsonError;
use crate::layout::string_bytes;

/// Returns the text with `-0` replaced by `0`. Returns an error for an integer of more than
/// 64 bits, which would become a floating-point number.
pub(crate) fn plain(text: &str) -> Result<Cow<'_, str>, JsonError> {
    let mut plain = Cow::Borrowed(text);
    let mut at = 0;
    while let Some(byte) = text.as_bytes().get(at) {
        match byte {
            b'"' => at += string_bytes(&text[at..]),
            b'-' | b'0'..=b'9' => {
                let rest = &text[at..];
                let is_end = |c: char| !matches!(c, '0'..='9' | '+' | '-' | '.' | 'e' | 'E');
                let number = &rest[..rest.find(is_end).unwrap_or(rest.len())];
                let is_whole = !number.contains(['.', 'e', 'E']);
                if is_whole && number.parse::<i64>().is_err() && number.parse::<u64>().is_err() {
                    return Err(JsonError::Integer(truncated(number)));
                }
                if number == "-0" {
                    // The minus becomes a space, so that offsets do not change.
                    plain.to_mut().replace_range(at..=at, " ");
                }
                at += number.len();
            }
            _ => at += 1,
        }
    }
    Ok(plain)
}

/// Truncates a number for a message.
fn truncated(number: &str) -> String {
    const MAX_DIGITS: usize = 40;
    match number.get(..MAX_DIGITS) {
        Some(start) if number.len() > MAX_DIGITS => format!("{start}…"),
        _ => number.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_integer_beyond_64_bits_is_refused_and_all_others_are_kept() {
        for wide in ["18446744073709551616", "-9223372036854775809"] {
            for text in [wide.to_owned(), format!("[1, {wide}]"), format!("{{\"a\":{wide}}}")] {
                let error = plain(&text).unwrap_err().to_string();
                let expected = format!("has the integer {wide}, which does not fit in 64 bits");
                assert_eq!(error, expected, "{text}");
            }
        }
        let kept = r#"[18446744073709551615,-9223372036854775808,1e23,0.1,"18446744073709551616"]"#;
        assert_eq!(plain(kept).unwrap(), kept);
        let long = "9".repeat(50);
        assert!(plain(&long).unwrap_err().to_string().contains(&format!("{}…", &long[..40])));
    }

    #[test]
    fn a_negative_zero_becomes_zero() {
        let text = plain(r#"{"a":-0,"b":[-0,"-0",-0.5]}"#).unwrap();
        let value: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(value.to_string(), r#"{"a":0,"b":[0,"-0",-0.5]}"#);
    }
}
