//! Removal and insertion of white space between tokens. The tokens are unchanged.

use std::fmt::Write as _;

use crate::readable::affects_display;

/// Removes all white space between tokens.
pub(crate) fn compact(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    tokens(text, |token| out.push_str(token));
    out
}

/// Formats the text with one member per line, indented by two spaces per level. Escapes
/// characters that affect a terminal.
pub(crate) fn pretty(text: &str) -> String {
    let mut out = String::with_capacity(text.len() * 2);
    let (mut depth, mut opened) = (0, false);
    tokens(text, |token| {
        let closes = matches!(token, "}" | "]");
        depth -= usize::from(closes);
        // An empty container stays on one line.
        if opened != closes {
            new_line(&mut out, depth);
        }
        push_escaped(&mut out, token);
        opened = matches!(token, "{" | "[");
        depth += usize::from(opened);
        match token {
            "," => new_line(&mut out, depth),
            ":" => out.push(' '),
            _ => {}
        }
    });
    out
}

fn new_line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

fn push_escaped(out: &mut String, token: &str) {
    for character in token.chars() {
        match affects_display(character) {
            // Writing to a `String` cannot fail. All of these characters fit in four digits.
            true => drop(write!(out, "\\u{:04x}", u32::from(character))),
            false => out.push(character),
        }
    }
}

/// Calls `take` for each token of a JSON text.
fn tokens<'a>(text: &'a str, mut take: impl FnMut(&'a str)) {
    let mut rest = text.trim_start_matches(SPACE);
    while !rest.is_empty() {
        let (token, after) = rest.split_at(token_bytes(rest));
        take(token);
        rest = after.trim_start_matches(SPACE);
    }
}

const SPACE: [char; 4] = [' ', '\t', '\r', '\n'];

/// Returns the length of the first token.
fn token_bytes(text: &str) -> usize {
    match text.as_bytes()[0] {
        b'"' => string_bytes(text),
        b'{' | b'}' | b'[' | b']' | b',' | b':' => 1,
        _ => text.find([' ', '\t', '\r', '\n', ',', ']', '}', ':']).unwrap_or(text.len()),
    }
}

/// Returns the length of the string at the start of `text`, including its quotes.
pub(crate) fn string_bytes(text: &str) -> usize {
    let mut escaped = false;
    for (at, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = " {\"b\" :\t[ 1.10 ,\r\n{ } ,[]], \"a, {\\\" :\": null,\"n\":{\"x\":-1e2}} ";

    #[test]
    fn compact_text_is_one_line_with_the_same_tokens() {
        let compact = compact(TEXT);
        assert_eq!(compact, r#"{"b":[1.10,{},[]],"a, {\" :":null,"n":{"x":-1e2}}"#);
        assert_eq!(super::compact("[]"), "[]");
    }

    #[test]
    fn pretty_text_has_the_layout_of_serde_json() {
        let value: serde_json::Value =
            serde_json::from_str(r#"{"a":[1,{},[]],"b":{"x":-2}}"#).unwrap();
        assert_eq!(pretty(&value.to_string()), format!("{value:#}"));
        assert_eq!(compact(&pretty(TEXT)), compact(TEXT));
        assert_eq!(pretty("[]"), "[]");
        assert_eq!(pretty(" null "), "null");
    }

    #[test]
    fn order_and_digits_are_unchanged() {
        assert_eq!(
            pretty(r#"{"b":[1.10,{}, [ ]],"a":{"c":"x, {y}: \" z"}}"#),
            "{\n  \"b\": [\n    1.10,\n    {},\n    []\n  ],\n  \"a\": {\n    \"c\": \"x, {y}: \\\" z\"\n  }\n}"
        );
    }

    #[test]
    fn characters_that_affect_a_terminal_are_escaped() {
        assert_eq!(pretty("\"a\u{9b}2J\u{202e}\""), "\"a\\u009b2J\\u202e\"");
    }
}
