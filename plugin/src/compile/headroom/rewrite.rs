//! Rewriting of a module, or of all modules of a component, to add headroom.

use super::ModuleSummary;
use crate::compile::sections::{self, component_section};
use wasm_encoder::{BlockType, Encode, Function, ValType};
use wasmparser::{BinaryReader, FunctionBody, MemoryType, Operator, Result};

/// Ids of the sections of a module.
mod section {
    pub(super) const TYPE: u8 = 1;
    pub(super) const FUNCTION: u8 = 3;
    pub(super) const MEMORY: u8 = 5;
    pub(super) const GLOBAL: u8 = 6;
    pub(super) const EXPORT: u8 = 7;
    pub(super) const CODE: u8 = 10;
    pub(super) const DATA_COUNT: u8 = 12;
}

/// Returns the component with headroom in every module that can use it.
pub(super) fn component(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut to = bytes[..sections::HEADER_BYTES].to_vec();
    sections::for_each::<wasmparser::Error>(bytes, |id, content| {
        match id {
            component_section::CORE_MODULE => sections::put(&mut to, id, &module(content)?),
            component_section::COMPONENT => sections::put(&mut to, id, &component(content)?),
            _ => sections::put(&mut to, id, content),
        }
        Ok(())
    })?;
    Ok(to)
}

/// Returns the module with headroom, or the unchanged module if it cannot use headroom.
pub(super) fn module(bytes: &[u8]) -> Result<Vec<u8>> {
    let summary = ModuleSummary::of(bytes)?;
    let headroom = summary.headroom();
    let [memory] = summary.memories[..] else { return Ok(bytes.to_vec()) };
    if headroom == 0 {
        return Ok(bytes.to_vec());
    }
    // New items are appended so that the indices of existing items do not change.
    let added = AddedItems { size: summary.globals, grow_function: summary.functions };
    let size = size_global(memory.initial);
    let mut size_added = false;
    let mut to = bytes[..sections::HEADER_BYTES].to_vec();
    sections::for_each::<wasmparser::Error>(bytes, |id, content| {
        if !size_added && (section::EXPORT..=section::DATA_COUNT).contains(&id) {
            sections::put(&mut to, section::GLOBAL, &with_entry(&[0], &size)?);
            size_added = true;
        }
        match id {
            section::TYPE => sections::put(&mut to, id, &with_entry(content, GROW_TYPE)?),
            section::FUNCTION => {
                let mut type_index = Vec::new();
                summary.types.encode(&mut type_index);
                sections::put(&mut to, id, &with_entry(content, &type_index)?);
            }
            section::MEMORY => sections::put(&mut to, id, &memory_section(memory, headroom)),
            section::GLOBAL => {
                sections::put(&mut to, id, &with_entry(content, &size)?);
                size_added = true;
            }
            section::CODE => sections::put(&mut to, id, &code_section(content, added)?),
            _ => sections::put(&mut to, id, content),
        }
        Ok(())
    })?;
    Ok(to)
}

/// Indices of the items added to a module.
#[derive(Clone, Copy)]
struct AddedItems {
    /// Global that holds the number of pages visible to the guest.
    size: u32,
    /// Function that replaces `memory.grow`.
    grow_function: u32,
}

/// Encoded type of a function from a number of pages to the previous size, or -1.
const GROW_TYPE: &[u8] = &[0x60, 1, 0x7f, 1, 0x7f];

/// Encodes a mutable global with this initial value.
fn size_global(pages: u64) -> Vec<u8> {
    let mut to = vec![0x7f, 0x01, 0x41];
    (pages as i32).encode(&mut to);
    to.push(0x0b);
    to
}

/// Encodes the memory section with the enlarged memory.
fn memory_section(memory: MemoryType, headroom: u64) -> Vec<u8> {
    let mut to = vec![1, u8::from(memory.maximum.is_some())];
    (memory.initial + headroom).encode(&mut to);
    if let Some(maximum) = memory.maximum {
        maximum.encode(&mut to);
    }
    to
}

/// Rewrites the code section and appends the grow function.
fn code_section(content: &[u8], added: AddedItems) -> Result<Vec<u8>> {
    let mut reader = BinaryReader::new(content, 0);
    let count = reader.read_var_u32()?;
    let mut to = Vec::with_capacity(content.len() + 256);
    count.saturating_add(1).encode(&mut to);
    for _ in 0..count {
        let body = reader.read_reader()?;
        rewrite_function(&body, added)?.encode(&mut to);
    }
    grow_function(added).encode(&mut to);
    Ok(to)
}

/// Rewrites one function so that it reads and grows the size that is visible to the guest.
fn rewrite_function(body: &BinaryReader<'_>, added: AddedItems) -> Result<Vec<u8>> {
    let (starts_at, bytes) =
        (body.original_position(), body.clone().read_bytes(body.range().len())?);
    let mut to = Vec::with_capacity(bytes.len() + 16);
    let mut operators = FunctionBody::new(body.clone()).get_operators_reader()?;
    let mut copied = 0;
    while !operators.eof() {
        let at = operators.original_position() - starts_at;
        let operator = operators.read()?;
        let (instruction, index) = match operator {
            Operator::MemorySize { .. } => (0x23, added.size),
            Operator::MemoryGrow { .. } => (0x10, added.grow_function),
            _ => continue,
        };
        to.extend_from_slice(&bytes[copied..at]);
        to.push(instruction);
        index.encode(&mut to);
        copied = operators.original_position() - starts_at;
    }
    to.extend_from_slice(&bytes[copied..]);
    Ok(to)
}

/// Builds the replacement of `memory.grow`. It hands out the headroom first and grows the
/// memory only if that is not enough.
fn grow_function(AddedItems { size, .. }: AddedItems) -> Function {
    let (more, left) = (0, 1);
    let mut function = Function::new([(1, ValType::I32)]);
    function
        .instructions()
        .memory_size(0)
        .global_get(size)
        .i32_sub()
        .local_tee(left)
        .local_get(more)
        .i32_lt_u()
        .if_(BlockType::Empty)
        .local_get(more)
        .local_get(left)
        .i32_sub()
        .memory_grow(0)
        .i32_const(-1)
        .i32_eq()
        .if_(BlockType::Empty)
        .i32_const(-1)
        .return_()
        .end()
        .end()
        .global_get(size)
        .global_get(size)
        .local_get(more)
        .i32_add()
        .global_set(size)
        .end();
    function
}

/// Appends an entry to a section's list.
fn with_entry(content: &[u8], entry: &[u8]) -> Result<Vec<u8>> {
    let mut reader = BinaryReader::new(content, 0);
    let count = reader.read_var_u32()?;
    let mut to = Vec::with_capacity(content.len() + entry.len() + 1);
    count.saturating_add(1).encode(&mut to);
    to.extend_from_slice(&content[reader.original_position()..]);
    to.extend_from_slice(entry);
    Ok(to)
}
