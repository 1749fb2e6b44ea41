//! A check that a text is JSON, in one pass and without building a value.
//!
//! It is asked twice a call, of texts that are up to 128 KiB long, so that long
//! strings are passed over in blocks. A text that it does not know to be JSON is
//! given to `serde_json`, which has the last word and says what is wrong.

use std::str::FromStr;

use serde::de::IgnoredAny;

/// JSON text, any value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Json(String);

impl Json {
    /// The text, if it is JSON, without the space around it.
    pub(crate) fn new(mut text: String) -> Result<Json, serde_json::Error> {
        check(&text)?;
        let trimmed = text.trim_matches([' ', '\t', '\r', '\n']);
        if trimmed.len() < text.len() {
            text = trimmed.to_owned();
        }
        Ok(Json(text))
    }

    /// The text.
    pub fn get(&self) -> &str {
        &self.0
    }

    /// The text, to keep.
    pub fn into_text(self) -> String {
        self.0
    }
}

impl FromStr for Json {
    type Err = serde_json::Error;

    fn from_str(text: &str) -> Result<Json, serde_json::Error> {
        Json::new(text.to_owned())
    }
}

/// An error if a text is not JSON.
pub(crate) fn check(text: &str) -> Result<(), serde_json::Error> {
    match Reader(text.as_bytes()).reads_one_value() {
        Some(()) => Ok(()),
        None => serde_json::from_str::<IgnoredAny>(text).map(drop),
    }
}

/// The rest of the text. Its functions return `None` if this is not JSON.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn reads_one_value(mut self) -> Option<()> {
        // The bracket that ends each array and object that is open.
        let mut open = Vec::new();
        loop {
            match self.next_token()? {
                b'[' if self.ends_at_once(b']') => {}
                b'[' => {
                    open.push(b']');
                    continue;
                }
                b'{' if self.ends_at_once(b'}') => {}
                b'{' => {
                    open.push(b'}');
                    self.name()?;
                    continue;
                }
                b'"' => self.string()?,
                b't' => self.word(b"rue")?,
                b'f' => self.word(b"alse")?,
                b'n' => self.word(b"ull")?,
                first => self.number(first)?,
            }
            // A value has ended, and perhaps the container that holds it.
            loop {
                let Some(end) = open.last() else {
                    self.skip_space();
                    return self.0.is_empty().then_some(());
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

    /// `"name":`
    fn name(&mut self) -> Option<()> {
        (self.next_token()? == b'"').then_some(())?;
        self.string()?;
        (self.next_token()? == b':').then_some(())
    }

    /// The rest of a string, behind its opening quote.
    fn string(&mut self) -> Option<()> {
        loop {
            self.skip_plain();
            match self.next()? {
                b'"' => return Some(()),
                b'\\' => match self.next()? {
                    b'u' => {
                        let (digits, rest) = self.0.split_at_checked(4)?;
                        digits.iter().all(u8::is_ascii_hexdigit).then_some(())?;
                        self.0 = rest;
                    }
                    sign => b"\"\\/bfnrt".contains(&sign).then_some(())?,
                },
                // Only control characters are left.
                _ => return None,
            }
        }
    }

    /// Everything up to a quote, a backslash or a control character.
    fn skip_plain(&mut self) {
        let is_special = |byte: &u8| *byte < b' ' || *byte == b'"' || *byte == b'\\';
        // Without a way out of the block, so that it is one for the processor too.
        let has_special =
            |block: &[u8; 64]| block.iter().fold(false, |found, byte| found | is_special(byte));
        while let Some((block, rest)) = self.0.split_first_chunk()
            && !has_special(block)
        {
            self.0 = rest;
        }
        let plain = self.0.iter().position(is_special).unwrap_or(self.0.len());
        self.0 = &self.0[plain..];
    }

    fn number(&mut self, first: u8) -> Option<()> {
        let first = if first == b'-' { self.next()? } else { first };
        match first {
            b'0' => {}
            b'1'..=b'9' => self.skip_digits(),
            _ => return None,
        }
        if self.takes(b'.') {
            self.digits()?;
        }
        if matches!(self.0.first(), Some(b'e' | b'E')) {
            self.next();
            if matches!(self.0.first(), Some(b'+' | b'-')) {
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
        while self.0.first().is_some_and(u8::is_ascii_digit) {
            self.next();
        }
    }

    /// Skips the next byte if it is this one, and returns `true` if it was.
    fn takes(&mut self, byte: u8) -> bool {
        let found = self.0.first() == Some(&byte);
        if found {
            self.next();
        }
        found
    }

    /// The same behind space.
    fn ends_at_once(&mut self, end: u8) -> bool {
        self.skip_space();
        self.takes(end)
    }

    fn word(&mut self, rest: &[u8]) -> Option<()> {
        self.0 = self.0.strip_prefix(rest)?;
        Some(())
    }

    fn next(&mut self) -> Option<u8> {
        let (first, rest) = self.0.split_first()?;
        self.0 = rest;
        Some(*first)
    }

    /// Returns the next byte that is not white space.
    fn next_token(&mut self) -> Option<u8> {
        self.skip_space();
        self.next()
    }

    fn skip_space(&mut self) {
        while matches!(self.0.first(), Some(b' ' | b'\t' | b'\r' | b'\n')) {
            self.next();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn is_json(text: &str) -> bool {
        Reader(text.as_bytes()).reads_one_value().is_some()
    }

    fn serde_takes(text: &str) -> bool {
        serde_json::from_str::<IgnoredAny>(text).is_ok()
    }

    #[test]
    fn it_knows_what_is_json_and_what_is_not() {
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
            assert!(is_json(text) && serde_takes(text), "{text}");
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
            assert!(!is_json(text) && !serde_takes(text), "{text}");
        }
    }

    #[test]
    fn depth_is_no_danger() {
        let (open, close) = ("[".repeat(100_000), "]".repeat(100_000));
        assert!(is_json(&format!("{open}{close}")));
        assert!(!is_json(&open));
    }

    #[test]
    fn the_space_around_it_is_left_out() {
        assert_eq!(Json::new("\n {\"a\": 1} ".to_owned()).unwrap().get(), r#"{"a": 1}"#);
        assert!(Json::new("no".to_owned()).is_err());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        /// Of what JSON is made of, put together as it comes.
        #[test]
        fn it_agrees_with_serde_json(
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
            prop_assert_eq!(is_json(&text), serde_takes(&text), "{}", text);
        }

        /// One byte of a right text is another one.
        #[test]
        fn it_agrees_on_what_is_nearly_json(at in 0..60usize, sign in "[ -~\n]") {
            let mut text = r#"{"a":[1,-2.5e3,true,null],"b":{"c":"\u00e9x"},"d":[{}, [] ]}"#.to_owned();
            text.replace_range(at..=at, &sign);
            prop_assert_eq!(is_json(&text), serde_takes(&text), "{}", text);
        }
    }
}
