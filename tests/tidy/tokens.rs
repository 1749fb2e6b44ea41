//! A lexer for the subset of Rust that the rules need.
//!
//! The lexer skips comments and treats numbers as words. It expects code that rustfmt has
//! formatted and does not detect errors.

/// A token and its line number, which starts at 1.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) line: usize,
    pub(super) is: Lexeme,
}

/// The text of a token.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Lexeme {
    /// An identifier, a keyword or a number.
    Word(String),
    /// The contents of a string literal with unresolved escapes.
    Text(String),
    /// `::`
    Colons,
    /// Any other character.
    Mark(char),
}

impl Token {
    /// Returns the word if the token is a word.
    pub(super) fn word(&self) -> Option<&str> {
        match &self.is {
            Lexeme::Word(word) => Some(word),
            _ => None,
        }
    }

    /// Returns `true` if the token is this keyword or identifier.
    pub(super) fn is_word(&self, word: &str) -> bool {
        self.word() == Some(word)
    }

    /// Returns `true` if the token is this character.
    pub(super) fn is_mark(&self, mark: char) -> bool {
        self.is == Lexeme::Mark(mark)
    }
}

/// Splits a source into tokens.
pub(super) fn tokens(text: &str) -> Vec<Token> {
    let mut lexer = Lexer { rest: text, line: 1 };
    let mut tokens = Vec::new();
    while let Some(character) = lexer.rest.chars().next() {
        let line = lexer.line;
        let is = match character {
            _ if lexer.rest.starts_with("//") => {
                lexer.take(lexer.rest.find('\n').unwrap_or(lexer.rest.len()));
                continue;
            }
            _ if character.is_whitespace() => {
                lexer.take(character.len_utf8());
                continue;
            }
            _ if is_raw_string(lexer.rest) => Lexeme::Text(lexer.raw_string()),
            '"' => Lexeme::Text(lexer.string()),
            '\'' => {
                lexer.character();
                continue;
            }
            _ if is_word(character) => {
                let end = lexer.rest.find(|c| !is_word(c)).unwrap_or(lexer.rest.len());
                Lexeme::Word(lexer.take(end).to_owned())
            }
            _ if lexer.rest.starts_with("::") => {
                lexer.take(2);
                Lexeme::Colons
            }
            _ => {
                lexer.take(character.len_utf8());
                Lexeme::Mark(character)
            }
        };
        tokens.push(Token { line, is });
    }
    tokens
}

/// Returns the index of the bracket that closes the bracket at `open`.
pub(super) fn end_of_group(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0_i32;
    for (index, token) in tokens.iter().enumerate().skip(open) {
        match token.is {
            Lexeme::Mark('(' | '[' | '{') => depth += 1,
            Lexeme::Mark(')' | ']' | '}') => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return index;
        }
    }
    tokens.len()
}

fn is_word(character: char) -> bool {
    character.is_alphanumeric() || character == '_'
}

fn is_raw_string(rest: &str) -> bool {
    let rest = rest.strip_prefix('b').unwrap_or(rest);
    rest.strip_prefix('r').is_some_and(|rest| rest.trim_start_matches('#').starts_with('"'))
}

struct Lexer<'a> {
    rest: &'a str,
    line: usize,
}

impl<'a> Lexer<'a> {
    fn take(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.line += taken.matches('\n').count();
        self.rest = rest;
        taken
    }

    fn string(&mut self) -> String {
        let mut escaped = true;
        let end = self.rest.find(|c| {
            let ends = c == '"' && !escaped;
            escaped = c == '\\' && !escaped;
            ends
        });
        let taken = self.take(end.map_or(self.rest.len(), |end| end + 1));
        taken.trim_matches('"').to_owned()
    }

    fn raw_string(&mut self) -> String {
        let start = self.rest.find('"').expect("a raw string has a quotation mark");
        let hashes = self.rest[..start].matches('#').count();
        self.take(start + 1);
        let end = format!("\"{}", "#".repeat(hashes));
        let text = self.take(self.rest.find(&end).unwrap_or(self.rest.len()));
        self.take(end.len().min(self.rest.len()));
        text.to_owned()
    }

    /// Skips a character literal, or the apostrophe of a lifetime.
    fn character(&mut self) {
        let mut characters = self.rest.char_indices().skip(1);
        let first = characters.next();
        let (end, second) = characters.next().unwrap_or((1, ' '));
        match first {
            Some((_, '\\')) => {
                let escape = end + second.len_utf8();
                let close = self.rest[escape..].find('\'').unwrap_or_default();
                self.take(escape + close + 1);
            }
            _ if second == '\'' => drop(self.take(end + 1)),
            _ => drop(self.take(1)),
        }
    }
}

#[test]
fn the_lexer_distinguishes_words_and_strings_and_skips_comments_and_characters() {
    let text = r##"a::b // c
        '"' '\'' '\u{1}' 'static "d \" e" r#"f " g"# 1"##;
    let found: Vec<(usize, Lexeme)> = tokens(text).into_iter().map(|t| (t.line, t.is)).collect();
    let word = |word: &str| Lexeme::Word(word.to_owned());
    let text = |text: &str| Lexeme::Text(text.to_owned());
    assert_eq!(
        found,
        [
            (1, word("a")),
            (1, Lexeme::Colons),
            (1, word("b")),
            (2, word("static")),
            (2, text("d \\\" e")),
            (2, text("f \" g")),
            (2, word("1")),
        ]
    );
}
