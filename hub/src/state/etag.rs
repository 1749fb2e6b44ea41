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
    /// One of these etags.
    Etags(Vec<String>),
}

impl IfMatch {
    /// Parses the header, which may list several etags (RFC 9110, 13.1.1). The Python
    /// and Node clients send the star in quotes. An empty header is an etag that no resource has, so that a variable without a
    /// value does not switch the condition off.
    pub(crate) fn parse(header: Option<&str>) -> IfMatch {
        let Some(text) = header else { return IfMatch::Absent };
        // No etag of this hub has a comma.
        let etags: Vec<String> = text.split(',').map(bare).collect();
        match etags.iter().any(|etag| etag == "*") {
            true => IfMatch::Any,
            false => IfMatch::Etags(etags),
        }
    }

    /// Returns whether a resource with this etag may be written.
    pub(crate) fn admits(&self, current: &str) -> bool {
        match self {
            IfMatch::Absent | IfMatch::Any => true,
            IfMatch::Etags(etags) => etags.iter().any(|etag| etag == current),
        }
    }
}

/// Removes the quotes of an etag, and the mark of a weak one.
fn bare(text: &str) -> String {
    let text = text.trim();
    let text = text.strip_prefix("W/").unwrap_or(text);
    text.strip_prefix('"').and_then(|t| t.strip_suffix('"')).unwrap_or(text).to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_of_a_list_of_etags_is_enough() {
        let listed = IfMatch::parse(Some("\"x\", W/\"AAAAAAAAAAE=\""));
        assert!(listed.admits("AAAAAAAAAAE=") && listed.admits("x"));
        assert!(!listed.admits("y") && !listed.admits(""));
        assert_eq!(IfMatch::parse(Some("\"x\",\"*\"")), IfMatch::Any);
    }

    #[test]
    fn a_star_means_any_with_and_without_quotes() {
        for (header, read) in [
            (None, IfMatch::Absent),
            (Some(""), IfMatch::Etags(vec![String::new()])),
            (Some(" "), IfMatch::Etags(vec![String::new()])),
            (Some("\"\""), IfMatch::Etags(vec![String::new()])),
            (Some("*"), IfMatch::Any),
            (Some("\"*\""), IfMatch::Any),
            (Some("\"AAAAAAAAAAE=\""), IfMatch::Etags(vec!["AAAAAAAAAAE=".into()])),
            (Some("AAAAAAAAAAE="), IfMatch::Etags(vec!["AAAAAAAAAAE=".into()])),
            (Some("W/\"x\""), IfMatch::Etags(vec!["x".into()])),
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
