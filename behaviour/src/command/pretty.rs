//! JSON for people: one member a line, in the order that it has.
//!
//! It works on the text, so that nothing of it is lost: neither the order of
//! keys nor a digit of a number. Signs that would steer a terminal are escaped.

use std::fmt::Write;

use behaviour::desk::steers;

/// Indents JSON text, which must be valid.
pub(crate) fn pretty(json: &str) -> String {
    let mut out = String::with_capacity(json.len() * 2);
    let mut depth = 0_usize;
    let mut signs = json.chars().peekable();
    while let Some(sign) = signs.next() {
        match sign {
            '"' => {
                out.push(sign);
                string(&mut signs, &mut out);
            }
            '{' | '[' => {
                out.push(sign);
                while signs.peek().is_some_and(|next| next.is_ascii_whitespace()) {
                    signs.next();
                }
                if let Some(close) = signs.next_if(|next| matches!(next, '}' | ']')) {
                    out.push(close);
                } else {
                    depth += 1;
                    line(&mut out, depth);
                }
            }
            '}' | ']' => {
                depth = depth.saturating_sub(1);
                line(&mut out, depth);
                out.push(sign);
            }
            ',' => {
                out.push(sign);
                line(&mut out, depth);
            }
            ':' => out.push_str(": "),
            sign if sign.is_ascii_whitespace() => {}
            sign => out.push(sign),
        }
    }
    out
}

/// The rest of a string, its closing quote included.
fn string(signs: &mut impl Iterator<Item = char>, out: &mut String) {
    while let Some(sign) = signs.next() {
        match sign {
            '\\' => {
                out.push(sign);
                out.extend(signs.next());
            }
            '"' => return out.push(sign),
            // Cannot fail: it writes to a `String`. All of them have four digits.
            sign if steers(sign) => drop(write!(out, "\\u{:04x}", u32::from(sign))),
            sign => out.push(sign),
        }
    }
}

fn line(out: &mut String, depth: usize) {
    out.push('\n');
    out.extend(std::iter::repeat_n("  ", depth));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_digits_stay_as_they_were() {
        assert_eq!(
            pretty(r#"{"b":[1.10,{}, [ ]],"a":{"c":"x, {y}: \" z"}}"#),
            "{\n  \"b\": [\n    1.10,\n    {},\n    []\n  ],\n  \"a\": {\n    \"c\": \"x, {y}: \\\" z\"\n  }\n}"
        );
        assert_eq!(pretty(" null "), "null");
    }

    #[test]
    fn signs_that_steer_a_terminal_are_escaped() {
        assert_eq!(pretty("\"a\u{9b}2J\u{202e}\""), "\"a\\u009b2J\\u202e\"");
    }
}
