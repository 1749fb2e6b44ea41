//! Unwinding of the stack in a core module, for a language whose errors need `setjmp`.
//!
//! The host's engine has no exceptions. Instead, a check follows each call: if the module's
//! flag is set, the caller returns as well. The flag's address is the result of the export
//! `behaviour_unwinding`. The export `behaviour_try` gets no checks, so unwinding ends there.

use std::convert::Infallible;

use wasm_encoder::reencode::{Error, Reencode, utils};
use wasm_encoder::{BlockType, CodeSection, Instruction, MemArg, Module, ValType};
use wasmparser::{
    BinaryReaderError, ExternalKind, FunctionBody, Operator, Parser, Payload, TypeRef,
};

const TRY: &str = "behaviour_try";

const FLAG: &str = "behaviour_unwinding";

/// Inserts the checks. Returns `None` if the module is invalid or lacks the two exports.
pub(super) fn with_checks(module: &[u8]) -> Option<Vec<u8>> {
    let layout = Layout::read(module).ok()?;
    let flag = layout.flag_address(module)?;
    let exempt = layout.exported(TRY)?;
    let results = layout.functions.iter().map(|ty| layout.results.get(*ty as usize).cloned());
    let mut checks =
        Checks { flag, exempt, next: layout.imported, results: results.collect::<Option<_>>()? };
    let mut output = Module::new();
    checks.parse_core_module(&mut output, Parser::new(0), module).ok()?;
    Some(output.finish())
}

/// The parts of a module that the checks depend on.
#[derive(Default)]
struct Layout {
    /// The results of each function type.
    results: Vec<Vec<wasmparser::ValType>>,
    /// The type of each function, imported ones first.
    functions: Vec<u32>,
    imported: u32,
    exports: Vec<(String, u32)>,
}

impl Layout {
    fn read(module: &[u8]) -> Result<Layout, BinaryReaderError> {
        let mut layout = Layout::default();
        for payload in Parser::new(0).parse_all(module) {
            match payload? {
                Payload::TypeSection(section) => {
                    for ty in section.into_iter_err_on_gc_types() {
                        layout.results.push(ty?.results().to_vec());
                    }
                }
                Payload::ImportSection(section) => {
                    for import in section.into_imports() {
                        if let TypeRef::Func(ty) = import?.ty {
                            layout.functions.push(ty);
                            layout.imported += 1;
                        }
                    }
                }
                Payload::FunctionSection(section) => {
                    for ty in section {
                        layout.functions.push(ty?);
                    }
                }
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export?;
                        if export.kind == ExternalKind::Func {
                            layout.exports.push((export.name.to_owned(), export.index));
                        }
                    }
                }
                _ => {}
            }
        }
        Ok(layout)
    }

    fn exported(&self, name: &str) -> Option<u32> {
        self.exports.iter().find(|(export, _)| export == name).map(|(_, index)| *index)
    }

    /// Returns the flag's address: the constant that the exported function returns.
    fn flag_address(&self, module: &[u8]) -> Option<u32> {
        let wanted = self.exported(FLAG)?.checked_sub(self.imported)?;
        let bodies = Parser::new(0).parse_all(module).filter_map(|payload| match payload {
            Ok(Payload::CodeSectionEntry(body)) => Some(body),
            _ => None,
        });
        let mut reader = bodies.into_iter().nth(wanted as usize)?.get_operators_reader().ok()?;
        match reader.read().ok()? {
            Operator::I32Const { value } => Some(value.cast_unsigned()),
            _ => None,
        }
    }
}

/// Copies a module and inserts the checks.
struct Checks {
    flag: u32,
    exempt: u32,
    /// The index of the next function with a body.
    next: u32,
    /// The results of each function.
    results: Vec<Vec<wasmparser::ValType>>,
}

impl Reencode for Checks {
    type Error = Infallible;

    fn parse_function_body(
        &mut self,
        code: &mut CodeSection,
        body: FunctionBody<'_>,
    ) -> Result<(), Error> {
        let index = self.next;
        self.next += 1;
        if index == self.exempt {
            return utils::parse_function_body(self, code, body);
        }
        let check = self.check(index)?;
        let mut function = self.new_function_with_parsed_locals(&body)?;
        let mut reader = body.get_operators_reader()?;
        while !reader.eof() {
            let instruction = self.parse_instruction(&mut reader)?;
            let is_call =
                matches!(instruction, Instruction::Call(_) | Instruction::CallIndirect { .. });
            function.instruction(&instruction);
            if is_call {
                check.iter().for_each(|instruction| {
                    function.instruction(instruction);
                });
            }
        }
        code.function(&function);
        Ok(())
    }
}

impl Checks {
    /// Returns the instructions that make a function return, with any value, if the flag is
    /// set.
    fn check(&mut self, index: u32) -> Result<Vec<Instruction<'static>>, Error> {
        let flag = MemArg { offset: self.flag.into(), align: 2, memory_index: 0 };
        let mut check = vec![
            Instruction::I32Const(0),
            Instruction::I32Load(flag),
            Instruction::If(BlockType::Empty),
        ];
        let results = self.results.get(index as usize).cloned().unwrap_or_default();
        for result in results {
            check.push(match self.val_type(result)? {
                ValType::I32 => Instruction::I32Const(0),
                ValType::I64 => Instruction::I64Const(0),
                ValType::F32 => Instruction::F32Const(0.0.into()),
                ValType::F64 => Instruction::F64Const(0.0.into()),
                // No compiler for this target returns other values.
                _ => Instruction::Unreachable,
            });
        }
        check.extend([Instruction::Return, Instruction::End]);
        Ok(check)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A function that throws if its argument is odd, below one that catches.
    const MODULE: &str = "(module
        (memory (export \"memory\") 1)
        (func $flag (export \"behaviour_unwinding\") (result i32) i32.const 64)
        (func $throw (i32.store (i32.const 64) (i32.const 1)))
        (func $odd (param i32) (result f64)
          (if (i32.and (local.get 0) (i32.const 1)) (then (call $throw) unreachable))
          f64.const 2)
        (func (export \"behaviour_try\") (param i32) (result i32)
          (drop (call $odd (local.get 0)))
          (i32.load (i32.const 64))
          (i32.store (i32.const 64) (i32.const 0))))";

    #[test]
    fn a_check_follows_each_call_outside_of_the_function_that_catches() {
        let module = ::wat::parse_str(MODULE).unwrap();
        let checked = with_checks(&module).unwrap();
        let calls = |module: &[u8]| {
            let mut calls = Vec::new();
            for payload in Parser::new(0).parse_all(module) {
                let Payload::CodeSectionEntry(body) = payload.unwrap() else { continue };
                let operators = body.get_operators_reader().unwrap().into_iter();
                let operators: Vec<_> = operators.map(Result::unwrap).collect();
                for (at, operator) in operators.iter().enumerate() {
                    if matches!(operator, Operator::Call { .. }) {
                        calls.push(matches!(operators[at + 2], Operator::I32Load { memarg } if memarg.offset == 64));
                    }
                }
            }
            calls
        };
        assert_eq!(calls(&module), [false, false]);
        assert_eq!(calls(&checked), [true, false]);
        assert_eq!(with_checks(&module[..module.len() - 1]), None);
    }

    #[test]
    fn a_module_without_the_exports_is_refused() {
        let module = ::wat::parse_str("(module (func (export \"behaviour_try\")))").unwrap();
        assert_eq!(with_checks(&module), None);
    }
}
