//! The instances that can be fused.

use super::core_module::read;
use super::graph::{Graph, ImportSource, Item, Space};
use super::indices::kind_of;
use super::{MIN_ELEMENTS, Unfusable};
use crate::compile::sections::component_section;
use std::collections::BTreeSet;
use wasmparser::{
    CanonicalFunction, CanonicalOption, ComponentAlias, ComponentType, ExternalKind, Instance,
    TypeRef,
};

/// The instances to fuse, and the items that have to follow their fused instance.
pub(super) struct Members {
    /// Instantiations, in their order.
    pub(super) instances: Vec<usize>,
    /// Items before the last instantiation that depend on a member.
    pub(super) delayed: BTreeSet<usize>,
}
impl Graph<'_> {
    /// Returns the instance whose table gets the most elements of other modules.
    fn provider(&self) -> Result<Option<usize>, Unfusable> {
        let mut found: Option<(u32, usize)> = None;
        for (number, item) in self.items.iter().enumerate() {
            let Item::Instance(Instance::Instantiate { args, .. }) = item else { continue };
            let Some(module) = self.module(number) else { continue };
            if module.elements < MIN_ELEMENTS.max(found.map_or(0, |(most, _)| most + 1)) {
                continue;
            }
            let sources = self.sources(module, args)?;
            let is_table = |(_, _, ty): &(&str, &str, TypeRef)| matches!(ty, TypeRef::Table(_));
            let table = module.imports.iter().zip(sources).find(|(import, _)| is_table(import));
            if let Some((_, ImportSource::Export { instance, .. })) = table {
                found = Some((module.elements, instance));
            }
        }
        Ok(found.map(|(_, provider)| provider))
    }

    /// Selects the instances to fuse: the provider of a table, and those that share its table,
    /// memory or globals and need nothing that depends on a member. Returns `None` if there is
    /// nothing to fuse.
    pub(super) fn members(&self) -> Result<Option<Members>, Unfusable> {
        let Some(provider) = self.provider()? else { return Ok(None) };
        let mut members = vec![provider];
        let mut dependents = BTreeSet::new();
        for number in provider + 1..self.items.len() {
            if self.can_join(number, &members, &dependents)? {
                members.push(number);
            } else if self.depends(number, &members, &dependents)? {
                dependents.insert(number);
            }
        }
        let last = members[members.len() - 1];
        if members.len() < 2 {
            return Ok(None);
        }
        for member in &members {
            self.check_single_use(*member)?;
        }
        let delayed: BTreeSet<usize> = dependents.range(..last).copied().collect();
        for number in &delayed {
            match &self.items[*number] {
                Item::Alias(_)
                | Item::Instance(Instance::FromExports(_))
                | Item::Canonical(CanonicalFunction::Lower { .. }) => {}
                // Without a start function and in another memory and table, its initialisation
                // is independent of that of the later members.
                Item::Instance(Instance::Instantiate { .. })
                    if self.is_independent(*number, &members)? => {}
                _ => return Err(Unfusable::Because("an item between the modules needs them")),
            }
        }
        Ok(Some(Members { instances: members, delayed }))
    }

    /// Returns `true` if an instantiation runs no code, and writes into no table or memory of a
    /// member.
    fn is_independent(&self, number: usize, members: &[usize]) -> Result<bool, Unfusable> {
        let Item::Instance(Instance::Instantiate { args, .. }) = &self.items[number] else {
            return Ok(false);
        };
        let Some(module) = self.module(number).filter(|module| !module.has_start) else {
            return Ok(false);
        };
        Ok(!self.sources(module, args)?.iter().zip(&module.imports).any(|(source, (_, _, ty))| {
            let is_of_member = matches!(source, ImportSource::Export { instance, .. }
                if members.contains(instance));
            is_of_member && kind_of(ty) != ExternalKind::Func
        }))
    }

    fn can_join(
        &self,
        number: usize,
        members: &[usize],
        dependents: &BTreeSet<usize>,
    ) -> Result<bool, Unfusable> {
        let Item::Instance(Instance::Instantiate { args, .. }) = &self.items[number] else {
            return Ok(false);
        };
        let Some(module) = self.module(number).filter(|module| !module.has_start) else {
            return Ok(false);
        };
        let (mut shares, mut needs_dependents) = (false, false);
        for (source, (_, _, ty)) in self.sources(module, args)?.iter().zip(&module.imports) {
            match source {
                ImportSource::Export { instance, .. } if members.contains(instance) => {
                    shares |= kind_of(ty) != ExternalKind::Func;
                }
                ImportSource::Export { instance: item, .. } | ImportSource::Item(item) => {
                    needs_dependents |= dependents.contains(item);
                }
            }
        }
        Ok(shares && !needs_dependents)
    }

    /// Returns `true` if an item needs a member or another dependent.
    fn depends(
        &self,
        number: usize,
        members: &[usize],
        dependents: &BTreeSet<usize>,
    ) -> Result<bool, Unfusable> {
        let is_needed = |item: usize| members.contains(&item) || dependents.contains(&item);
        let needs = |space, index| self.definition(space, index).map(is_needed);
        let any = |options: &[CanonicalOption]| {
            let mut needed = false;
            for option in options {
                needed |= match option {
                    CanonicalOption::Memory(index) => needs(Space::Memory, *index)?,
                    CanonicalOption::Realloc(index)
                    | CanonicalOption::PostReturn(index)
                    | CanonicalOption::Callback(index) => needs(Space::Function, *index)?,
                    _ => false,
                };
            }
            Ok::<_, Unfusable>(needed)
        };
        Ok(match &self.items[number] {
            Item::Alias(ComponentAlias::CoreInstanceExport { instance_index, .. }) => {
                needs(Space::Instance, *instance_index)?
            }
            Item::Instance(Instance::Instantiate { args, .. }) => {
                let mut needed = false;
                for argument in args {
                    needed |= needs(Space::Instance, argument.index)?;
                }
                needed
            }
            Item::Instance(Instance::FromExports(exports)) => {
                let mut needed = false;
                for export in exports {
                    needed |= needs(Space::of(export.kind)?, export.index)?;
                }
                needed
            }
            Item::Canonical(CanonicalFunction::Lift { core_func_index, options, .. }) => {
                needs(Space::Function, *core_func_index)? || any(options)?
            }
            Item::Canonical(CanonicalFunction::Lower { options, .. }) => any(options)?,
            Item::Canonical(
                CanonicalFunction::ResourceNew { .. }
                | CanonicalFunction::ResourceDrop { .. }
                | CanonicalFunction::ResourceRep { .. },
            ) => false,
            Item::Canonical(_) => {
                return Err(Unfusable::Because("the component uses asynchronous functions"));
            }
            Item::Section(component_section::TYPE, content) => {
                let mut needed = false;
                for ty in read::<ComponentType<'_>>(content)? {
                    if let ComponentType::Resource { dtor: Some(function), .. } = ty? {
                        needed |= needs(Space::Function, function)?;
                    }
                }
                needed
            }
            Item::Alias(_) | Item::Section(..) => false,
        })
    }

    /// Returns an error if the module of an instantiation is not defined here or is used again.
    fn check_single_use(&self, number: usize) -> Result<(), Unfusable> {
        let Item::Instance(Instance::Instantiate { module_index, .. }) = &self.items[number] else {
            return Err(Unfusable::Because("the table is not of a module"));
        };
        let uses = self.items.iter().filter(|item| {
            matches!(item, Item::Instance(Instance::Instantiate { module_index: used, .. })
                if used == module_index)
        });
        match self.module(number) {
            Some(module) if uses.count() == 1 && !module.has_start => Ok(()),
            _ => Err(Unfusable::Because("a module is used twice, has a start or is not here")),
        }
    }
}
