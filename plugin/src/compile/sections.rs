//! The sections of a module or a component, as bytes: for rewrites that copy most of them.

use wasm_encoder::Encode as _;
use wasmparser::BinaryReader;

/// Size of the magic number and the version, before the first section.
pub(super) const HEADER_BYTES: usize = 8;

/// Ids of the sections of a component.
pub(super) mod component_section {
    pub(in crate::compile) const CORE_MODULE: u8 = 1;
    pub(in crate::compile) const CORE_INSTANCE: u8 = 2;
    pub(in crate::compile) const COMPONENT: u8 = 4;
    pub(in crate::compile) const INSTANCE: u8 = 5;
    pub(in crate::compile) const ALIAS: u8 = 6;
    pub(in crate::compile) const TYPE: u8 = 7;
    pub(in crate::compile) const CANONICAL: u8 = 8;
    pub(in crate::compile) const IMPORT: u8 = 10;
    pub(in crate::compile) const EXPORT: u8 = 11;
}

/// Calls `each` with the id and the content of each section.
pub(super) fn for_each<'a, E: From<wasmparser::Error>>(
    bytes: &'a [u8],
    mut each: impl FnMut(u8, &'a [u8]) -> Result<(), E>,
) -> Result<(), E> {
    let mut reader = BinaryReader::new(bytes, 0);
    reader.read_bytes(HEADER_BYTES)?;
    while !reader.eof() {
        let id = reader.read_u8()?;
        let length = reader.read_var_u32()? as usize;
        each(id, reader.read_bytes(length)?)?;
    }
    Ok(())
}

/// Appends a section.
pub(super) fn put(to: &mut Vec<u8>, id: u8, content: &[u8]) {
    to.push(id);
    content.encode(to);
}
