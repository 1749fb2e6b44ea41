//! Tokens to a [`Query`].
//!
//! One function per line of the grammar in the documentation of the query
//! language of IoT Hub. Depth is bounded, so that no text can exhaust the stack.

use serde_json::Value;

use super::QueryError;
use super::lexer::{Kind, Token, tokens};
use super::syntax::{
    Aggregate, Column, Columns, Comparison, Expr, Item, Literal, Operation, Path, Query, Source,
};

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

/// The query that `text` says.
pub(super) fn parse(text: &str) -> Result<Query, QueryError> {
    let mut parser = Parser { tokens: tokens(text)?, next: 0, depth: 0, source: Source::Devices };
    // Whether a path begins with the collection's name is known only after
    // FROM, but columns come before it: look ahead.
    parser.source = parser.look_ahead_for_source();
    parser.query()
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
    source: Source,
}

impl Parser {
    fn query(&mut self) -> Result<Query, QueryError> {
        self.expect_word("SELECT")?;
        let top = self.top()?;
        let columns_at = self.at();
        let columns = self.columns()?;
        self.expect_word("FROM")?;
        let source = self.source()?;
        let condition = if self.accept_word("where") { Some(self.or()?) } else { None };
        let group_at = self.at();
        let group_by = if self.accept_word("group") { self.group_by()? } else { Vec::new() };
        if *self.kind() != Kind::End {
            return Err(self.expected("the end of the query"));
        }
        if !group_by.is_empty() && source == Source::Modules {
            return Err(QueryError::at(group_at, "GROUP BY is offered on `devices` only".into()));
        }
        let query = Query { top, columns, source, condition, group_by };
        check_columns(&query).map_err(|reason| QueryError::at(columns_at, reason))?;
        Ok(query)
    }

    fn top(&mut self) -> Result<Option<usize>, QueryError> {
        let is_top = matches!(
            (self.kind(), self.tokens.get(self.next + 1).map(|t| &t.kind)),
            (Kind::Word(word), Some(Kind::Number(_))) if word.eq_ignore_ascii_case("top")
        );
        if !is_top {
            return Ok(None);
        }
        self.next += 1;
        match *self.kind() {
            Kind::Number(n) if n >= 1.0 && n.fract() == 0.0 && n <= f64::from(u32::MAX) => {
                self.next += 1;
                Ok(Some(n as usize))
            }
            _ => Err(self.expected("a whole number from 1 after TOP")),
        }
    }

    fn columns(&mut self) -> Result<Columns, QueryError> {
        if self.accept_sign("*") {
            return Ok(Columns::Whole);
        }
        let mut columns = Vec::new();
        loop {
            let item = self.item()?;
            let name = if self.accept_word("as") { self.name("an alias")? } else { item.name() };
            columns.push(Column { name, item });
            if !self.accept_sign(",") {
                return Ok(Columns::Listed(columns));
            }
        }
    }

    fn item(&mut self) -> Result<Item, QueryError> {
        let Some(function) = self.function() else {
            return self.path("`*`, a property or an aggregate").map(Item::Property);
        };
        let at = self.at();
        self.next += 2;
        let aggregate = match function.to_ascii_lowercase().as_str() {
            "count" => Aggregate::Count,
            "avg" => Aggregate::Average(self.path("a property")?),
            "sum" => Aggregate::Sum(self.path("a property")?),
            "min" => Aggregate::Minimum(self.path("a property")?),
            "max" => Aggregate::Maximum(self.path("a property")?),
            _ => {
                let reason = format!(
                    "expected COUNT, AVG, SUM, MIN or MAX, found the function `{function}`"
                );
                return Err(QueryError::at(at, reason));
            }
        };
        self.expect_sign(")")?;
        Ok(Item::Aggregate(aggregate))
    }

    fn source(&mut self) -> Result<Source, QueryError> {
        let at = self.at();
        let wanted = "`devices` or `devices.modules`";
        if !self.accept_word("devices") {
            return Err(self.expected(wanted));
        }
        if !self.accept_sign(".") {
            return Ok(Source::Devices);
        }
        if self.accept_word("modules") {
            Ok(Source::Modules)
        } else if self.accept_word("jobs") {
            Err(QueryError::at(at, "`devices.jobs` is not offered: this hub runs no jobs".into()))
        } else {
            Err(self.expected(wanted))
        }
    }

    fn group_by(&mut self) -> Result<Vec<Path>, QueryError> {
        self.expect_word("BY")?;
        let mut paths = vec![self.path("a property")?];
        while self.accept_sign(",") {
            paths.push(self.path("a property")?);
        }
        Ok(paths)
    }

    fn or(&mut self) -> Result<Expr, QueryError> {
        let first = self.and()?;
        let mut all = vec![first];
        while self.accept_word("or") {
            all.push(self.and()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Expr::Or(all) })
    }

    fn and(&mut self) -> Result<Expr, QueryError> {
        let mut all = vec![self.not()?];
        while self.accept_word("and") {
            all.push(self.not()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Expr::And(all) })
    }

    fn not(&mut self) -> Result<Expr, QueryError> {
        if self.accept_word("not") {
            let inner = self.deeper(Self::not)?;
            return Ok(Expr::Not(Box::new(inner)));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Expr, QueryError> {
        let left = self.sum()?;
        for (word, wanted) in [("in", true), ("nin", false)] {
            if self.accept_word(word) {
                self.expect_sign("[")?;
                let list = self.literals()?;
                return Ok(Expr::In(wanted, Box::new(left), list));
            }
        }
        let comparison = match self.kind() {
            Kind::Sign("=") => Comparison::Equal,
            Kind::Sign("!=" | "<>") => Comparison::NotEqual,
            Kind::Sign("<") => Comparison::Less,
            Kind::Sign("<=") => Comparison::LessOrEqual,
            Kind::Sign(">") => Comparison::Greater,
            Kind::Sign(">=") => Comparison::GreaterOrEqual,
            _ => return Ok(left),
        };
        self.next += 1;
        let right = self.sum()?;
        Ok(Expr::Compare(comparison, Box::new(left), Box::new(right)))
    }

    fn sum(&mut self) -> Result<Expr, QueryError> {
        let level = [("+", Operation::Add), ("-", Operation::Subtract)];
        self.chain(Self::product, &level)
    }

    fn product(&mut self) -> Result<Expr, QueryError> {
        let level =
            [("*", Operation::Multiply), ("/", Operation::Divide), ("%", Operation::Remainder)];
        self.chain(Self::operand, &level)
    }

    fn chain(
        &mut self,
        next: fn(&mut Self) -> Result<Expr, QueryError>,
        level: &[(&str, Operation)],
    ) -> Result<Expr, QueryError> {
        let first = next(self)?;
        let mut rest = Vec::new();
        'operators: loop {
            for (sign, operation) in level {
                if self.accept_sign(sign) {
                    rest.push((*operation, next(self)?));
                    continue 'operators;
                }
            }
            break;
        }
        Ok(if rest.is_empty() { first } else { Expr::Arithmetic(Box::new(first), rest) })
    }

    fn operand(&mut self) -> Result<Expr, QueryError> {
        if self.accept_sign("(") {
            let inner = self.deeper(Self::or)?;
            self.expect_sign(")")?;
            return Ok(inner);
        }
        if self.accept_sign("-") {
            let inner = self.deeper(Self::operand)?;
            return Ok(Expr::Negate(Box::new(inner)));
        }
        if let Some(function) = self.function() {
            let at = self.at();
            if !function.eq_ignore_ascii_case("is_defined") {
                let reason =
                    format!("expected IS_DEFINED, the only function here, found `{function}`");
                return Err(QueryError::at(at, reason));
            }
            self.next += 2;
            let path = self.path("a property")?;
            self.expect_sign(")")?;
            return Ok(Expr::IsDefined(path));
        }
        match self.literal()? {
            Some(literal) => Ok(Expr::Literal(literal)),
            None => self.path("a property, a value or `(`").map(Expr::Property),
        }
    }

    /// A literal, or nothing if something else stands here.
    fn literal(&mut self) -> Result<Option<Literal>, QueryError> {
        let value = match self.kind() {
            Kind::Text(text) => Value::String(text.clone()),
            Kind::Number(number) => super::number(*number),
            Kind::Word(word) => match word.to_ascii_lowercase().as_str() {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                "null" => Value::Null,
                "undefined" => {
                    self.next += 1;
                    return Ok(Some(Literal::Undefined));
                }
                _ => return Ok(None),
            },
            Kind::Sign("[") => {
                self.next += 1;
                let literals = self.deeper(Self::literals)?;
                let values = literals.into_iter().filter_map(|literal| match literal {
                    Literal::Undefined => None,
                    Literal::Value(value) => Some(value),
                });
                return Ok(Some(Literal::Value(values.collect())));
            }
            _ => return Ok(None),
        };
        self.next += 1;
        Ok(Some(Literal::Value(value)))
    }

    /// Literals up to and with the closing bracket; the opening one was taken.
    fn literals(&mut self) -> Result<Vec<Literal>, QueryError> {
        let mut list = Vec::new();
        if self.accept_sign("]") {
            return Ok(list);
        }
        loop {
            let negative = self.accept_sign("-");
            match (self.literal()?, negative) {
                (Some(Literal::Value(Value::Number(n))), true) => {
                    let value = -n.as_f64().unwrap_or_default();
                    list.push(Literal::Value(super::number(value)));
                }
                (Some(literal), false) => list.push(literal),
                _ => return Err(self.expected("a value")),
            }
            if self.accept_sign("]") {
                return Ok(list);
            }
            if !self.accept_sign(",") {
                return Err(self.expected("`,` or `]`"));
            }
        }
    }

    fn path(&mut self, wanted: &str) -> Result<Path, QueryError> {
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

    fn name(&mut self, wanted: &str) -> Result<String, QueryError> {
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
    fn function(&self) -> Option<String> {
        match (self.kind(), self.tokens.get(self.next + 1).map(|t| &t.kind)) {
            (Kind::Word(word), Some(Kind::Sign("(")))
                if !KEYWORDS.iter().any(|k| word.eq_ignore_ascii_case(k)) =>
            {
                Some(word.clone())
            }
            _ => None,
        }
    }

    fn deeper<T>(
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

    fn kind(&self) -> &Kind {
        &self.tokens[self.next.min(self.tokens.len() - 1)].kind
    }

    fn at(&self) -> usize {
        self.tokens[self.next.min(self.tokens.len() - 1)].at
    }

    fn expected(&self, wanted: &str) -> QueryError {
        QueryError::at(self.at(), format!("expected {wanted}, found {}", self.kind()))
    }

    fn accept_word(&mut self, word: &str) -> bool {
        let is = matches!(self.kind(), Kind::Word(found) if found.eq_ignore_ascii_case(word));
        self.next += usize::from(is);
        is
    }

    fn accept_sign(&mut self, sign: &str) -> bool {
        let is = matches!(self.kind(), Kind::Sign(found) if *found == sign);
        self.next += usize::from(is);
        is
    }

    fn expect_word(&mut self, word: &str) -> Result<(), QueryError> {
        if self.accept_word(word) { Ok(()) } else { Err(self.expected(word)) }
    }

    fn expect_sign(&mut self, sign: &str) -> Result<(), QueryError> {
        if self.accept_sign(sign) { Ok(()) } else { Err(self.expected(&format!("`{sign}`"))) }
    }
}

impl Item {
    fn name(&self) -> String {
        match self {
            Item::Property(path) => path.0.last().cloned().unwrap_or_default(),
            Item::Aggregate(Aggregate::Count) => "count".into(),
            Item::Aggregate(Aggregate::Average(_)) => "avg".into(),
            Item::Aggregate(Aggregate::Sum(_)) => "sum".into(),
            Item::Aggregate(Aggregate::Minimum(_)) => "min".into(),
            Item::Aggregate(Aggregate::Maximum(_)) => "max".into(),
        }
    }
}

/// What the grammar allows but nobody could answer.
fn check_columns(query: &Query) -> Result<(), String> {
    let Columns::Listed(columns) = &query.columns else {
        return if query.group_by.is_empty() {
            Ok(())
        } else {
            Err("`*` cannot stand with GROUP BY: name the grouped properties".into())
        };
    };
    for (i, column) in columns.iter().enumerate() {
        if columns[..i].iter().any(|earlier| earlier.name == column.name) {
            return Err(format!("two columns are called `{}`: name one with AS", column.name));
        }
        match &column.item {
            Item::Property(path) if query.is_grouped() && !query.group_by.contains(path) => {
                return Err(format!(
                    "`{}` is neither aggregated nor in GROUP BY",
                    path.0.join(".")
                ));
            }
            _ => {}
        }
    }
    Ok(())
}
