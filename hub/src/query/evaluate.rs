//! Evaluation of a condition for one twin.
//!
//! Conditions have three possible values: true, false and *undefined*. A missing property is
//! undefined, and so is an operator that does not support its operands, such as `<` for a
//! string and a number. An expression with an undefined operand is undefined, except for
//! `IS_DEFINED`, `AND` with a false operand and `OR` with a true operand. A twin matches if
//! the condition is exactly `true`.
//!
//! Values of different primitive types are unequal. Objects and arrays cannot be compared.

use std::borrow::Cow;
use std::cmp::Ordering;

use serde_json::Value;

use super::syntax::{ArithmeticOperator, Comparison, Expr, Literal, PropertyPath, StringFunction};

/// Returns `true` if `condition` is exactly true for `twin`.
pub(super) fn holds(condition: &Expr, twin: &Value) -> bool {
    matches!(value(condition, twin).as_deref(), Some(Value::Bool(true)))
}

impl PropertyPath {
    /// Returns the value at this path, which can be null, or `None` if it is missing.
    pub(super) fn look_up<'t>(&self, twin: &'t Value) -> Option<&'t Value> {
        self.0.iter().try_fold(twin, |value, segment| value.get(segment))
    }
}

fn value<'t>(expr: &'t Expr, twin: &'t Value) -> Option<Cow<'t, Value>> {
    match expr {
        Expr::Literal(Literal::Undefined) => None,
        Expr::Literal(Literal::Value(value)) => Some(Cow::Borrowed(value)),
        Expr::Property(path) => path.look_up(twin).map(Cow::Borrowed),
        Expr::Arithmetic(first, rest) => arithmetic(first, rest, twin).map(Cow::Owned),
        Expr::Negate(inner) => {
            let number = value(inner, twin)?.as_f64()?;
            Some(Cow::Owned(super::number(-number)))
        }
        Expr::IsDefined(_)
        | Expr::Search(..)
        | Expr::Not(_)
        | Expr::And(_)
        | Expr::Or(_)
        | Expr::Compare(..)
        | Expr::In(..) => truth(expr, twin).map(|truth| Cow::Owned(Value::Bool(truth))),
    }
}

fn truth(expr: &Expr, twin: &Value) -> Option<bool> {
    match expr {
        Expr::IsDefined(path) => Some(path.look_up(twin).is_some()),
        Expr::Search(function, text, part) => {
            let (text, part) = (value(text, twin)?, value(part, twin)?);
            let (text, part) = (text.as_str()?, part.as_str()?);
            Some(match function {
                StringFunction::StartsWith => text.starts_with(part),
                StringFunction::EndsWith => text.ends_with(part),
                StringFunction::Contains => text.contains(part),
            })
        }
        Expr::Not(inner) => truth(inner, twin).map(|truth| !truth),
        Expr::And(all) => connect(all, twin, false),
        Expr::Or(all) => connect(all, twin, true),
        Expr::Compare(comparison, left, right) => {
            compare(*comparison, &*value(left, twin)?, &*value(right, twin)?)
        }
        Expr::In(wanted, left, list) => {
            let left = value(left, twin)?;
            is_primitive(&left).then(|| {
                let found = list.iter().any(|literal| match literal {
                    Literal::Undefined => false,
                    Literal::Value(right) => equal(&left, right) == Some(true),
                });
                found == *wanted
            })
        }
        Expr::Literal(_) | Expr::Property(_) | Expr::Arithmetic(..) | Expr::Negate(_) => {
            value(expr, twin)?.as_bool()
        }
    }
}

/// Evaluates `AND` (`decisive` is `false`) or `OR` (`decisive` is `true`). A decisive operand
/// determines the result even if other operands are undefined.
fn connect(all: &[Expr], twin: &Value, decisive: bool) -> Option<bool> {
    let mut undefined = false;
    for expr in all {
        match truth(expr, twin) {
            Some(truth) if truth == decisive => return Some(decisive),
            Some(_) => {}
            None => undefined = true,
        }
    }
    (!undefined).then_some(!decisive)
}

fn compare(comparison: Comparison, left: &Value, right: &Value) -> Option<bool> {
    match comparison {
        Comparison::Equal => equal(left, right),
        Comparison::NotEqual => equal(left, right).map(|equal| !equal),
        Comparison::Less => order(left, right).map(Ordering::is_lt),
        Comparison::LessOrEqual => order(left, right).map(Ordering::is_le),
        Comparison::Greater => order(left, right).map(Ordering::is_gt),
        Comparison::GreaterOrEqual => order(left, right).map(Ordering::is_ge),
    }
}

fn equal(left: &Value, right: &Value) -> Option<bool> {
    match (left, right) {
        // 1 and 1.0 are equal, although they are different JSON values.
        (Value::Number(left), Value::Number(right)) => Some(left.as_f64() == right.as_f64()),
        _ if is_primitive(left) && is_primitive(right) => Some(left == right),
        _ => None,
    }
}

fn order(left: &Value, right: &Value) -> Option<Ordering> {
    match (left, right) {
        (Value::Number(left), Value::Number(right)) => left.as_f64()?.partial_cmp(&right.as_f64()?),
        (Value::String(left), Value::String(right)) => Some(left.cmp(right)),
        (Value::Bool(left), Value::Bool(right)) => Some(left.cmp(right)),
        _ => None,
    }
}

fn is_primitive(value: &Value) -> bool {
    !value.is_object() && !value.is_array()
}

fn arithmetic(first: &Expr, rest: &[(ArithmeticOperator, Expr)], twin: &Value) -> Option<Value> {
    let mut result = value(first, twin)?.as_f64()?;
    for (operator, right) in rest {
        let right = value(right, twin)?.as_f64()?;
        result = match operator {
            ArithmeticOperator::Add => result + right,
            ArithmeticOperator::Subtract => result - right,
            ArithmeticOperator::Multiply => result * right,
            ArithmeticOperator::Divide => result / right,
            ArithmeticOperator::Remainder => result % right,
        };
        // Division by zero is undefined, since JSON has no infinity.
        if !result.is_finite() {
            return None;
        }
    }
    Some(super::number(result))
}
