//! Constant expressions whose value is known before the instantiation.

use wasm_encoder::ConstExpr;
use wasmparser::Operator;

/// A known value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Constant {
    I32(i32),
    I64(i64),
}

impl Constant {
    /// Evaluates an expression. Returns `None` if its value is not known; `global` returns the
    /// value of a global, if that is known.
    pub(super) fn of(
        expression: &wasmparser::ConstExpr<'_>,
        global: impl Fn(u32) -> Option<Constant>,
    ) -> Option<Constant> {
        let mut stack = Vec::new();
        for operator in expression.get_operators_reader() {
            match operator.ok()? {
                Operator::I32Const { value } => stack.push(Constant::I32(value)),
                Operator::I64Const { value } => stack.push(Constant::I64(value)),
                Operator::GlobalGet { global_index } => stack.push(global(global_index)?),
                Operator::I32Add => replace(&mut stack, i32::wrapping_add)?,
                Operator::I32Sub => replace(&mut stack, i32::wrapping_sub)?,
                Operator::End => {}
                _ => return None,
            }
        }
        match stack[..] {
            [value] => Some(value),
            _ => None,
        }
    }

    pub(super) fn to_expression(self) -> ConstExpr {
        match self {
            Constant::I32(value) => ConstExpr::i32_const(value),
            Constant::I64(value) => ConstExpr::i64_const(value),
        }
    }
}

/// Replaces the last two values by the result of an operation.
fn replace(stack: &mut Vec<Constant>, operation: fn(i32, i32) -> i32) -> Option<()> {
    let (Constant::I32(right), Constant::I32(left)) = (stack.pop()?, stack.pop()?) else {
        return None;
    };
    stack.push(Constant::I32(operation(left, right)));
    Some(())
}
