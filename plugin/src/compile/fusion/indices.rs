//! The modules to merge, and the indices of their items in the merged module.

use super::Unfusable;
use std::collections::HashMap;
use wasmparser::{ExternalKind, Parser, Payload, TypeRef};

/// A module to merge. Its imports come from outside or from earlier parts.
pub(super) struct Part<'a> {
    pub(super) bytes: &'a [u8],
    /// The origins of its imports, in their order.
    pub(super) imports: Vec<Origin<'a>>,
}

/// The origin of an import.
#[derive(Debug, Clone, Copy)]
pub(super) enum Origin<'a> {
    /// This import of the merged module.
    Outside(usize),
    /// An export of an earlier part.
    Part { part: usize, name: &'a str },
}

/// Contents of a module that are relevant to merging.
pub(super) struct Contents<'a> {
    types: u32,
    imports: Vec<TypeRef>,
    /// Numbers of the defined functions, tables, memories and globals.
    defined: Counts,
    elements: u32,
    data: u32,
    exports: HashMap<&'a str, (ExternalKind, u32)>,
}

/// Numbers of functions, tables, memories and globals.
#[derive(Debug, Default, Clone, Copy)]
struct Counts {
    functions: u32,
    tables: u32,
    memories: u32,
    globals: u32,
}

impl Counts {
    fn of(&mut self, kind: ExternalKind) -> Result<&mut u32, Unfusable> {
        Ok(match kind {
            ExternalKind::Func | ExternalKind::FuncExact => &mut self.functions,
            ExternalKind::Table => &mut self.tables,
            ExternalKind::Memory => &mut self.memories,
            ExternalKind::Global => &mut self.globals,
            ExternalKind::Tag => return Err(Unfusable::Because("a module has tags")),
        })
    }

    /// Takes the next index of a kind.
    fn next(&mut self, kind: ExternalKind) -> Result<u32, Unfusable> {
        let count = self.of(kind)?;
        *count += 1;
        Ok(*count - 1)
    }
}

/// Returns the kind of an import.
pub(super) fn kind_of(ty: &TypeRef) -> ExternalKind {
    match ty {
        TypeRef::Func(_) | TypeRef::FuncExact(_) => ExternalKind::Func,
        TypeRef::Table(_) => ExternalKind::Table,
        TypeRef::Memory(_) => ExternalKind::Memory,
        TypeRef::Global(_) => ExternalKind::Global,
        TypeRef::Tag(_) => ExternalKind::Tag,
    }
}

impl<'a> Contents<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Result<Contents<'a>, Unfusable> {
        let (types, elements, data) = (0, 0, 0);
        let (imports, defined, exports) = Default::default();
        let mut contents = Contents { types, imports, defined, elements, data, exports };
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::TypeSection(groups) => {
                    for group in groups {
                        contents.types += group?.types().len() as u32;
                    }
                }
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        contents.imports.push(import?.ty);
                    }
                }
                Payload::FunctionSection(section) => contents.defined.functions = section.count(),
                Payload::TableSection(section) => contents.defined.tables = section.count(),
                Payload::MemorySection(section) => contents.defined.memories = section.count(),
                Payload::GlobalSection(section) => contents.defined.globals = section.count(),
                Payload::ElementSection(section) => contents.elements = section.count(),
                Payload::DataSection(section) => contents.data = section.count(),
                Payload::ExportSection(section) => {
                    for export in section {
                        let export = export?;
                        contents.exports.insert(export.name, (export.kind, export.index));
                    }
                }
                Payload::StartSection { .. } => {
                    return Err(Unfusable::Because("a module has a start function"));
                }
                Payload::TagSection(_) => return Err(Unfusable::Because("a module has tags")),
                _ => {}
            }
        }
        Ok(contents)
    }
}

/// An import of the merged module, with its type in the part that imports it first.
pub(super) struct Imported {
    pub(super) part: usize,
    pub(super) ty: TypeRef,
}

/// Returns the imports of the merged module.
pub(super) fn imported(
    parts: &[Part<'_>],
    contents: &[Contents<'_>],
    outside: usize,
) -> Result<Vec<Imported>, Unfusable> {
    let mut found: Vec<Option<Imported>> = (0..outside).map(|_| None).collect();
    for (number, (part, contents)) in parts.iter().zip(contents).enumerate() {
        if part.imports.len() != contents.imports.len() {
            return Err(Unfusable::Because("a module has other imports than expected"));
        }
        for (origin, ty) in part.imports.iter().zip(&contents.imports) {
            if let Origin::Outside(index) = origin {
                let slot = found.get_mut(*index).ok_or(Unfusable::Because("no such import"))?;
                slot.get_or_insert(Imported { part: number, ty: *ty });
            }
        }
    }
    found.into_iter().collect::<Option<_>>().ok_or(Unfusable::Because("an import is unused"))
}

/// The indices of a part's items in the merged module.
#[derive(Default)]
pub(super) struct IndexMap {
    pub(super) first_type: u32,
    pub(super) first_element: u32,
    pub(super) first_data: u32,
    pub(super) functions: Vec<u32>,
    tables: Vec<u32>,
    memories: Vec<u32>,
    pub(super) globals: Vec<u32>,
}

impl IndexMap {
    fn of(&mut self, kind: ExternalKind) -> Result<&mut Vec<u32>, Unfusable> {
        Ok(match kind {
            ExternalKind::Func | ExternalKind::FuncExact => &mut self.functions,
            ExternalKind::Table => &mut self.tables,
            ExternalKind::Memory => &mut self.memories,
            ExternalKind::Global => &mut self.globals,
            ExternalKind::Tag => return Err(Unfusable::Because("a module has tags")),
        })
    }

    /// Returns the index of an item.
    pub(super) fn index(&self, kind: ExternalKind, index: u32) -> Result<u32, Unfusable> {
        let indices = match kind {
            ExternalKind::Func | ExternalKind::FuncExact => &self.functions,
            ExternalKind::Table => &self.tables,
            ExternalKind::Memory => &self.memories,
            ExternalKind::Global => &self.globals,
            ExternalKind::Tag => return Err(Unfusable::Because("a module has tags")),
        };
        indices.get(index as usize).copied().ok_or(Unfusable::Because("no such index"))
    }
}

/// Computes the indices of all parts. Imports come first, then the items that the parts define.
pub(super) fn maps(
    parts: &[Part<'_>],
    contents: &[Contents<'_>],
    imported: &[Imported],
) -> Result<Vec<IndexMap>, Unfusable> {
    let mut next = Counts::default();
    let outside = imported
        .iter()
        .map(|import| next.next(kind_of(&import.ty)))
        .collect::<Result<Vec<_>, _>>()?;
    let mut maps: Vec<IndexMap> = Vec::new();
    let (mut types, mut elements, mut data) = (0, 0, 0);
    for (number, (part, own)) in parts.iter().zip(contents).enumerate() {
        let mut map = IndexMap {
            first_type: types,
            first_element: elements,
            first_data: data,
            ..IndexMap::default()
        };
        for (origin, ty) in part.imports.iter().zip(&own.imports) {
            let kind = kind_of(ty);
            let index = match origin {
                Origin::Outside(index) => outside[*index],
                Origin::Part { part, .. } if *part >= number => {
                    return Err(Unfusable::Because("a module imports from a later one"));
                }
                Origin::Part { part, name } => {
                    let (found, index) = exported(contents, *part, name)?;
                    if found != kind {
                        return Err(Unfusable::Because("an import has another kind"));
                    }
                    maps[*part].index(found, index)?
                }
            };
            map.of(kind)?.push(index);
        }
        let mut defined = own.defined;
        for kind in
            [ExternalKind::Func, ExternalKind::Table, ExternalKind::Memory, ExternalKind::Global]
        {
            for _ in 0..*defined.of(kind)? {
                map.of(kind)?.push(next.next(kind)?);
            }
        }
        types += own.types;
        elements += own.elements;
        data += own.data;
        maps.push(map);
    }
    Ok(maps)
}

/// Returns the kind and the index of a part's export.
pub(super) fn exported(
    contents: &[Contents<'_>],
    part: usize,
    name: &str,
) -> Result<(ExternalKind, u32), Unfusable> {
    contents[part].exports.get(name).copied().ok_or(Unfusable::Because("no such export"))
}
