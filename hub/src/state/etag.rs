//! Etags and the `If-Match` condition of writes.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Returns the etag of a twin: its counter as eight big-endian bytes in base64.
pub(super) fn of_twin(counter: u64) -> String {
    STANDARD.encode(counter.to_be_bytes())
}

/// Returns the etag of an identity: its number as decimal digits in base64.
pub(super) fn of_identity(number: u32) -> String {
    STANDARD.encode(number.to_string())
}

/// The condition in the `If-Match` header of a request.
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
    /// Parses the header, which can list several etags (RFC 9110, section 13.1.1). Accepts a
    /// quoted `*`, as sent by the Python and Node clients.
    ///
    /// An empty header never matches, so that an empty variable in a script does not disable
    /// the condition.
    pub(crate) fn parse(header: Option<&str>) -> IfMatch {
        let Some(text) = header else { return IfMatch::Absent };
        // The etags of this hub contain no commas.
        let etags: Vec<String> = text.split(',').map(unquoted).collect();
        match etags.iter().any(|etag| etag == "*") {
            true => IfMatch::Any,
            false => IfMatch::Etags(etags),
        }
    }

    /// Returns `true` if the condition allows writing a resource with this etag.
    pub(crate) fn matches(&self, current: &str) -> bool {
        match self {
            IfMatch::Absent | IfMatch::Any => true,
            IfMatch::Etags(etags) => etags.iter().any(|etag| etag == current),
        }
    }
}

/// Removes the quotes and the weakness indicator of an etag.
fn unquoted(text: &str) -> String {
    let text = text.trim();
    let text = text.strip_prefix("W/").unwrap_or(text);
    // The .NET client adds quotes to etags of enrollments, which have quotes already.
    text.trim_matches('"').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn any_etag_of_a_list_can_match() {
        let listed = IfMatch::parse(Some("\"x\", W/\"AAAAAAAAAAE=\""));
        assert!(listed.matches("AAAAAAAAAAE=") && listed.matches("x"));
        assert!(!listed.matches("y") && !listed.matches(""));
        assert_eq!(IfMatch::parse(Some("\"x\",\"*\"")), IfMatch::Any);
    }

    #[test]
    fn a_star_matches_any_etag_with_and_without_quotes() {
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
    fn etags_have_the_formats_of_iot_hub() {
        assert_eq!(of_twin(1), "AAAAAAAAAAE=");
        assert_eq!(of_identity(403_898_921), "NDAzODk4OTIx");
    }
}
