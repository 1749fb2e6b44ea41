//! Placeholders in the expected values of a test case.
//!
//! The author's tool compares values with them, and the host writes them into recorded
//! cases.

/// The placeholder for the members, elements or lines that are not listed.
pub const REST: &str = "...";

/// The placeholder for any value.
pub const ANY: &str = "$any";

/// The placeholder for any string.
pub const STRING: &str = "$string";

/// The placeholder for any number.
pub const NUMBER: &str = "$number";

/// The placeholder for a timestamp in RFC 3339 format.
pub const TIME: &str = "$time";

/// The placeholder for the id of a call or job.
pub const ID: &str = "$id";

/// The placeholders, each of which is a complete string.
const PLACEHOLDERS: [&str; 6] = [REST, ANY, STRING, NUMBER, TIME, ID];

/// Returns the text that a literal string stands for: one `$` less if it is a placeholder
/// with more `$` in front than usual.
#[must_use]
pub fn unescape(text: &str) -> &str {
    match text.strip_prefix('$') {
        Some(rest) if is_reserved(rest) => rest,
        _ => text,
    }
}

/// Returns `true` if a text needs one more `$` in front to stand for itself.
#[must_use]
pub fn is_reserved(text: &str) -> bool {
    PLACEHOLDERS.contains(&text) || text.strip_prefix('$').is_some_and(is_reserved)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_more_dollar_sign_makes_a_placeholder_literal() {
        for (text, literal) in
            [("$$any", "$any"), ("$$$any", "$$any"), ("$...", "..."), ("$$...", "$...")]
        {
            assert_eq!(unescape(text), literal);
            assert!(is_reserved(literal));
        }
        for text in ["", "$", "$5", "$$5", "$anything", "..", "$Any"] {
            assert_eq!(unescape(text), text);
            assert!(!is_reserved(text));
        }
    }
}
