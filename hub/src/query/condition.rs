//! The condition after WHERE: one function per level of binding, loosest first.

use serde_json::Value;

use super::QueryError;
use super::cursor::Cursor;
use super::lexer::Kind;
use super::syntax::{Comparison, Expr, Literal, Operation};

impl Cursor {
    pub(super) fn or(&mut self) -> Result<Expr, QueryError> {
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
        self.skip();
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
            self.skip();
            self.skip();
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
                    self.skip();
                    return Ok(Some(Literal::Undefined));
                }
                _ => return Ok(None),
            },
            Kind::Sign("[") => {
                self.skip();
                let literals = self.deeper(Self::literals)?;
                let values = literals.into_iter().filter_map(|literal| match literal {
                    Literal::Undefined => None,
                    Literal::Value(value) => Some(value),
                });
                return Ok(Some(Literal::Value(values.collect())));
            }
            _ => return Ok(None),
        };
        self.skip();
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
}
