//! Syntax tree of a query.
//!
//! Operators of the same precedence are flat lists, so that a long query does not become a
//! tree with thousands of levels.

use serde_json::Value;

/// A parsed query.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Query {
    /// The limit of rows: `TOP n`.
    pub(super) top: Option<usize>,
    pub(super) columns: Columns,
    pub(super) source: Source,
    pub(super) condition: Option<Expr>,
    pub(super) group_by: Vec<PropertyPath>,
}

/// Selected values.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Columns {
    /// `*`: whole twins.
    Whole,
    Listed(Vec<Column>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    /// Name in the results: the alias, or else the last path segment or the function.
    pub(super) name: String,
    pub(super) value: ColumnValue,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum ColumnValue {
    Property(PropertyPath),
    Aggregate(Aggregate),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Aggregate {
    Count,
    Average(PropertyPath),
    Sum(PropertyPath),
    Minimum(PropertyPath),
    Maximum(PropertyPath),
}

/// Queried collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// `devices`: twins of devices.
    Devices,
    /// `devices.modules`: twins of modules.
    Modules,
    /// `devices.jobs`: the part of each device in jobs.
    Jobs,
}

impl Source {
    /// Returns the name after `devices`, if there is one.
    pub(super) fn name(self) -> Option<&'static str> {
        match self {
            Source::Devices => None,
            Source::Modules => Some("modules"),
            Source::Jobs => Some("jobs"),
        }
    }
}

/// Path to a value in a twin. Never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct PropertyPath(pub(super) Vec<String>);

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expr {
    Literal(Literal),
    Property(PropertyPath),
    IsDefined(PropertyPath),
    /// A string function, the string to search and the part to find.
    Search(StringFunction, Box<Expr>, Box<Expr>),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Compare(Comparison, Box<Expr>, Box<Expr>),
    /// `IN` if `true`, `NIN` if `false`.
    In(bool, Box<Expr>, Vec<Literal>),
    /// Operators of the same precedence, from left to right.
    Arithmetic(Box<Expr>, Vec<(ArithmeticOperator, Expr)>),
}

/// A case-sensitive string function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StringFunction {
    StartsWith,
    EndsWith,
    Contains,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    /// `undefined`, which does not exist in JSON.
    Undefined,
    Value(Value),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ArithmeticOperator {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Query {
    /// Returns `true` if the rows are whole items.
    pub(crate) fn returns_whole_items(&self) -> bool {
        self.columns == Columns::Whole
    }

    /// Returns the queried collection.
    pub(crate) fn source(&self) -> Source {
        self.source
    }

    /// Returns `true` if a row can represent several twins.
    pub(super) fn is_grouped(&self) -> bool {
        let aggregates = match &self.columns {
            Columns::Whole => false,
            Columns::Listed(columns) => {
                columns.iter().any(|column| matches!(column.value, ColumnValue::Aggregate(_)))
            }
        };
        aggregates || !self.group_by.is_empty()
    }
}
