//! Texts of strangers, made safe for a log, an answer or a terminal.

use std::borrow::Cow;

/// The longest text that is shown, in characters.
const MOST: usize = 1024;

/// Returns `true` for a character that has an effect instead of a glyph: control
/// characters, line and paragraph separators, those without width, and those that turn
/// the direction of writing.
#[must_use]
pub fn steers(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// Returns a text on one line, with the characters that steer a terminal escaped.
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    for character in text.chars() {
        match steers(character) {
            true => escaped.extend(character.escape_default()),
            false => escaped.push(character),
        }
    }
    Cow::Owned(escaped)
}

/// Returns at most 1024 characters of a text, escaped by [`escape`].
#[must_use]
pub fn readable(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(MOST) {
        Some((end, _)) => escape(&text[..end]),
        None => escape(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_or_hides_is_escaped() {
        assert_eq!(escape("two\nlines\u{1b}[31m"), "two\\nlines\\u{1b}[31m");
        assert_eq!(escape("a\u{2028}b\u{202e}c\u{61c}"), "a\\u{2028}b\\u{202e}c\\u{61c}");
        assert_eq!(escape("\u{200b}\u{200d}\u{feff}"), "\\u{200b}\\u{200d}\\u{feff}");
        assert_eq!(escape("Grüße \"you\""), "Grüße \"you\"");
    }

    #[test]
    fn a_readable_text_has_a_limit() {
        assert_eq!(readable(&"ü".repeat(5000)), "ü".repeat(MOST));
        assert_eq!(readable("short"), "short");
    }
}
