//! Parser of queries: SELECT, FROM, WHERE and GROUP BY.
//!
//! Each function corresponds to a rule of the grammar in the documentation of IoT Hub,
//! "Query language". The nesting depth is limited, so that no query can overflow the stack.

use super::QueryError;
use super::cursor::Cursor;
use super::lexer::TokenKind;
use super::syntax::{Aggregate, Column, ColumnValue, Columns, PropertyPath, Query, Source};

/// Parses a query.
pub(super) fn parse(text: &str) -> Result<Query, QueryError> {
    Cursor::new(text)?.query()
}

impl Cursor {
    fn query(&mut self) -> Result<Query, QueryError> {
        self.expect_keyword("SELECT")?;
        let top = self.top()?;
        let columns_at = self.position();
        let columns = self.columns()?;
        self.expect_keyword("FROM")?;
        let source = self.source()?;
        let condition = if self.accept_keyword("where") { Some(self.or()?) } else { None };
        let group_at = self.position();
        let group_by = if self.accept_keyword("group") { self.group_by()? } else { Vec::new() };
        self.expect_end()?;
        if !group_by.is_empty() && source != Source::Devices {
            return Err(QueryError::at(group_at, "GROUP BY is supported on `devices` only".into()));
        }
        if source == Source::Jobs && columns != Columns::Whole {
            return Err(QueryError::at(columns_at, "`devices.jobs` supports `*` only".into()));
        }
        let query = Query { top, columns, source, condition, group_by };
        check_columns(&query).map_err(|reason| QueryError::at(columns_at, reason))?;
        Ok(query)
    }

    fn top(&mut self) -> Result<Option<usize>, QueryError> {
        let is_top = matches!(
            (self.peek(), self.peek_second()),
            (TokenKind::Identifier(name), Some(TokenKind::Number(_))) if name.eq_ignore_ascii_case("top")
        );
        if !is_top {
            return Ok(None);
        }
        self.skip();
        match *self.peek() {
            TokenKind::Number(n) if n >= 1.0 && n.fract() == 0.0 && n <= f64::from(u32::MAX) => {
                self.skip();
                Ok(Some(n as usize))
            }
            _ => Err(self.expected("a whole number from 1 after TOP")),
        }
    }

    fn columns(&mut self) -> Result<Columns, QueryError> {
        if self.accept_symbol("*") {
            return Ok(Columns::Whole);
        }
        let mut columns = Vec::new();
        loop {
            let value = self.column_value()?;
            let name =
                if self.accept_keyword("as") { self.name("an alias")? } else { value.name() };
            columns.push(Column { name, value });
            if !self.accept_symbol(",") {
                return Ok(Columns::Listed(columns));
            }
        }
    }

    fn column_value(&mut self) -> Result<ColumnValue, QueryError> {
        let Some(function) = self.function() else {
            return self.path("`*`, a property or an aggregate").map(ColumnValue::Property);
        };
        let at = self.position();
        self.skip();
        self.skip();
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
        self.expect_symbol(")")?;
        Ok(ColumnValue::Aggregate(aggregate))
    }

    pub(super) fn source(&mut self) -> Result<Source, QueryError> {
        let wanted = "`devices`, `devices.modules` or `devices.jobs`";
        if !self.accept_keyword("devices") {
            return Err(self.expected(wanted));
        }
        if !self.accept_symbol(".") {
            return Ok(Source::Devices);
        }
        if self.accept_keyword("modules") {
            Ok(Source::Modules)
        } else if self.accept_keyword("jobs") {
            Ok(Source::Jobs)
        } else {
            Err(self.expected(wanted))
        }
    }

    fn group_by(&mut self) -> Result<Vec<PropertyPath>, QueryError> {
        self.expect_keyword("BY")?;
        let mut paths = vec![self.path("a property")?];
        while self.accept_symbol(",") {
            paths.push(self.path("a property")?);
        }
        Ok(paths)
    }
}

impl ColumnValue {
    fn name(&self) -> String {
        match self {
            ColumnValue::Property(path) => path.0.last().cloned().unwrap_or_default(),
            ColumnValue::Aggregate(Aggregate::Count) => "count".into(),
            ColumnValue::Aggregate(Aggregate::Average(_)) => "avg".into(),
            ColumnValue::Aggregate(Aggregate::Sum(_)) => "sum".into(),
            ColumnValue::Aggregate(Aggregate::Minimum(_)) => "min".into(),
            ColumnValue::Aggregate(Aggregate::Maximum(_)) => "max".into(),
        }
    }
}

/// Rejects columns that the grammar allows but that cannot be evaluated.
fn check_columns(query: &Query) -> Result<(), String> {
    let Columns::Listed(columns) = &query.columns else {
        return if query.group_by.is_empty() {
            Ok(())
        } else {
            Err("`*` is not allowed with GROUP BY; name the grouped properties".into())
        };
    };
    for (i, column) in columns.iter().enumerate() {
        if columns[..i].iter().any(|earlier| earlier.name == column.name) {
            return Err(format!("two columns are named `{}`; rename one with AS", column.name));
        }
        match &column.value {
            ColumnValue::Property(path) if query.is_grouped() && !query.group_by.contains(path) => {
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
