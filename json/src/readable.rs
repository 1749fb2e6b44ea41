//! Escaping of untrusted text for logs, answers and terminals.

use std::borrow::Cow;

/// Maximum length of a readable text, in characters.
const MAX_CHARACTERS: usize = 1024;

/// Returns `true` for a character without a glyph: control characters, line and paragraph
/// separators, characters of zero width, tags, and those that change the writing direction.
#[must_use]
pub fn affects_display(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// Returns `text` on one line, with characters escaped that affect a terminal.
#[must_use]
pub fn escape(text: &str) -> Cow<'_, str> {
    if !text.contains(affects_display) {
        return Cow::Borrowed(text);
    }
    let mut escaped = String::with_capacity(text.len() + 16);
    text.chars().for_each(|character| push_escaped(&mut escaped, character));
    Cow::Owned(escaped)
}

/// Appends a character to `escaped`, as [`escape`] does.
pub fn push_escaped(escaped: &mut String, character: char) {
    match affects_display(character) {
        true => escaped.extend(character.escape_default()),
        false => escaped.push(character),
    }
}

/// Returns at most 1024 characters of `text`, escaped by [`escape`].
#[must_use]
pub fn readable(text: &str) -> Cow<'_, str> {
    excerpt(text, MAX_CHARACTERS)
}

/// Returns at most `max_characters` of `text`, escaped by [`escape`].
#[must_use]
pub fn excerpt(text: &str, max_characters: usize) -> Cow<'_, str> {
    match text.char_indices().nth(max_characters) {
        Some((end, _)) => escape(&text[..end]),
        None => escape(text),
    }
}

/// Returns a URL, a host or the name of an image, escaped by [`readable`] and without the user
/// information, which may be a password. Everything before the last `@` counts as such, since a
/// malformed URL may have its password anywhere.
#[must_use]
pub fn readable_url(text: &str) -> Cow<'_, str> {
    let is_digest = |before: &str, after: &str| {
        before.contains('/') && after.starts_with("sha") && !after.contains('/')
    };
    let Some((before, after)) = text.rsplit_once('@') else { return readable(text) };
    let hidden = match is_digest(before, after) {
        true => before.rfind('@'),
        false => Some(before.len()),
    };
    let Some(hidden) = hidden else { return readable(text) };
    let is_scheme = |text: &str| {
        text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte))
    };
    let scheme = text[..hidden].split_once("://").map(|(scheme, _)| scheme);
    let scheme = scheme.filter(|scheme| is_scheme(scheme));
    let start = scheme.map_or(String::new(), |scheme| format!("{scheme}://"));
    Cow::Owned(readable(&format!("{start}…{}", &text[hidden..])).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_readable_url_has_no_user_information() {
        for (text, expected) in [
            ("https://h:1/a", "https://h:1/a"),
            ("https://user:passw0rd@h:1/a", "https://…@h:1/a"),
            ("https://user:pass/w0@rd@h", "https://…@h"),
            ("user:passw0rd@h", "…@h"),
            ("user:passw0rd@sha.example", "…@sha.example"),
            ("passw0rd rd://@h", "…@h"),
            ("r.example/a@sha256:12", "r.example/a@sha256:12"),
            ("user:passw0rd@r.example/a@sha256:12", "…@r.example/a@sha256:12"),
            ("h\n", "h\\n"),
        ] {
            assert_eq!(readable_url(text), expected);
        }
    }

    #[test]
    fn invisible_characters_and_those_that_affect_a_terminal_are_escaped() {
        assert_eq!(escape("two\nlines\u{1b}[31m"), "two\\nlines\\u{1b}[31m");
        assert_eq!(escape("a\u{2028}b\u{202e}c\u{61c}"), "a\\u{2028}b\\u{202e}c\\u{61c}");
        assert_eq!(escape("\u{200b}\u{200d}\u{feff}"), "\\u{200b}\\u{200d}\\u{feff}");
        assert_eq!(escape("\u{ad}\u{e0041}"), "\\u{ad}\\u{e0041}");
        assert_eq!(escape("Grüße \"you\""), "Grüße \"you\"");
    }

    #[test]
    fn a_readable_text_has_a_limit() {
        assert_eq!(readable(&"ü".repeat(5000)), "ü".repeat(MAX_CHARACTERS));
        assert_eq!(readable("short"), "short");
        assert_eq!(excerpt("a\nbc", 3), "a\\nb");
    }
}
