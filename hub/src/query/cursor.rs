//! The place the parser has come to in its tokens, and the words and paths it
//! finds there.

use super::QueryError;
use super::lexer::{Kind, Token, tokens};
use super::syntax::{Path, Source};

/// Parentheses, `NOT`s, minus signs and arrays within each other.
const MAX_DEPTH: usize = 64;

// Not `TOP`: it is a keyword in one place only, and a likely property.
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

/// Root fields of a twin; names are matched in any case and come back as here.
const ROOT_FIELDS: &[&str] = &[
    "deviceId",
    "moduleId",
    "etag",
    "deviceEtag",
    "version",
    "status",
    "statusReason",
    "statusUpdateTime",
    "connectionState",
    "connectionStateUpdatedTime",
    "lastActivityTime",
    "authenticationType",
    "cloudToDeviceMessageCount",
    "x509Thumbprint",
    "capabilities",
    "modelId",
    "deviceScope",
    "parentScopes",
    "configurations",
    "managedBy",
    "tags",
    "properties",
];

/// Tokens, and how many of them were read.
pub(super) struct Cursor {
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
    source: Source,
}

impl Cursor {
    /// Before the first token of `text`.
    pub(super) fn new(text: &str) -> Result<Cursor, QueryError> {
        let mut cursor =
            Cursor { tokens: tokens(text)?, next: 0, depth: 0, source: Source::Devices };
        // Whether a path begins with the collection's name is known only after
        // FROM, but columns come before it: look ahead.
        cursor.source = cursor.look_ahead_for_source();
        Ok(cursor)
    }

    pub(super) fn path(&mut self, wanted: &str) -> Result<Path, QueryError> {
        let mut segments = vec![self.name(wanted)?];
        while self.accept_sign(".") {
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
        let root = ROOT_FIELDS.iter().find(|field| segments[0].eq_ignore_ascii_case(field));
        if let Some(root) = root {
            segments[0] = (*root).to_owned();
        }
        Ok(Path(segments))
    }

    pub(super) fn name(&mut self, wanted: &str) -> Result<String, QueryError> {
        let name = match self.kind() {
            Kind::Bracketed(name) => name.clone(),
            Kind::Word(word) if !KEYWORDS.iter().any(|k| word.eq_ignore_ascii_case(k)) => {
                word.clone()
            }
            Kind::Word(word)
                if self.next > 0 && self.tokens[self.next - 1].kind == Kind::Sign(".") =>
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

    /// The word here, if an opening parenthesis follows it.
    pub(super) fn function(&self) -> Option<String> {
        match (self.kind(), self.second()) {
            (Kind::Word(word), Some(Kind::Sign("(")))
                if !KEYWORDS.iter().any(|k| word.eq_ignore_ascii_case(k)) =>
            {
                Some(word.clone())
            }
            _ => None,
        }
    }

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

    pub(super) fn kind(&self) -> &Kind {
        &self.tokens[self.next.min(self.tokens.len() - 1)].kind
    }

    pub(super) fn at(&self) -> usize {
        self.tokens[self.next.min(self.tokens.len() - 1)].at
    }

    pub(super) fn expected(&self, wanted: &str) -> QueryError {
        QueryError::at(self.at(), format!("expected {wanted}, found {}", self.kind()))
    }

    pub(super) fn accept_word(&mut self, word: &str) -> bool {
        let is = matches!(self.kind(), Kind::Word(found) if found.eq_ignore_ascii_case(word));
        self.next += usize::from(is);
        is
    }

    pub(super) fn accept_sign(&mut self, sign: &str) -> bool {
        let is = matches!(self.kind(), Kind::Sign(found) if *found == sign);
        self.next += usize::from(is);
        is
    }

    pub(super) fn expect_word(&mut self, word: &str) -> Result<(), QueryError> {
        if self.accept_word(word) { Ok(()) } else { Err(self.expected(word)) }
    }

    pub(super) fn expect_sign(&mut self, sign: &str) -> Result<(), QueryError> {
        if self.accept_sign(sign) { Ok(()) } else { Err(self.expected(&format!("`{sign}`"))) }
    }
    /// Goes past the token here.
    pub(super) fn skip(&mut self) {
        self.next += 1;
    }

    /// The token after the one here.
    pub(super) fn second(&self) -> Option<&Kind> {
        self.tokens.get(self.next + 1).map(|token| &token.kind)
    }

    fn look_ahead_for_source(&self) -> Source {
        let is = |at: usize, wanted: &str| match self.tokens.get(at).map(|t| &t.kind) {
            Some(Kind::Word(word)) => word.eq_ignore_ascii_case(wanted),
            Some(Kind::Sign(sign)) => *sign == wanted,
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
