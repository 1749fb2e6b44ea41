//! Validation of JSON text in one pass, without building a value.
//!
//! Each call validates two texts of up to 128 KiB, so long strings are skipped in blocks. A
//! text that this module cannot validate is passed to `serde_json`, which decides and
//! reports the error.

use serde::de::IgnoredAny;

use crate::{JsonError, MAX_DEPTH};

/// Checks that `text` is valid JSON within the limits of this crate.
pub fn check(text: &str) -> Result<(), JsonError> {
    let mut reader = Reader { rest: text.as_bytes(), violation: None };
    match reader.read_document() {
        Some(()) => Ok(()),
        None => match reader.violation {
            Some(rule) => Err(rule),
            None => serde_json::from_str::<IgnoredAny>(text).map(drop).map_err(JsonError::Syntax),
        },
    }
}

/// Validator of a text. Its methods return `None` if the text is not valid JSON. `violation`
/// contains the error if the text only violates a limit of this crate.
struct Reader<'a> {
    rest: &'a [u8],
    violation: Option<JsonError>,
}

impl Reader<'_> {
    fn read_document(&mut self) -> Option<()> {
        // The closing brackets of all open arrays and objects.
        let mut open = Vec::new();
        loop {
            match self.next_token()? {
                first @ (b'[' | b'{') => {
                    if open.len() == MAX_DEPTH {
                        self.violation = Some(JsonError::TooDeep);
                        return None;
                    }
                    let end = if first == b'[' { b']' } else { b'}' };
                    if !self.skip_empty(end) {
                        open.push(end);
                        if end == b'}' {
                            self.name()?;
                        }
                        continue;
                    }
                }
                b'"' => self.string()?,
                b't' => self.keyword(b"rue")?,
                b'f' => self.keyword(b"alse")?,
                b'n' => self.keyword(b"ull")?,
                first => self.number(first)?,
            }
            // A value has ended, and possibly the containers around it.
            loop {
                let Some(end) = open.last() else {
                    self.skip_space();
                    return self.rest.is_empty().then_some(());
                };
                match self.next_token()? {
                    b',' => break,
                    found if found == *end => drop(open.pop()),
                    _ => return None,
                }
            }
            if open.last() == Some(&b'}') {
                self.name()?;
            }
        }
    }

    /// Reads a name and its colon: `"name":`.
    fn name(&mut self) -> Option<()> {
        (self.next_token()? == b'"').then_some(())?;
        self.string()?;
        (self.next_token()? == b':').then_some(())
    }

    /// Reads the rest of a string, after its opening quote.
    fn string(&mut self) -> Option<()> {
        loop {
            self.skip_plain();
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => match self.next()? {
                    b'u' => self.escape()?,
                    character => b"\"\\/bfnrt".contains(&character).then_some(())?,
                },
                // Any other byte is a control character.
                _ => return None,
            }
        }
    }

    /// Reads the digits of a `\u` escape, and the second escape of a surrogate pair.
    fn escape(&mut self) -> Option<()> {
        match self.code_unit()? {
            0xd800..0xdc00 => {
                let second = self.rest.strip_prefix(b"\\u");
                if let Some(rest) = second {
                    self.rest = rest;
                }
                if second.is_none() || !(0xdc00..0xe000).contains(&self.code_unit()?) {
                    return self.lone_surrogate();
                }
            }
            0xdc00..0xe000 => return self.lone_surrogate(),
            _ => {}
        }
        Some(())
    }

    fn lone_surrogate(&mut self) -> Option<()> {
        self.violation = Some(JsonError::Surrogate);
        None
    }

    /// Reads the four digits of an escape.
    fn code_unit(&mut self) -> Option<u16> {
        let (digits, rest) = self.rest.split_at_checked(4)?;
        digits.iter().all(u8::is_ascii_hexdigit).then_some(())?;
        self.rest = rest;
        u16::from_str_radix(std::str::from_utf8(digits).ok()?, 16).ok()
    }

    /// Skips to the next quote, backslash or control character.
    fn skip_plain(&mut self) {
        let is_special = |byte: &u8| *byte < b' ' || *byte == b'"' || *byte == b'\\';
        // `fold` does not exit early, so the compiler can vectorise the loop.
        let has_special =
            |block: &[u8; 64]| block.iter().fold(false, |found, byte| found | is_special(byte));
        while let Some((block, rest)) = self.rest.split_first_chunk()
            && !has_special(block)
        {
            self.rest = rest;
        }
        let plain = self.rest.iter().position(is_special).unwrap_or(self.rest.len());
        self.rest = &self.rest[plain..];
    }

    fn number(&mut self, first: u8) -> Option<()> {
        let first = if first == b'-' { self.next()? } else { first };
        match first {
            b'0' => {}
            b'1'..=b'9' => self.skip_digits(),
            _ => return None,
        }
        if self.skip_byte(b'.') {
            self.digits()?;
        }
        if matches!(self.rest.first(), Some(b'e' | b'E')) {
            self.next();
            if matches!(self.rest.first(), Some(b'+' | b'-')) {
                self.next();
            }
            self.digits()?;
        }
        Some(())
    }

    fn digits(&mut self) -> Option<()> {
        self.next()?.is_ascii_digit().then_some(())?;
        self.skip_digits();
        Some(())
    }

    fn skip_digits(&mut self) {
        while self.rest.first().is_some_and(u8::is_ascii_digit) {
            self.next();
        }
    }

    /// Skips the next byte and returns `true` if it is `byte`.
    fn skip_byte(&mut self, byte: u8) -> bool {
        let found = self.rest.first() == Some(&byte);
        if found {
            self.next();
        }
        found
    }

    /// Skips white space and then `end`. Returns `true` if the container is empty.
    fn skip_empty(&mut self, end: u8) -> bool {
        self.skip_space();
        self.skip_byte(end)
    }

    fn keyword(&mut self, rest: &[u8]) -> Option<()> {
        self.rest = self.rest.strip_prefix(rest)?;
        Some(())
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.rest.split_first()?;
        self.rest = rest;
        Some(*first)
    }

    /// Returns the next byte that is not white space.
    fn next_token(&mut self) -> Option<u8> {
        self.skip_space();
        self.next()
    }

    fn skip_space(&mut self) {
        while matches!(self.rest.first(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.next();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_json(text: &str) -> bool {
        Reader { rest: text.as_bytes(), violation: None }.read_document().is_some()
    }

    fn serde_accepts(text: &str) -> bool {
        serde_json::from_str::<IgnoredAny>(text).is_ok()
    }

    #[test]
    fn valid_json_is_accepted_and_invalid_json_is_not() {
        let long = "x".repeat(200);
        for text in [
            "null",
            " true ",
            "false",
            "0",
            "-0",
            "12",
            "-1.5e+10",
            "1E2",
            "\"\"",
            "[]",
            "{}",
            "[ ]",
            "{ }",
            "[1,2,[3,{\"a\":{}}]]",
            "\t{\"a\" : 1 , \"b\":[ ]}\r\n",
            r#""\"\\\/\b\f\n\r\t\u00aF""#,
            "\"ä€😀\"",
            &format!("\"{long}\""),
            &format!("\"{long}\\n{long}\""),
        ] {
            assert!(is_json(text) && serde_accepts(text), "{text}");
        }
        for text in [
            "",
            " ",
            "nul",
            "nulll",
            "tru",
            "01",
            "-",
            "1.",
            ".5",
            "1e",
            "+1",
            "1 2",
            "[",
            "]",
            "[1,]",
            "[,1]",
            "[1 2]",
            "{\"a\"}",
            "{\"a\":}",
            "{\"a\":1,}",
            "{a:1}",
            "{\"a\":1]",
            "[1}",
            "\"",
            "\"\\",
            "\"\\x\"",
            "\"\\u12g4\"",
            "\"\\u123",
            "\"\n\"",
            "\"\u{1f}\"",
            "[\"a\":1]",
            "{1:2}",
            "'a'",
            "NaN",
            &format!("\"{long}\n{long}\""),
            &format!("\"{long}"),
        ] {
            assert!(!is_json(text) && !serde_accepts(text), "{text}");
        }
    }

    #[test]
    fn more_than_100_levels_are_refused() {
        let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
        check(&nested(MAX_DEPTH)).unwrap();
        let error = check(&nested(MAX_DEPTH + 1)).unwrap_err();
        assert_eq!(error.to_string(), "is nested too deep: more than 100 levels");
        let objects = (0..MAX_DEPTH).fold("1".to_owned(), |inner, _| format!("{{\"k\":{inner}}}"));
        check(&objects).unwrap();
        assert!(matches!(check(&format!("[{objects}]")), Err(JsonError::TooDeep)));
    }

    #[test]
    fn a_lone_surrogate_is_refused_in_names_and_strings() {
        for whole in [r#""\ud83d\ude00""#, r#"{"\uD83D\uDE00":"\u00e9"}"#, r#""\ud7ff\ue000""#] {
            check(whole).unwrap();
        }
        for half in [
            r#""\ud83d""#,
            r#""\ude00""#,
            r#""\ud83dx""#,
            r#""\ud83d\n""#,
            r#""\ud83d\ud83d""#,
            r#""\ude00\ud83d""#,
            r#"{"\udfff":1}"#,
        ] {
            let error = check(half).unwrap_err();
            assert!(matches!(error, JsonError::Surrogate), "{half}: {error}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Random sequences of JSON tokens.
        #[test]
        fn the_validator_agrees_with_serde_json(
            parts in prop::collection::vec(
                prop::sample::select(vec![
                    "{", "}", "[", "]", ":", ",", "\"", "\\", "\"a\"", "\"a\":", "null", "true", "1",
                    "0", "-", ".", "e", "+", " ", "\n", "\\u00e9", "\\n", "é", "\u{1}", "[]", "{}",
                    "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
                ]),
                0..12,
            )
        ) {
            let text = parts.concat();
            prop_assert_eq!(is_json(&text), serde_accepts(&text), "{}", text);
        }

        /// Valid JSON with one replaced byte.
        #[test]
        fn the_validator_agrees_with_serde_json_on_nearly_valid_json(at in 0..60usize, character in "[ -~\n]") {
            let mut text = r#"{"a":[1,-2.5e3,true,null],"b":{"c":"\u00e9x"},"d":[{}, [] ]}"#.to_owned();
            text.replace_range(at..=at, &character);
            prop_assert_eq!(is_json(&text), serde_accepts(&text), "{}", text);
        }
    }
}
