//! Etags, and the condition of a write in `If-Match`.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Returns the etag of a twin: its counter, eight bytes with the highest first.
pub(super) fn of_twin(counter: u64) -> String {
    STANDARD.encode(counter.to_be_bytes())
}

/// Returns the etag of an identity: its number, in digits.
pub(super) fn of_identity(number: u32) -> String {
    STANDARD.encode(number.to_string())
}

/// Condition in the `If-Match` header of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum IfMatch {
    /// No header.
    Absent,
    /// Any etag, as long as the resource exists.
    Any,
    Etag(String),
}

impl IfMatch {
    /// Parses the header. The Python and Node clients send the star in quotes. An
    /// empty header is an etag that no resource has, so that a variable without a
    /// value does not switch the condition off.
    pub(crate) fn parse(header: Option<&str>) -> IfMatch {
        let Some(text) = header.map(str::trim) else { return IfMatch::Absent };
        let text = text.strip_prefix("W/").unwrap_or(text);
        let bare = text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text);
        match bare {
            "*" => IfMatch::Any,
            etag => IfMatch::Etag(etag.to_owned()),
        }
    }

    /// Returns whether a resource with this etag may be written.
    pub(crate) fn admits(&self, current: &str) -> bool {
        match self {
            IfMatch::Absent | IfMatch::Any => true,
            IfMatch::Etag(etag) => etag == current,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_means_any_with_and_without_quotes() {
        for (header, read) in [
            (None, IfMatch::Absent),
            (Some(""), IfMatch::Etag(String::new())),
            (Some(" "), IfMatch::Etag(String::new())),
            (Some("\"\""), IfMatch::Etag(String::new())),
            (Some("*"), IfMatch::Any),
            (Some("\"*\""), IfMatch::Any),
            (Some("\"AAAAAAAAAAE=\""), IfMatch::Etag("AAAAAAAAAAE=".into())),
            (Some("AAAAAAAAAAE="), IfMatch::Etag("AAAAAAAAAAE=".into())),
            (Some("W/\"x\""), IfMatch::Etag("x".into())),
        ] {
            assert_eq!(IfMatch::parse(header), read, "{header:?}");
        }
    }

    #[test]
    fn etags_have_the_forms_of_iot_hub() {
        assert_eq!(of_twin(1), "AAAAAAAAAAE=");
        assert_eq!(of_identity(403_898_921), "NDAzODk4OTIx");
    }
}
