//! Headroom: memory that a guest can grow into without a system call.
//!
//! A guest's allocator grows its memory at the first allocation. Without headroom, nearly every
//! call makes the kernel map pages and unmap them afterwards, which takes a third of the
//! processor time of a short call and interrupts the other processors. This module rewrites
//! components: a memory starts with some additional pages, which `memory.grow` hands out first.
//! `memory.size` counts only the pages that were handed out, so the guest sees the same sizes
//! as without headroom. The only visible difference is that an access to a page that was not
//! handed out yet does not trap: the page exists and is zero.

use super::PAGE_BYTES;
use wasmparser::{MemoryType, Operator, Parser, Payload, Result, TypeRef};

mod rewrite;

/// Number of added pages: enough for the allocations of a short call, including a large
/// payload.
const PAGES: u64 = 8;

/// Version of the rewrite, which is part of the name of a cached file.
pub(crate) const VERSION: u32 = 1;

/// Returns the component with headroom. Returns `None` if no memory can use headroom, if
/// the memories would start with more than half of `memory_bytes`, or if the component is
/// malformed, which the compiler then reports.
pub(crate) fn insert(bytes: &[u8], memory_bytes: usize) -> Option<Vec<u8>> {
    let initial_pages = initial_pages(bytes).ok()??;
    if initial_pages > memory_bytes as u64 / 2 / PAGE_BYTES {
        return None;
    }
    rewrite::component(bytes).ok()
}

/// Returns the number of initial pages of all memories, including headroom. Returns `None` if
/// no memory gets headroom, or if a module reads the size of an imported memory or grows it: it
/// would see the size with headroom.
fn initial_pages(bytes: &[u8]) -> Result<Option<u64>> {
    let (mut pages, mut any) = (0_u64, false);
    let mut module = ModuleSummary::default();
    // At the end of a component, `module` is empty.
    for payload in Parser::new(0).parse_all(bytes) {
        let payload = payload?;
        module.visit(&payload)?;
        if let Payload::End(_) = payload {
            if module.reads_size && module.imports_memory {
                return Ok(None);
            }
            let headroom = module.headroom();
            any |= headroom > 0;
            let initial = module.memories.iter().map(|memory| memory.initial);
            pages = initial.fold(pages.saturating_add(headroom), u64::saturating_add);
            module = ModuleSummary::default();
        }
    }
    Ok(any.then_some(pages))
}

/// Properties of a module that are relevant to headroom.
#[derive(Default)]
struct ModuleSummary {
    types: u32,
    functions: u32,
    globals: u32,
    imports_memory: bool,
    memories: Vec<MemoryType>,
    /// `true` if the code contains `memory.grow`.
    grows: bool,
    /// `true` if the code contains `memory.size` or `memory.grow`.
    reads_size: bool,
}

impl ModuleSummary {
    fn of(bytes: &[u8]) -> Result<ModuleSummary> {
        let mut module = ModuleSummary::default();
        for payload in Parser::new(0).parse_all(bytes) {
            module.visit(&payload?)?;
        }
        Ok(module)
    }

    fn visit(&mut self, payload: &Payload<'_>) -> Result<()> {
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
                        Operator::MemoryGrow { .. } => (self.grows, self.reads_size) = (true, true),
                        Operator::MemorySize { .. } => self.reads_size = true,
                        _ => {}
                    }
                }
            }
            _ => {}
        }
        Ok(())
    }

    /// Returns the number of pages to add. Only a single, ordinary memory gets any.
    fn headroom(&self) -> u64 {
        let [memory] = self.memories[..] else { return 0 };
        let MemoryType { memory64, shared, initial, maximum, page_size_log2 } = memory;
        let ordinary = !memory64 && !shared && page_size_log2.is_none() && !self.imports_memory;
        let max = maximum.unwrap_or(1 << 16);
        if ordinary && self.grows { max.saturating_sub(initial).min(PAGES) } else { 0 }
    }
}

/// Adds a count from a section's header. The header may be wrong, so the sum saturates.
fn add(to: &mut u32, more: u32) {
    *to = to.saturating_add(more);
}

#[cfg(test)]
mod tests;
