//! Headroom: pages that a guest's memory grows into without the kernel.
//!
//! A guest's allocator grows its memory at its first allocation, so that nearly every
//! call made the kernel open some pages, and close them again afterwards. That took a
//! third of the processor time of a short call, and stopped the other processors
//! meanwhile. Here a module's memory starts some pages larger, and its `memory.grow`
//! and `memory.size` are changed to hand those out first: the guest sees the sizes that
//! it would have seen. The only visible difference is that a page which it has not
//! requested yet exists, and is empty.

use wasmparser::{MemoryType, Operator, Parser, Payload, Result, TypeRef};

mod rewrite;

/// Enough for what a short call allocates, a large payload included.
const PAGES: u64 = 8;

/// The core WebAssembly page.
const PAGE_BYTES: u64 = 64 * 1024;

/// The version of this rewriting, part of the name of a compiled file.
pub(crate) const VERSION: u32 = 1;

/// The same component with headroom, if there is something to be won, and if all
/// its memories together then begin with no more than half of `memory_bytes`. What
/// cannot be read is for the compiler to refuse.
pub(crate) fn give(bytes: &[u8], memory_bytes: usize) -> Option<Vec<u8>> {
    let begins_with = begins_with(bytes).ok()??;
    if begins_with > memory_bytes as u64 / 2 / PAGE_BYTES {
        return None;
    }
    rewrite::component(bytes).ok()
}

/// The pages of all memories, headroom included. `None`: none of them gets any, or a
/// module measures or grows the memory of another, which then has to see the truth.
fn begins_with(bytes: &[u8]) -> Result<Option<u64>> {
    let (mut pages, mut any) = (0_u64, false);
    let mut module = Module::default();
    // The end of a component ends a module without anything.
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        module.see(&payload)?;
        if let Payload::End(_) = payload {
            if module.measures && module.imports_memory {
                return Ok(None);
            }
            let headroom = module.headroom();
            any |= headroom > 0;
            let begins = module.memories.iter().map(|memory| memory.initial);
            pages = begins.fold(pages.saturating_add(headroom), u64::saturating_add);
            module = Module::default();
        }
    }
    Ok(any.then_some(pages))
}

/// The parts of a module that matter here.
#[derive(Default)]
struct Module {
    types: u32,
    functions: u32,
    globals: u32,
    imports_memory: bool,
    memories: Vec<MemoryType>,
    /// `true` if its code has a `memory.grow` or a `memory.size`.
    grows: bool,
    measures: bool,
}

impl Module {
    fn of(bytes: &[u8]) -> Result<Module> {
        let mut module = Module::default();
        for payload in Parser::new(0).parse_all(bytes) {
            module.see(&payload?)?;
        }
        Ok(module)
    }

    fn see(&mut self, payload: &Payload<'_>) -> Result<()> {
        match payload {
            Payload::TypeSection(groups) => {
                for group in groups.clone() {
                    self.types += group?.types().len() as u32;
                }
            }
            Payload::ImportSection(imports) => {
                for import in imports.clone().into_imports() {
                    match import?.ty {
                        TypeRef::Func(_) | TypeRef::FuncExact(_) => add(&mut self.functions, 1),
                        TypeRef::Global(_) => add(&mut self.globals, 1),
                        TypeRef::Memory(_) => self.imports_memory = true,
                        TypeRef::Table(_) | TypeRef::Tag(_) => {}
                    }
                }
            }
            Payload::FunctionSection(functions) => add(&mut self.functions, functions.count()),
            Payload::MemorySection(memories) => {
                self.memories = memories.clone().into_iter().collect::<Result<_>>()?;
            }
            Payload::GlobalSection(globals) => add(&mut self.globals, globals.count()),
            Payload::CodeSectionEntry(body) => {
                for operator in body.get_operators_reader()? {
                    match operator? {
                        Operator::MemoryGrow { .. } => (self.grows, self.measures) = (true, true),
                        Operator::MemorySize { .. } => self.measures = true,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns the pages that its memory gets: none, unless it is an ordinary one.
    fn headroom(&self) -> u64 {
        let [memory] = self.memories[..] else { return 0 };
        let MemoryType { memory64, shared, initial, maximum, page_size_log2 } = memory;
        let ordinary = !memory64 && !shared && page_size_log2.is_none() && !self.imports_memory;
        let most = maximum.unwrap_or(1 << 16);
        if ordinary && self.grows { most.saturating_sub(initial).min(PAGES) } else { 0 }
    }
}

/// Adds a section's count, which is only what the section says.
fn add(to: &mut u32, more: u32) {
    *to = to.saturating_add(more);
}

#[cfg(test)]
mod tests;
