//! The definitions of a component, and what its core instances import from each other.

use super::core_module::{CoreModule, check_modules_stay, is_module, read};
use super::indices::{Origin, kind_of};
use super::{MAX_ITEMS, Unfusable};
use crate::compile::sections::component_section;
use std::borrow::Cow;
use std::collections::HashMap;
use wasmparser::{
    CanonicalFunction, ComponentAlias, ComponentTypeRef, ExternalKind, Instance, InstantiationArg,
    TypeRef,
};

/// A definition of a component, or a section without core items.
pub(super) enum Item<'a> {
    Instance(Instance<'a>),
    Alias(ComponentAlias<'a>),
    Canonical(CanonicalFunction),
    Section(u8, &'a [u8]),
}

/// An index space of core items.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Space {
    Function,
    Table,
    Memory,
    Global,
    Instance,
}

impl Space {
    pub(super) fn of(kind: ExternalKind) -> Result<Space, Unfusable> {
        Ok(match kind {
            ExternalKind::Func | ExternalKind::FuncExact => Space::Function,
            ExternalKind::Table => Space::Table,
            ExternalKind::Memory => Space::Memory,
            ExternalKind::Global => Space::Global,
            ExternalKind::Tag => return Err(Unfusable::Because("the component uses tags")),
        })
    }
}

impl Item<'_> {
    /// Returns the index space in which the item has the next index, if it is a core item.
    pub(super) fn space(&self) -> Result<Option<Space>, Unfusable> {
        Ok(match self {
            Item::Instance(_) => Some(Space::Instance),
            Item::Alias(ComponentAlias::CoreInstanceExport { kind, .. }) => Some(Space::of(*kind)?),
            Item::Canonical(CanonicalFunction::Lift { .. })
            | Item::Alias(_)
            | Item::Section(..) => None,
            Item::Canonical(_) => Some(Space::Function),
        })
    }
}
/// The definitions of a component, in their order.
pub(super) struct Graph<'a> {
    pub(super) items: Vec<Item<'a>>,
    /// The modules, by their index; `None` for one that is not defined here.
    pub(super) modules: Vec<Option<CoreModule<'a>>>,
    /// The definition of each core item.
    definitions: HashMap<Space, Vec<usize>>,
}

/// The definition of an import of a core instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum ImportSource<'a> {
    /// An export of the instance that this item creates.
    Export { instance: usize, name: &'a str },
    /// The item itself, a function of the component.
    Item(usize),
}
impl<'a> Graph<'a> {
    pub(super) fn of(sections: &'a [(u8, Cow<'a, [u8]>)]) -> Result<Graph<'a>, Unfusable> {
        let (mut items, mut modules) = (Vec::new(), Vec::new());
        for (id, content) in sections {
            let content = content.as_ref();
            match *id {
                component_section::CORE_INSTANCE => {
                    for instance in read(content)? {
                        items.push(Item::Instance(instance?));
                    }
                    continue;
                }
                component_section::ALIAS => {
                    for alias in read(content)? {
                        let alias = alias?;
                        if is_module(&alias) {
                            modules.push(None);
                        }
                        items.push(Item::Alias(alias));
                    }
                    continue;
                }
                component_section::CANONICAL => {
                    for function in read(content)? {
                        items.push(Item::Canonical(function?));
                    }
                    continue;
                }
                component_section::CORE_MODULE => modules.push(Some(CoreModule::of(content)?)),
                component_section::IMPORT => {
                    for import in read::<wasmparser::ComponentImport<'_>>(content)? {
                        if let ComponentTypeRef::Module(_) = import?.ty {
                            modules.push(None);
                        }
                    }
                }
                _ => check_modules_stay(*id, content)?,
            }
            items.push(Item::Section(*id, content));
        }
        if items.len() > MAX_ITEMS {
            return Err(Unfusable::Because("the component has too many definitions"));
        }
        let mut definitions: HashMap<Space, Vec<usize>> = HashMap::new();
        for (number, item) in items.iter().enumerate() {
            if let Some(space) = item.space()? {
                definitions.entry(space).or_default().push(number);
            }
        }
        Ok(Graph { items, modules, definitions })
    }

    /// Returns the definition of a core item.
    pub(super) fn definition(&self, space: Space, index: u32) -> Result<usize, Unfusable> {
        let items = self.definitions.get(&space);
        let item = items.and_then(|items| items.get(index as usize));
        item.copied().ok_or(Unfusable::Because("no such core item"))
    }

    /// Returns the module of an instantiation, if it is defined here.
    pub(super) fn module(&self, item: usize) -> Option<&CoreModule<'a>> {
        match &self.items[item] {
            Item::Instance(Instance::Instantiate { module_index, .. }) => {
                self.modules.get(*module_index as usize)?.as_ref()
            }
            _ => None,
        }
    }

    /// Returns the definition of each import of an instantiation.
    pub(super) fn sources(
        &self,
        module: &CoreModule<'a>,
        arguments: &[InstantiationArg<'a>],
    ) -> Result<Vec<ImportSource<'a>>, Unfusable> {
        let source = |(module, name, _): &(&str, &'a str, TypeRef)| {
            let argument = arguments.iter().find(|it| it.name == *module);
            let argument = argument.ok_or(Unfusable::Because("an argument is missing"))?;
            self.export(self.definition(Space::Instance, argument.index)?, name)
        };
        module.imports.iter().map(source).collect()
    }

    /// Returns the definition of an export of an instance.
    fn export(&self, instance: usize, name: &'a str) -> Result<ImportSource<'a>, Unfusable> {
        let Item::Instance(Instance::FromExports(exports)) = &self.items[instance] else {
            return Ok(ImportSource::Export { instance, name });
        };
        let export = exports.iter().find(|export| export.name == name);
        let export = export.ok_or(Unfusable::Because("no such export of an instance"))?;
        let item = self.definition(Space::of(export.kind)?, export.index)?;
        match &self.items[item] {
            Item::Alias(ComponentAlias::CoreInstanceExport { instance_index, name, .. }) => {
                self.export(self.definition(Space::Instance, *instance_index)?, name)
            }
            _ => Ok(ImportSource::Item(item)),
        }
    }

    /// Returns the origin of each import of a member.
    pub(super) fn origins(
        &self,
        member: usize,
        members: &[usize],
        outside: &mut Vec<(ImportSource<'a>, ExternalKind)>,
    ) -> Result<Vec<Origin<'a>>, Unfusable> {
        let (Item::Instance(Instance::Instantiate { args, .. }), Some(module)) =
            (&self.items[member], self.module(member))
        else {
            return Err(Unfusable::Because("the table is not of a module"));
        };
        let sources = self.sources(module, args)?;
        let origin = |(source, (_, _, ty)): (ImportSource<'a>, &(&str, &str, TypeRef))| {
            if let ImportSource::Export { instance, name } = source
                && let Some(part) = members.iter().position(|member| *member == instance)
            {
                return Origin::Part { part, name };
            }
            let import = (source, kind_of(ty));
            Origin::Outside(outside.iter().position(|it| *it == import).unwrap_or_else(|| {
                outside.push(import);
                outside.len() - 1
            }))
        };
        Ok(sources.into_iter().zip(&module.imports).map(origin).collect())
    }
}
