//! Detection of functions that would take too long to compile.
//!
//! The compiler's time grows with the size of a function times the number of values that
//! are live in it. Real functions stay far below these limits: the largest function of
//! CPython has 427 KB of code, that of QuickJS 37 KB.

use crate::LoadError;
use wasmparser::{FunctionBody, Operator, Parser, Payload};

/// Maximum size of a function's code, in bytes.
const MAX_FUNCTION_BYTES: usize = 2 * 1024 * 1024;

/// Maximum product of a function's local variables and loops. The compiler tracks every
/// variable through every loop.
const MAX_LOCALS_TIMES_LOOPS: u64 = 2_000_000;

/// Maximum nesting depth of a function's blocks. At twice this depth, one nest takes seconds to
/// compile, and a function with many of them takes hours.
const MAX_NESTED_BLOCKS: usize = 10_000;

/// Checks every function against these limits, and returns the size of all code in bytes.
/// Malformed code passes: the compiler rejects it with a better message.
pub(crate) fn check_functions(bytes: &[u8]) -> Result<usize, LoadError> {
    let (mut function, mut code_bytes) = (0, 0);
    for payload in Parser::new(0).parse_all(bytes) {
        let Ok(payload) = payload else { return Ok(code_bytes) };
        if let Payload::CodeSectionEntry(body) = payload {
            check_function(function, &body)?;
            function += 1;
            code_bytes += body.range().len();
        }
    }
    Ok(code_bytes)
}

fn check_function(function: u32, body: &FunctionBody<'_>) -> Result<(), LoadError> {
    let bytes = body.range().len();
    if bytes > MAX_FUNCTION_BYTES {
        return Err(LoadError::FunctionTooLarge {
            function,
            bytes,
            limit_bytes: MAX_FUNCTION_BYTES,
        });
    }
    let locals = body.get_locals_reader().map_or(0, |locals| {
        locals.into_iter().filter_map(Result::ok).map(|(count, _)| u64::from(count)).sum()
    });
    let Ok(operators) = body.get_operators_reader() else { return Ok(()) };
    let (mut loops, mut blocks, mut deepest) = (0, 0_usize, 0);
    for operator in operators.into_iter().map_while(Result::ok) {
        match operator {
            Operator::Loop { .. } => (loops, blocks) = (loops + 1, blocks + 1),
            Operator::Block { .. } | Operator::If { .. } | Operator::TryTable { .. } => blocks += 1,
            Operator::End => blocks = blocks.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(blocks);
    }
    if deepest > MAX_NESTED_BLOCKS {
        return Err(LoadError::FunctionTooDeep {
            function,
            blocks: deepest,
            limit: MAX_NESTED_BLOCKS,
        });
    }
    if locals.saturating_mul(loops as u64) > MAX_LOCALS_TIMES_LOOPS {
        return Err(LoadError::FunctionTooComplex { function, locals, loops });
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_function_at_a_limit_passes_and_one_above_it_is_refused() {
        // Number of the fixture's steps, of 9 bytes each, in the largest allowed function.
        let steps = (MAX_FUNCTION_BYTES as u32 - 4) / 9;
        assert!(check_functions(&fixtures::laborious(1, steps)).is_ok());
        let error = check_functions(&fixtures::laborious(1, steps + 1)).unwrap_err();
        assert!(matches!(error, LoadError::FunctionTooLarge { .. }), "{error}");

        assert!(check_functions(&fixtures::nested_blocks(MAX_NESTED_BLOCKS)).is_ok());
        let error = check_functions(&fixtures::nested_blocks(MAX_NESTED_BLOCKS + 1)).unwrap_err();
        assert!(matches!(error, LoadError::FunctionTooDeep { .. }), "{error}");

        let locals = (MAX_LOCALS_TIMES_LOOPS / 1_000) as u32;
        assert!(check_functions(&fixtures::tangled(locals, 1_000)).is_ok());
        let error = check_functions(&fixtures::tangled(locals + 1, 1_000)).unwrap_err();
        assert!(matches!(error, LoadError::FunctionTooComplex { .. }), "{error}");
    }
}
