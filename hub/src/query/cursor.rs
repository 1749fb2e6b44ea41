//! Position of the parser in its tokens, and the names and paths found there.

use super::QueryError;
use super::lexer::{Token, TokenKind, tokens};
use super::syntax::{PropertyPath, Source};

/// Limit of nested parentheses, `NOT`s, minus signs and arrays.
const MAX_DEPTH: usize = 64;

/// Words that are not names of properties unless they are in double brackets.
/// `TOP` is not among them: it is a keyword in one place only, and a likely name.
const KEYWORDS: &[&str] = &[
    "select",
    "from",
    "where",
    "group",
    "by",
    "as",
    "and",
    "or",
    "not",
    "in",
    "nin",
    "true",
    "false",
    "null",
    "undefined",
];

/// Tokens, and the number of those that were read.
pub(super) struct Cursor {
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
    source: Source,
}

impl Cursor {
    /// Returns a cursor before the first token of `text`.
    pub(super) fn new(text: &str) -> Result<Cursor, QueryError> {
        let mut cursor =
            Cursor { tokens: tokens(text)?, next: 0, depth: 0, source: Source::Devices };
        // A path may begin with the name of the collection, which is only known
        // after FROM. Columns come before it, so look ahead.
        cursor.source = cursor.look_ahead_for_source();
        Ok(cursor)
    }

    /// Parses a path, without the name of the collection.
    pub(super) fn path(&mut self, wanted: &str) -> Result<PropertyPath, QueryError> {
        let mut segments = vec![self.name(wanted)?];
        while self.accept_symbol(".") {
            segments.push(self.name("a property name")?);
        }
        if segments.len() > 1 && segments[0].eq_ignore_ascii_case("devices") {
            segments.remove(0);
            let modules = self.source == Source::Modules
                && segments.len() > 1
                && segments[0].eq_ignore_ascii_case("modules");
            if modules {
                segments.remove(0);
            }
        }
        let root =
            protocol::twin::FIELDS.iter().find(|field| segments[0].eq_ignore_ascii_case(field));
        if let Some(root) = root {
            segments[0] = (*root).to_owned();
        }
        Ok(PropertyPath(segments))
    }

    /// Parses one name; keywords need double brackets.
    pub(super) fn name(&mut self, wanted: &str) -> Result<String, QueryError> {
        let name = match self.kind() {
            TokenKind::Bracketed(name) => name.clone(),
            TokenKind::Word(word) if !KEYWORDS.iter().any(|k| word.eq_ignore_ascii_case(k)) => {
                word.clone()
            }
            TokenKind::Word(word)
                if self.next > 0 && self.tokens[self.next - 1].kind == TokenKind::Symbol(".") =>
            {
                let reason = format!(
                    "expected {wanted}, found the keyword `{word}`; write `[[{word}]]` for a property"
                );
                return Err(QueryError::at(self.at(), reason));
            }
            _ => return Err(self.expected(wanted)),
        };
        self.next += 1;
        Ok(name)
    }

    /// Returns the next word if an opening parenthesis follows it.
    pub(super) fn function(&self) -> Option<String> {
        match (self.kind(), self.second()) {
            (TokenKind::Word(word), Some(TokenKind::Symbol("(")))
                if !KEYWORDS.iter().any(|k| word.eq_ignore_ascii_case(k)) =>
            {
                Some(word.clone())
            }
            _ => None,
        }
    }

    /// Parses one level deeper, down to [`MAX_DEPTH`].
    pub(super) fn deeper<T>(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<T, QueryError>,
    ) -> Result<T, QueryError> {
        if self.depth == MAX_DEPTH {
            let reason = format!("nested deeper than {MAX_DEPTH} levels");
            return Err(QueryError::at(self.at(), reason));
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    /// Returns the next token.
    pub(super) fn kind(&self) -> &TokenKind {
        &self.tokens[self.next.min(self.tokens.len() - 1)].kind
    }

    /// Returns the position of the next token, in characters from 1.
    pub(super) fn at(&self) -> usize {
        self.tokens[self.next.min(self.tokens.len() - 1)].at
    }

    /// Returns the error that `wanted` was expected here.
    pub(super) fn expected(&self, wanted: &str) -> QueryError {
        QueryError::at(self.at(), format!("expected {wanted}, found {}", self.kind()))
    }

    /// Skips the next token if it is this word, in any case; returns whether it was.
    pub(super) fn accept_word(&mut self, word: &str) -> bool {
        let is = matches!(self.kind(), TokenKind::Word(found) if found.eq_ignore_ascii_case(word));
        self.next += usize::from(is);
        is
    }

    /// Skips the next token if it is this symbol; returns whether it was.
    pub(super) fn accept_symbol(&mut self, symbol: &str) -> bool {
        let is = matches!(self.kind(), TokenKind::Symbol(found) if *found == symbol);
        self.next += usize::from(is);
        is
    }

    /// Skips the next token, which must be this word.
    pub(super) fn expect_word(&mut self, word: &str) -> Result<(), QueryError> {
        if self.accept_word(word) { Ok(()) } else { Err(self.expected(word)) }
    }

    /// Skips the next token, which must be this symbol.
    pub(super) fn expect_symbol(&mut self, symbol: &str) -> Result<(), QueryError> {
        if self.accept_symbol(symbol) { Ok(()) } else { Err(self.expected(&format!("`{symbol}`"))) }
    }

    /// Skips the next token.
    pub(super) fn skip(&mut self) {
        self.next += 1;
    }

    /// Returns the token after the next one.
    pub(super) fn second(&self) -> Option<&TokenKind> {
        self.tokens.get(self.next + 1).map(|token| &token.kind)
    }

    fn look_ahead_for_source(&self) -> Source {
        let is = |at: usize, wanted: &str| match self.tokens.get(at).map(|t| &t.kind) {
            Some(TokenKind::Word(word)) => word.eq_ignore_ascii_case(wanted),
            Some(TokenKind::Symbol(symbol)) => *symbol == wanted,
            _ => false,
        };
        let from = (0..self.tokens.len()).find(|at| is(*at, "from"));
        match from {
            Some(at) if is(at + 1, "devices") && is(at + 2, ".") && is(at + 3, "modules") => {
                Source::Modules
            }
            _ => Source::Devices,
        }
    }
}
