//! What a query says once it is parsed.
//!
//! Chains of one operator are flat lists: a query of 8,000 characters must not
//! become a tree that is thousands of levels deep.

use serde_json::Value;

/// A whole query.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Query {
    /// `TOP n`.
    pub(super) top: Option<usize>,
    pub(super) columns: Columns,
    pub(super) source: Source,
    pub(super) condition: Option<Expr>,
    pub(super) group_by: Vec<Path>,
}

/// What is asked of each twin, or of all of them together.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Columns {
    /// `*`
    Whole,
    Listed(Vec<Column>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct Column {
    /// The name in the answer: the alias, or the one the column itself suggests.
    pub(super) name: String,
    pub(super) item: Item,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Item {
    Property(Path),
    Aggregate(Aggregate),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Aggregate {
    Count,
    Average(Path),
    Sum(Path),
    Minimum(Path),
    Maximum(Path),
}

/// Which collection is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Source {
    /// `devices`: the twins of devices.
    Devices,
    /// `devices.modules`: the twins of modules.
    Modules,
}

/// The way to a value in a twin; never empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Path(pub(super) Vec<String>);

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Expr {
    Literal(Literal),
    Property(Path),
    IsDefined(Path),
    Not(Box<Expr>),
    Negate(Box<Expr>),
    And(Vec<Expr>),
    Or(Vec<Expr>),
    Compare(Comparison, Box<Expr>, Box<Expr>),
    /// `IN`, or with `false` `NIN`.
    In(bool, Box<Expr>, Vec<Literal>),
    /// Operators of one level, from left to right.
    Arithmetic(Box<Expr>, Vec<(Operation, Expr)>),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Literal {
    /// The word `undefined`, which JSON does not have.
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
pub(super) enum Operation {
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
}

impl Query {
    /// Whether the answer is whole twins, and not columns of them.
    pub(crate) fn gives_twins(&self) -> bool {
        self.columns == Columns::Whole
    }

    /// Which collection is asked.
    pub(crate) fn source(&self) -> Source {
        self.source
    }

    /// Whether a row of the answer stands for many twins.
    pub(super) fn is_grouped(&self) -> bool {
        let aggregates = match &self.columns {
            Columns::Whole => false,
            Columns::Listed(columns) => {
                columns.iter().any(|column| matches!(column.item, Item::Aggregate(_)))
            }
        };
        aggregates || !self.group_by.is_empty()
    }
}
