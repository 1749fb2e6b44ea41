//! Merging of modules whose imports are each other's exports.

use super::Unfusable;
use super::constants::Constant;
use super::indices::{Contents, IndexMap, Part, exported, imported, maps};
use std::collections::{BTreeMap, HashMap};
use wasm_encoder::reencode::{self, Reencode};
use wasm_encoder::{
    CodeSection, ConstExpr, DataCountSection, DataSection, ElementSection, ExportKind,
    ExportSection, FunctionSection, GlobalSection, ImportSection, MemorySection, Module, NameMap,
    NameSection, TableSection, TypeSection,
};
use wasmparser::{ExternalKind, KnownCustom, Name, Parser, Payload};

/// Name of the imported module of all imports of the merged module.
pub(super) const IMPORTED_MODULE: &str = "";

/// Returns the name of the merged module's export for an export of a part.
pub(super) fn export_name(part: usize, name: &str) -> String {
    format!("{part}:{name}")
}

/// Merges parts into a module with `outside` imports, whose names are their numbers, and with the
/// given exports of parts.
pub(super) fn merge(
    parts: &[Part<'_>],
    outside: usize,
    exports: &[(usize, &str)],
) -> Result<Vec<u8>, Unfusable> {
    let contents =
        parts.iter().map(|part| Contents::of(part.bytes)).collect::<Result<Vec<_>, _>>()?;
    let imported = imported(parts, &contents, outside)?;
    let maps = maps(parts, &contents, &imported)?;
    let mut sections = Sections::default();
    for (number, import) in imported.iter().enumerate() {
        let entity = PartEncoder { map: &maps[import.part], known: &mut HashMap::new() }
            .entity_type(import.ty)?;
        sections.imports.import(IMPORTED_MODULE, &number.to_string(), entity);
    }
    let mut known = HashMap::new();
    for (map, part) in maps.iter().zip(parts) {
        let mut encoder = PartEncoder { map, known: &mut known };
        sections.add(&mut encoder, part.bytes)?;
    }
    for (part, name) in exports {
        let (kind, index) = exported(&contents, *part, name)?;
        let index = maps[*part].index(kind, index)?;
        sections.exports.export(&export_name(*part, name), ExportKind::from(kind), index);
    }
    Ok(sections.into_module())
}
/// The sections of the merged module.
#[derive(Default)]
struct Sections {
    types: TypeSection,
    imports: ImportSection,
    functions: FunctionSection,
    tables: TableSection,
    memories: MemorySection,
    globals: GlobalSection,
    exports: ExportSection,
    elements: ElementSection,
    code: CodeSection,
    data: DataSection,
    names: BTreeMap<u32, String>,
}

impl Sections {
    /// Adds all items that a part defines.
    fn add(&mut self, part: &mut PartEncoder<'_>, bytes: &[u8]) -> Result<(), Unfusable> {
        let mut bodies = Vec::new();
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::TypeSection(section) => {
                    part.parse_type_section(&mut self.types, section)?;
                }
                Payload::FunctionSection(section) => {
                    part.parse_function_section(&mut self.functions, section)?;
                }
                Payload::TableSection(section) => {
                    part.parse_table_section(&mut self.tables, section)?;
                }
                Payload::MemorySection(section) => {
                    part.parse_memory_section(&mut self.memories, section)?;
                }
                Payload::GlobalSection(section) => {
                    let first = part.map.globals.len() - section.count() as usize;
                    for (global, index) in section.into_iter().zip(&part.map.globals[first..]) {
                        let global = global?;
                        let value = part.constant(&global.init_expr);
                        if let (false, Some(value)) = (global.ty.mutable, value) {
                            part.known.insert(*index, value);
                        }
                        part.parse_global(&mut self.globals, global)?;
                    }
                }
                Payload::ElementSection(section) => {
                    part.parse_element_section(&mut self.elements, section)?;
                }
                Payload::CodeSectionEntry(body) => bodies.push(body),
                Payload::DataSection(section) => {
                    part.parse_data_section(&mut self.data, section)?;
                }
                Payload::CustomSection(section) => {
                    if let KnownCustom::Name(names) = section.as_known() {
                        self.add_names(part.map, names);
                    }
                }
                _ => {}
            }
        }
        for body in bodies {
            part.parse_function_body(&mut self.code, body)?;
        }
        Ok(())
    }

    /// Adds the names of functions, which backtraces show. Malformed names are ignored.
    fn add_names(&mut self, map: &IndexMap, names: wasmparser::NameSectionReader<'_>) {
        for name in names.into_iter().map_while(Result::ok) {
            let Name::Function(functions) = name else { continue };
            for naming in functions.into_iter().map_while(Result::ok) {
                if let Some(index) = map.functions.get(naming.index as usize) {
                    self.names.insert(*index, naming.name.to_owned());
                }
            }
        }
    }

    fn into_module(self) -> Vec<u8> {
        let mut names = NameMap::new();
        self.names.iter().for_each(|(index, name)| names.append(*index, name));
        let mut name_section = NameSection::new();
        name_section.functions(&names);
        let mut module = Module::new();
        module
            .section(&self.types)
            .section(&self.imports)
            .section(&self.functions)
            .section(&self.tables)
            .section(&self.memories)
            .section(&self.globals)
            .section(&self.exports)
            .section(&self.elements)
            .section(&DataCountSection { count: self.data.len() })
            .section(&self.code)
            .section(&self.data)
            .section(&name_section);
        module.finish()
    }
}

/// Encoder of a part's items with their indices in the merged module.
struct PartEncoder<'m> {
    map: &'m IndexMap,
    /// Known values of globals of the merged module.
    known: &'m mut HashMap<u32, Constant>,
}

impl PartEncoder<'_> {
    fn constant(&self, expression: &wasmparser::ConstExpr<'_>) -> Option<Constant> {
        let global = |index: u32| {
            let index = self.map.globals.get(index as usize)?;
            self.known.get(index).copied()
        };
        Constant::of(expression, global)
    }
}

type Encoded<T> = Result<T, reencode::Error<Unfusable>>;

impl Reencode for PartEncoder<'_> {
    type Error = Unfusable;

    fn type_index(&mut self, index: u32) -> Encoded<u32> {
        Ok(self.map.first_type + index)
    }

    fn element_index(&mut self, index: u32) -> Encoded<u32> {
        Ok(self.map.first_element + index)
    }

    fn data_index(&mut self, index: u32) -> Encoded<u32> {
        Ok(self.map.first_data + index)
    }

    fn function_index(&mut self, index: u32) -> Encoded<u32> {
        self.map.index(ExternalKind::Func, index).map_err(reencode::Error::UserError)
    }

    fn table_index(&mut self, index: u32) -> Encoded<u32> {
        self.map.index(ExternalKind::Table, index).map_err(reencode::Error::UserError)
    }

    fn memory_index(&mut self, index: u32) -> Encoded<u32> {
        self.map.index(ExternalKind::Memory, index).map_err(reencode::Error::UserError)
    }

    fn global_index(&mut self, index: u32) -> Encoded<u32> {
        self.map.index(ExternalKind::Global, index).map_err(reencode::Error::UserError)
    }

    /// Replaces an expression whose value is known. Only globals that the module imports may
    /// occur in others.
    fn const_expr(&mut self, expression: wasmparser::ConstExpr<'_>) -> Encoded<ConstExpr> {
        match self.constant(&expression) {
            Some(value) => Ok(value.to_expression()),
            None => reencode::utils::const_expr(self, expression),
        }
    }
}
