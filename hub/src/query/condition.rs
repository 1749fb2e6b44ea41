//! Parser of the condition after WHERE, with one function for each level of precedence,
//! lowest first.

use serde_json::Value;

use super::QueryError;
use super::cursor::Cursor;
use super::lexer::TokenKind;
use super::syntax::{ArithmeticOperator, Comparison, Expr, Literal, StringFunction};

impl Cursor {
    pub(super) fn or(&mut self) -> Result<Expr, QueryError> {
        let first = self.and()?;
        let mut all = vec![first];
        while self.accept_keyword("or") {
            all.push(self.and()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Expr::Or(all) })
    }

    fn and(&mut self) -> Result<Expr, QueryError> {
        let mut all = vec![self.not()?];
        while self.accept_keyword("and") {
            all.push(self.not()?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Expr::And(all) })
    }

    fn not(&mut self) -> Result<Expr, QueryError> {
        if self.accept_keyword("not") {
            let inner = self.deeper(Self::not)?;
            return Ok(Expr::Not(Box::new(inner)));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Expr, QueryError> {
        let left = self.sum()?;
        for (keyword, wanted) in [("in", true), ("nin", false)] {
            if self.accept_keyword(keyword) {
                self.expect_symbol("[")?;
                let list = self.literals()?;
                return Ok(Expr::In(wanted, Box::new(left), list));
            }
        }
        let comparison = match self.peek() {
            TokenKind::Symbol("=") => Comparison::Equal,
            TokenKind::Symbol("!=" | "<>") => Comparison::NotEqual,
            TokenKind::Symbol("<") => Comparison::Less,
            TokenKind::Symbol("<=") => Comparison::LessOrEqual,
            TokenKind::Symbol(">") => Comparison::Greater,
            TokenKind::Symbol(">=") => Comparison::GreaterOrEqual,
            _ => return Ok(left),
        };
        self.skip();
        let right = self.sum()?;
        Ok(Expr::Compare(comparison, Box::new(left), Box::new(right)))
    }

    fn sum(&mut self) -> Result<Expr, QueryError> {
        let level = [("+", ArithmeticOperator::Add), ("-", ArithmeticOperator::Subtract)];
        self.chain(Self::product, &level)
    }

    fn product(&mut self) -> Result<Expr, QueryError> {
        let level = [
            ("*", ArithmeticOperator::Multiply),
            ("/", ArithmeticOperator::Divide),
            ("%", ArithmeticOperator::Remainder),
        ];
        self.chain(Self::operand, &level)
    }

    fn chain(
        &mut self,
        next: fn(&mut Self) -> Result<Expr, QueryError>,
        level: &[(&str, ArithmeticOperator)],
    ) -> Result<Expr, QueryError> {
        let first = next(self)?;
        let mut rest = Vec::new();
        'operators: loop {
            for (symbol, operator) in level {
                if self.accept_symbol(symbol) {
                    rest.push((*operator, next(self)?));
                    continue 'operators;
                }
            }
            break;
        }
        Ok(if rest.is_empty() { first } else { Expr::Arithmetic(Box::new(first), rest) })
    }

    fn operand(&mut self) -> Result<Expr, QueryError> {
        if self.accept_symbol("(") {
            let inner = self.deeper(Self::or)?;
            self.expect_symbol(")")?;
            return Ok(inner);
        }
        if self.accept_symbol("-") {
            let inner = self.deeper(Self::operand)?;
            return Ok(Expr::Negate(Box::new(inner)));
        }
        if let Some(name) = self.function() {
            return self.call(&name);
        }
        match self.literal()? {
            Some(literal) => Ok(Expr::Literal(literal)),
            None => self.path("a property, a value or `(`").map(Expr::Property),
        }
    }

    /// Parses a function call.
    fn call(&mut self, name: &str) -> Result<Expr, QueryError> {
        let function = match name.to_ascii_lowercase().as_str() {
            "is_defined" => None,
            "startswith" => Some(StringFunction::StartsWith),
            "endswith" => Some(StringFunction::EndsWith),
            "contains" => Some(StringFunction::Contains),
            _ => {
                let reason = format!(
                    "expected IS_DEFINED, STARTSWITH, ENDSWITH or CONTAINS, found the function `{name}`"
                );
                return Err(QueryError::at(self.position(), reason));
            }
        };
        self.skip();
        self.skip();
        let expr = match function {
            None => Expr::IsDefined(self.path("a property")?),
            Some(function) => {
                let text = self.deeper(Self::sum)?;
                self.expect_symbol(",")?;
                let part = self.deeper(Self::sum)?;
                Expr::Search(function, Box::new(text), Box::new(part))
            }
        };
        self.expect_symbol(")")?;
        Ok(expr)
    }

    /// Parses a literal. Returns `None` if the next token does not begin a literal.
    fn literal(&mut self) -> Result<Option<Literal>, QueryError> {
        let value = match self.peek() {
            TokenKind::String(text) => Value::String(text.clone()),
            TokenKind::Number(number) => super::number(*number),
            TokenKind::Identifier(name) => match name.to_ascii_lowercase().as_str() {
                "true" => Value::Bool(true),
                "false" => Value::Bool(false),
                "null" => Value::Null,
                "undefined" => {
                    self.skip();
                    return Ok(Some(Literal::Undefined));
                }
                _ => return Ok(None),
            },
            TokenKind::Symbol("[") => {
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

    /// Parses the literals after an opening bracket, up to and including the closing one.
    fn literals(&mut self) -> Result<Vec<Literal>, QueryError> {
        let mut list = Vec::new();
        if self.accept_symbol("]") {
            return Ok(list);
        }
        loop {
            let negative = self.accept_symbol("-");
            match (self.literal()?, negative) {
                (Some(Literal::Value(Value::Number(n))), true) => {
                    let value = -n.as_f64().unwrap_or_default();
                    list.push(Literal::Value(super::number(value)));
                }
                (Some(literal), false) => list.push(literal),
                _ => return Err(self.expected("a value")),
            }
            if self.accept_symbol("]") {
                return Ok(list);
            }
            if !self.accept_symbol(",") {
                return Err(self.expected("`,` or `]`"));
            }
        }
    }
}
