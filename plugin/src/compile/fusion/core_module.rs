//! The core modules of a component.

use super::{MAX_IMPORTS, Unfusable};
use crate::compile::sections::component_section;
use wasmparser::{
    BinaryReader, ComponentAlias, ComponentExternalKind, ComponentInstance,
    ComponentOuterAliasKind, ElementKind, Parser, Payload, SectionLimited, TypeRef,
};

/// A core module of the component.
pub(super) struct CoreModule<'a> {
    pub(super) bytes: &'a [u8],
    pub(super) imports: Vec<(&'a str, &'a str, TypeRef)>,
    /// Number of elements that it writes into imported tables.
    pub(super) elements: u32,
    pub(super) has_start: bool,
}
/// Reads the entries of a section.
pub(super) fn read<'a, T: wasmparser::FromReader<'a>>(
    content: &'a [u8],
) -> Result<SectionLimited<'a, T>, Unfusable> {
    Ok(SectionLimited::new(BinaryReader::new(content, 0))?)
}

impl<'a> CoreModule<'a> {
    pub(super) fn of(bytes: &'a [u8]) -> Result<CoreModule<'a>, Unfusable> {
        let mut module = CoreModule { bytes, imports: Vec::new(), elements: 0, has_start: false };
        let mut imported_tables = 0;
        for payload in Parser::new(0).parse_all(bytes) {
            match payload? {
                Payload::ImportSection(imports) => {
                    for import in imports.into_imports() {
                        let import = import?;
                        imported_tables += u32::from(matches!(import.ty, TypeRef::Table(_)));
                        module.imports.push((import.module, import.name, import.ty));
                        if module.imports.len() > MAX_IMPORTS {
                            return Err(Unfusable::Because("a module has too many imports"));
                        }
                    }
                }
                Payload::ElementSection(elements) => {
                    for element in elements {
                        let element = element?;
                        if let ElementKind::Active { table_index, .. } = element.kind
                            && table_index.unwrap_or(0) < imported_tables
                        {
                            module.elements += match element.items {
                                wasmparser::ElementItems::Functions(items) => items.count(),
                                wasmparser::ElementItems::Expressions(_, items) => items.count(),
                            };
                        }
                    }
                }
                Payload::StartSection { .. } => module.has_start = true,
                _ => {}
            }
        }
        Ok(module)
    }
}

/// Returns `true` if an alias is a module.
pub(super) fn is_module(alias: &ComponentAlias<'_>) -> bool {
    match alias {
        ComponentAlias::InstanceExport { kind, .. } => *kind == ComponentExternalKind::Module,
        ComponentAlias::Outer { kind, .. } => *kind == ComponentOuterAliasKind::CoreModule,
        ComponentAlias::CoreInstanceExport { .. } => false,
    }
}

/// Returns an error if a section exports a module, or passes it to another component.
pub(super) fn check_modules_stay(id: u8, content: &[u8]) -> Result<(), Unfusable> {
    let mut leaves = false;
    match id {
        component_section::EXPORT => {
            for export in read::<wasmparser::ComponentExport<'_>>(content)? {
                leaves |= export?.kind == ComponentExternalKind::Module;
            }
        }
        component_section::INSTANCE => {
            for instance in read::<ComponentInstance<'_>>(content)? {
                leaves |= match instance? {
                    ComponentInstance::Instantiate { args, .. } => {
                        args.iter().any(|argument| argument.kind == ComponentExternalKind::Module)
                    }
                    ComponentInstance::FromExports(exports) => {
                        exports.iter().any(|export| export.kind == ComponentExternalKind::Module)
                    }
                };
            }
        }
        component_section::COMPONENT => {
            for payload in Parser::new(0).parse_all(content) {
                let Payload::ComponentAliasSection(aliases) = payload? else { continue };
                for alias in aliases {
                    leaves |= is_module(&alias?);
                }
            }
        }
        _ => {}
    }
    match leaves {
        true => Err(Unfusable::Because("a module is used by another component")),
        false => Ok(()),
    }
}
