//! Lexer of queries.
//!
//! Each token has a position for error messages, counted in characters from 1 as in an
//! editor. Keywords are identifiers here; the parser distinguishes them.

use super::QueryError;

/// A token and its position.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) at: usize,
    pub(super) kind: TokenKind,
}

/// Kind of a token, with its value.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum TokenKind {
    /// Keyword, root field or property.
    Identifier(String),
    /// Name in double brackets, which is never a keyword: `[[group]]`.
    Bracketed(String),
    String(String),
    Number(f64),
    /// Operator or punctuation mark.
    Symbol(&'static str),
    End,
}

impl std::fmt::Display for TokenKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TokenKind::Identifier(name) => write!(f, "`{name}`"),
            TokenKind::Bracketed(name) => write!(f, "`[[{name}]]`"),
            TokenKind::String(text) => write!(f, "the string '{text}'"),
            TokenKind::Number(number) => write!(f, "the number {number}"),
            TokenKind::Symbol(symbol) => write!(f, "`{symbol}`"),
            TokenKind::End => f.write_str("the end of the query"),
        }
    }
}

/// Symbols, longest first, so that `<=` is not split into `<` and `=`.
const SYMBOLS: &[&str] =
    &["!=", "<>", "<=", ">=", "=", "<", ">", "(", ")", "[", "]", ",", ".", "*", "+", "-", "/", "%"];

/// Returns all tokens of `text`. The last one is [`TokenKind::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, QueryError> {
    let mut lexer = Lexer { rest: text, at: 1, tokens: Vec::new() };
    while lexer.step()? {}
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    rest: &'a str,
    at: usize,
    tokens: Vec<Token>,
}

impl<'a> Lexer<'a> {
    fn step(&mut self) -> Result<bool, QueryError> {
        let blank = self.rest.len() - self.rest.trim_start().len();
        self.take(blank);
        let at = self.at;
        let Some(first) = self.rest.chars().next() else {
            self.tokens.push(Token { at, kind: TokenKind::End });
            return Ok(false);
        };
        let kind = match first {
            '\'' | '"' => self.text(first)?,
            '0'..='9' => self.number()?,
            c if starts_identifier(c) => {
                TokenKind::Identifier(self.take_while(continues_identifier).to_owned())
            }
            '[' => match self.bracketed()? {
                Some(name) => name,
                None => self.symbol()?,
            },
            _ => self.symbol()?,
        };
        self.tokens.push(Token { at, kind });
        Ok(true)
    }

    fn symbol(&mut self) -> Result<TokenKind, QueryError> {
        match SYMBOLS.iter().find(|symbol| self.rest.starts_with(**symbol)) {
            Some(symbol) => {
                self.take(symbol.len());
                Ok(TokenKind::Symbol(symbol))
            }
            None => {
                let found = self.rest.chars().next().unwrap_or_default();
                Err(QueryError::at(
                    self.at,
                    format!("expected a name, a value or an operator, found `{found}`"),
                ))
            }
        }
    }

    /// Reads a name in double brackets. Returns `None` if `[[` begins a nested array, which
    /// is possible except after a dot.
    fn bracketed(&mut self) -> Result<Option<TokenKind>, QueryError> {
        let Some(inside) = self.rest.strip_prefix("[[") else { return Ok(None) };
        let after_dot =
            matches!(self.tokens.last(), Some(Token { kind: TokenKind::Symbol("."), .. }));
        let end = inside.find("]]");
        let name = end.map(|end| &inside[..end]).unwrap_or_default();
        let is_name = name.chars().next().is_some_and(starts_identifier)
            && name.chars().all(|c| continues_identifier(c) || c == '-' || c == ' ')
            && !["true", "false", "null", "undefined"].iter().any(|w| name.eq_ignore_ascii_case(w));
        match end {
            Some(end) if is_name || (after_dot && !name.is_empty()) => {
                self.take(end + "[[]]".len());
                Ok(Some(TokenKind::Bracketed(name.to_owned())))
            }
            _ if after_dot => Err(QueryError::at(
                self.at,
                "expected a property name between `[[` and `]]`".into(),
            )),
            _ => Ok(None),
        }
    }

    fn number(&mut self) -> Result<TokenKind, QueryError> {
        let at = self.at;
        let bad = |text: &str| QueryError::at(at, format!("expected a number, found `{text}`"));
        if self.rest.starts_with("0x") || self.rest.starts_with("0X") {
            let text = self.take_while(continues_identifier);
            // A double represents 13 hexadecimal digits exactly; longer numbers are rounded.
            let digits = &text[2..];
            let value = u64::from_str_radix(digits, 16).map_err(|_| bad(text))?;
            return Ok(TokenKind::Number(value as f64));
        }
        let bytes = self.rest.as_bytes();
        let digits = |from: usize| bytes[from..].iter().take_while(|b| b.is_ascii_digit()).count();
        let mut len = digits(0);
        if bytes.get(len) == Some(&b'.') && digits(len + 1) > 0 {
            len += 1 + digits(len + 1);
        }
        if matches!(bytes.get(len), Some(b'e' | b'E')) {
            let signed = usize::from(matches!(bytes.get(len + 1), Some(b'+' | b'-')));
            let exponent =
                if bytes.len() > len + 1 + signed { digits(len + 1 + signed) } else { 0 };
            if exponent > 0 {
                len += 1 + signed + exponent;
            }
        }
        if self.rest[len..].chars().next().is_some_and(continues_identifier) {
            return Err(bad(self.take_while(|c| continues_identifier(c) || c == '.')));
        }
        let text = self.take(len);
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(TokenKind::Number(value)),
            _ => Err(bad(text)),
        }
    }

    fn text(&mut self, quote: char) -> Result<TokenKind, QueryError> {
        let start = self.at;
        let mut value = String::new();
        self.take(1);
        loop {
            let at = self.at;
            let Some(c) = self.rest.chars().next() else {
                return Err(QueryError::at(
                    start,
                    format!("expected a closing {quote} for the string that begins here"),
                ));
            };
            self.take(c.len_utf8());
            match c {
                '\\' => value.push(self.escape(at)?),
                c if c == quote => return Ok(TokenKind::String(value)),
                c => value.push(c),
            }
        }
    }

    fn escape(&mut self, at: usize) -> Result<char, QueryError> {
        let expected = || {
            let reason = r#"expected ', ", \ or u and four hex digits after a backslash"#;
            QueryError::at(at, reason.into())
        };
        let c = self.rest.chars().next().ok_or_else(expected)?;
        self.take(c.len_utf8());
        match c {
            '\'' | '"' | '\\' => Ok(c),
            'u' => {
                let high = self.hex4().ok_or_else(expected)?;
                if !(0xD800..0xDC00).contains(&high) {
                    return char::from_u32(high).ok_or_else(expected);
                }
                // Characters outside the basic plane are encoded as two surrogates.
                let rest = self.rest.strip_prefix("\\u").ok_or_else(expected)?;
                self.take(self.rest.len() - rest.len());
                let low = self.hex4().ok_or_else(expected)?;
                let low =
                    low.checked_sub(0xDC00).filter(|low| *low < 0x400).ok_or_else(expected)?;
                char::from_u32(0x10000 + ((high - 0xD800) << 10) + low).ok_or_else(expected)
            }
            _ => Err(expected()),
        }
    }

    fn hex4(&mut self) -> Option<u32> {
        let digits = self.rest.get(..4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()))?;
        self.take(4);
        u32::from_str_radix(digits, 16).ok()
    }

    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        self.at += taken.chars().count();
        taken
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'a str {
        let len = self.rest.find(|c| !wanted(c)).unwrap_or(self.rest.len());
        self.take(len)
    }
}

fn starts_identifier(c: char) -> bool {
    c.is_alphabetic() || c == '_' || c == '$'
}

fn continues_identifier(c: char) -> bool {
    starts_identifier(c) || c.is_numeric()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<TokenKind> {
        tokens(text).unwrap().into_iter().map(|token| token.kind).collect()
    }

    #[test]
    fn strings_can_contain_escapes() {
        for (text, value) in [
            (r"'a\'b'", "a'b"),
            (r#""a\"b""#, "a\"b"),
            (r"'back\\slash'", "back\\slash"),
            (r"'\u00e9'", "é"),
            (r"'\ud83d\ude00'", "😀"),
            ("'it is \"so\"'", "it is \"so\""),
        ] {
            assert_eq!(kinds(text), [TokenKind::String(value.into()), TokenKind::End], "{text}");
        }
    }

    #[test]
    fn decimal_and_hexadecimal_numbers_are_read() {
        for (text, value) in [
            ("7", 7.0),
            ("0.5", 0.5),
            ("1e3", 1000.0),
            ("2.5E-1", 0.25),
            ("0xFF", 255.0),
            ("0x1a", 26.0),
        ] {
            assert_eq!(kinds(text), [TokenKind::Number(value), TokenKind::End], "{text}");
        }
    }

    #[test]
    fn double_brackets_enclose_a_name_or_nested_arrays() {
        assert_eq!(kinds("[[group]]")[0], TokenKind::Bracketed("group".into()));
        assert_eq!(kinds("tags.[[1 a]]")[2], TokenKind::Bracketed("1 a".into()));
        assert_eq!(kinds("[[1]]")[..2], [TokenKind::Symbol("["), TokenKind::Symbol("[")]);
        assert_eq!(kinds("[['a']]")[..2], [TokenKind::Symbol("["), TokenKind::Symbol("[")]);
    }

    #[test]
    fn an_error_has_the_position_of_its_cause() {
        for (text, at) in [
            ("a = 'open", 5),
            (r"'\x'", 2),
            (r"'\ud800x'", 2),
            ("é ; ", 3),
            ("12ab", 1),
            ("0xZZ", 1),
            ("tags.[[]]", 6),
        ] {
            assert_eq!(tokens(text).unwrap_err().position(), Some(at), "{text}");
        }
    }
}
