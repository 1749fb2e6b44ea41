//! Position of the parser in the tokens, and parsing of names and paths.

use super::QueryError;
use super::lexer::{Token, TokenKind, tokens};
use super::syntax::{PropertyPath, Source};

/// Maximum nesting depth of parentheses, `NOT`s, minus signs and arrays.
const MAX_DEPTH: usize = 64;

/// Keywords. Properties with these names must be in double brackets. `TOP` is not one of
/// them: it is a keyword only after SELECT, and a plausible property name.
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

/// A position in a list of tokens.
pub(super) struct Cursor {
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
    source: Source,
}

impl Cursor {
    /// Creates a cursor at the first token of `text`.
    pub(super) fn new(text: &str) -> Result<Cursor, QueryError> {
        let mut cursor =
            Cursor { tokens: tokens(text)?, next: 0, depth: 0, source: Source::Devices };
        // Paths in columns can begin with the name of the collection, but the collection
        // follows later, after FROM.
        cursor.source = cursor.look_ahead_for_source();
        Ok(cursor)
    }

    /// Parses a path and removes the name of the collection.
    pub(super) fn path(&mut self, wanted: &str) -> Result<PropertyPath, QueryError> {
        let mut segments = vec![self.name(wanted)?];
        while self.accept_symbol(".") {
            segments.push(self.name("a property name")?);
        }
        if segments.len() > 1 && segments[0].eq_ignore_ascii_case("devices") {
            segments.remove(0);
            let collection = self.source.name();
            if segments.len() > 1 && collection.is_some_and(|c| segments[0].eq_ignore_ascii_case(c))
            {
                segments.remove(0);
            }
        }
        let fields = match self.source {
            Source::Jobs => {
                // The documentation of IoT Hub uses both names.
                if segments[0].eq_ignore_ascii_case("createdTimeUtc") {
                    "createdDateTimeUtc".clone_into(&mut segments[0]);
                }
                protocol::job::DEVICE_JOB_FIELDS
            }
            Source::Devices | Source::Modules => protocol::twin::FIELDS,
        };
        let root = fields.iter().find(|field| segments[0].eq_ignore_ascii_case(field));
        if let Some(root) = root {
            segments[0] = (*root).to_owned();
        }
        Ok(PropertyPath(segments))
    }

    /// Parses a name. Keywords must be in double brackets.
    pub(super) fn name(&mut self, wanted: &str) -> Result<String, QueryError> {
        let name = match self.peek() {
            TokenKind::Bracketed(name) => name.clone(),
            TokenKind::Identifier(name)
                if !KEYWORDS.iter().any(|k| name.eq_ignore_ascii_case(k)) =>
            {
                name.clone()
            }
            TokenKind::Identifier(name)
                if self.next > 0 && self.tokens[self.next - 1].kind == TokenKind::Symbol(".") =>
            {
                let reason = format!(
                    "expected {wanted}, found the keyword `{name}`; write `[[{name}]]` for a property"
                );
                return Err(QueryError::at(self.position(), reason));
            }
            _ => return Err(self.expected(wanted)),
        };
        self.next += 1;
        Ok(name)
    }

    /// Returns the next token if it is the name of a function: an identifier followed by an
    /// opening parenthesis.
    pub(super) fn function(&self) -> Option<String> {
        match (self.peek(), self.peek_second()) {
            (TokenKind::Identifier(name), Some(TokenKind::Symbol("(")))
                if !KEYWORDS.iter().any(|k| name.eq_ignore_ascii_case(k)) =>
            {
                Some(name.clone())
            }
            _ => None,
        }
    }

    /// Parses one level deeper. Fails beyond [`MAX_DEPTH`].
    pub(super) fn deeper<T>(
        &mut self,
        parse: impl FnOnce(&mut Self) -> Result<T, QueryError>,
    ) -> Result<T, QueryError> {
        if self.depth == MAX_DEPTH {
            let reason = format!("nested deeper than {MAX_DEPTH} levels");
            return Err(QueryError::at(self.position(), reason));
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    /// Returns the next token.
    pub(super) fn peek(&self) -> &TokenKind {
        &self.tokens[self.next.min(self.tokens.len() - 1)].kind
    }

    /// Returns the position of the next token, in characters from 1.
    pub(super) fn position(&self) -> usize {
        self.tokens[self.next.min(self.tokens.len() - 1)].at
    }

    /// Returns the error that the next token is not `wanted`.
    pub(super) fn expected(&self, wanted: &str) -> QueryError {
        QueryError::at(self.position(), format!("expected {wanted}, found {}", self.peek()))
    }

    /// Skips the next token and returns `true` if it is this keyword, ignoring case.
    pub(super) fn accept_keyword(&mut self, keyword: &str) -> bool {
        let is = matches!(self.peek(), TokenKind::Identifier(found) if found.eq_ignore_ascii_case(keyword));
        self.next += usize::from(is);
        is
    }

    /// Skips the next token and returns `true` if it is this symbol.
    pub(super) fn accept_symbol(&mut self, symbol: &str) -> bool {
        let is = matches!(self.peek(), TokenKind::Symbol(found) if *found == symbol);
        self.next += usize::from(is);
        is
    }

    /// Skips the next token, or fails if it is not this keyword.
    pub(super) fn expect_keyword(&mut self, keyword: &str) -> Result<(), QueryError> {
        if self.accept_keyword(keyword) { Ok(()) } else { Err(self.expected(keyword)) }
    }

    /// Skips the next token, or fails if it is not this symbol.
    pub(super) fn expect_symbol(&mut self, symbol: &str) -> Result<(), QueryError> {
        if self.accept_symbol(symbol) { Ok(()) } else { Err(self.expected(&format!("`{symbol}`"))) }
    }

    /// Fails if there is another token.
    pub(super) fn expect_end(&self) -> Result<(), QueryError> {
        match self.peek() {
            TokenKind::End => Ok(()),
            _ => Err(self.expected("the end of the query")),
        }
    }

    /// Skips the next token.
    pub(super) fn skip(&mut self) {
        self.next += 1;
    }

    /// Returns the token after the next one.
    pub(super) fn peek_second(&self) -> Option<&TokenKind> {
        self.tokens.get(self.next + 1).map(|token| &token.kind)
    }

    fn look_ahead_for_source(&self) -> Source {
        let is = |at: usize, wanted: &str| match self.tokens.get(at).map(|t| &t.kind) {
            Some(TokenKind::Identifier(name)) => name.eq_ignore_ascii_case(wanted),
            Some(TokenKind::Symbol(symbol)) => *symbol == wanted,
            _ => false,
        };
        let from = (0..self.tokens.len()).find(|at| is(*at, "from"));
        match from {
            Some(at) if is(at + 1, "devices") && is(at + 2, ".") => {
                let named = |source: &Source| source.name().is_some_and(|name| is(at + 3, name));
                [Source::Modules, Source::Jobs].into_iter().find(named).unwrap_or(Source::Devices)
            }
            _ => Source::Devices,
        }
    }
}
