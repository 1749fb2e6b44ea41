//! A component with one instance in place of the fused ones.
//!
//! The fused instance is created where the last of its members was. Items that need an earlier
//! member move behind it, so core items get other indices.

use super::Unfusable;
use super::graph::{Graph, ImportSource, Item, Space};
use super::indices::Part;
use super::members::Members;
use super::merge::{IMPORTED_MODULE, export_name, merge};
use crate::compile::sections::{self, component_section};
use std::borrow::Cow;
use std::collections::HashMap;
use wasm_encoder::reencode::{self, Reencode, ReencodeComponent};
use wasm_encoder::{
    Alias, CanonicalFunctionSection, Component, ComponentAliasSection, ComponentTypeSection,
    ExportKind, InstanceSection, ModuleArg, RawSection,
};
use wasmparser::{BinaryReader, ComponentAlias, ExternalKind, Instance, SectionLimited};

/// An empty module, which takes the place of one that is fused into another.
const EMPTY_MODULE: &[u8] = b"\0asm\x01\0\0\0";

/// Returns the component with fused modules, or `None` if it has none to fuse.
pub(super) fn level(sections: &[(u8, Cow<'_, [u8]>)]) -> Result<Option<Vec<u8>>, Unfusable> {
    let graph = Graph::of(sections)?;
    let Some(members) = graph.members()? else { return Ok(None) };
    Rewrite::new(&graph, &members)?.component().map(Some)
}

struct Rewrite<'g, 'a> {
    graph: &'g Graph<'a>,
    members: &'g Members,
    /// The imports of the fused module.
    outside: Vec<(ImportSource<'a>, ExternalKind)>,
    parts: Vec<Part<'a>>,
    /// Exports of members that other items need.
    exports: Vec<(usize, &'a str)>,
    /// New indices of the items that have been written.
    indices: HashMap<usize, u32>,
    next: HashMap<Space, u32>,
    /// Old indices of the items, by space.
    old: HashMap<(Space, u32), usize>,
    fused: u32,
    to: Component,
}

impl<'g, 'a> Rewrite<'g, 'a> {
    fn new(graph: &'g Graph<'a>, members: &'g Members) -> Result<Rewrite<'g, 'a>, Unfusable> {
        let (mut outside, mut parts) = (Vec::new(), Vec::new());
        for member in &members.instances {
            let imports = graph.origins(*member, &members.instances, &mut outside)?;
            let module = graph.module(*member).ok_or(Unfusable::Because("no module"))?;
            parts.push(Part { bytes: module.bytes, imports });
        }
        let mut old = HashMap::new();
        let mut next: HashMap<Space, u32> = HashMap::new();
        for (number, item) in graph.items.iter().enumerate() {
            if let Some(space) = item.space()? {
                let index = next.entry(space).or_default();
                old.insert((space, *index), number);
                *index += 1;
            }
        }
        let (exports, indices, next) = Default::default();
        let (fused, to) = (0, Component::new());
        Ok(Rewrite { graph, members, outside, parts, exports, indices, next, old, fused, to })
    }

    fn component(mut self) -> Result<Vec<u8>, Unfusable> {
        let graph = self.graph;
        let members = self.members;
        let last = members.instances[members.instances.len() - 1];
        for number in 0..last {
            if !members.delayed.contains(&number) && !members.instances.contains(&number) {
                self.item(number)?;
            }
        }
        self.instantiate()?;
        for number in &members.delayed {
            self.item(*number)?;
        }
        for number in last + 1..graph.items.len() {
            self.item(number)?;
        }
        let merged = merge(&self.parts, self.outside.len(), &self.exports)?;
        with_module(&self.to.finish(), graph, members, &merged)
    }

    /// Takes the next index of a space.
    fn take(&mut self, space: Space) -> u32 {
        let next = self.next.entry(space).or_default();
        *next += 1;
        *next - 1
    }

    /// Instantiates the fused module.
    fn instantiate(&mut self) -> Result<(), Unfusable> {
        let mut exports = Vec::new();
        for (number, (source, kind)) in self.outside.clone().into_iter().enumerate() {
            let index = match source {
                ImportSource::Item(item) => self.index(item)?,
                ImportSource::Export { instance, name } => {
                    let instance = self.index(instance)?;
                    self.alias(instance, kind, name)?
                }
            };
            exports.push((number.to_string(), ExportKind::from(kind), index));
        }
        let mut instances = InstanceSection::new();
        instances.export_items(exports.iter().map(|(name, kind, index)| (&**name, *kind, *index)));
        let arguments = self.take(Space::Instance);
        let last = self.members.instances[self.members.instances.len() - 1];
        let Item::Instance(Instance::Instantiate { module_index, .. }) = &self.graph.items[last]
        else {
            return Err(Unfusable::Because("no module"));
        };
        instances.instantiate(*module_index, [(IMPORTED_MODULE, ModuleArg::Instance(arguments))]);
        self.fused = self.take(Space::Instance);
        self.to.section(&instances);
        Ok(())
    }

    /// Writes an alias, and returns its index.
    fn alias(&mut self, instance: u32, kind: ExternalKind, name: &str) -> Result<u32, Unfusable> {
        let mut aliases = ComponentAliasSection::new();
        let kind_of_export = ExportKind::from(kind);
        aliases.alias(Alias::CoreInstanceExport { instance, kind: kind_of_export, name });
        self.to.section(&aliases);
        Ok(self.take(Space::of(kind)?))
    }

    /// Writes an alias of an export of a member, and returns its index.
    fn alias_of_member(
        &mut self,
        part: usize,
        kind: ExternalKind,
        name: &'a str,
    ) -> Result<u32, Unfusable> {
        if !self.exports.contains(&(part, name)) {
            self.exports.push((part, name));
        }
        self.alias(self.fused, kind, &export_name(part, name))
    }

    /// Returns the new index of an item.
    fn index(&self, item: usize) -> Result<u32, Unfusable> {
        self.indices.get(&item).copied().ok_or(Unfusable::Because("an item comes too late"))
    }

    /// Returns the member with this old index of an instance.
    fn member(&self, instance: u32) -> Option<usize> {
        let item = self.old.get(&(Space::Instance, instance))?;
        self.members.instances.iter().position(|member| member == item)
    }

    /// Writes an item with new indices.
    fn item(&mut self, number: usize) -> Result<(), Unfusable> {
        let index = match &self.graph.items[number] {
            Item::Alias(ComponentAlias::CoreInstanceExport { kind, instance_index, name }) => {
                match self.member(*instance_index) {
                    Some(part) => self.alias_of_member(part, *kind, name)?,
                    None => {
                        let instance = self.instance_index_of(*instance_index)?;
                        self.alias(instance, *kind, name)?
                    }
                }
            }
            Item::Alias(alias) => {
                let mut aliases = ComponentAliasSection::new();
                aliases.alias(other_alias(alias));
                self.to.section(&aliases);
                return Ok(());
            }
            Item::Instance(Instance::Instantiate { module_index, args }) => {
                let mut arguments = Vec::new();
                for argument in args {
                    let instance = match self.member(argument.index) {
                        Some(part) => self.exports_of_member(number, part, argument.name)?,
                        None => self.instance_index_of(argument.index)?,
                    };
                    arguments.push((argument.name, ModuleArg::Instance(instance)));
                }
                let mut instances = InstanceSection::new();
                instances.instantiate(*module_index, arguments);
                self.to.section(&instances);
                self.take(Space::Instance)
            }
            Item::Instance(instance @ Instance::FromExports(_)) => {
                let mut instances = InstanceSection::new();
                self.parse_instance(&mut instances, instance.clone())?;
                self.to.section(&instances);
                self.take(Space::Instance)
            }
            Item::Canonical(function) => {
                let mut functions = CanonicalFunctionSection::new();
                self.parse_component_canonical(&mut functions, function.clone())?;
                self.to.section(&functions);
                if self.graph.items[number].space()?.is_none() {
                    return Ok(());
                }
                self.take(Space::Function)
            }
            Item::Section(component_section::TYPE, content) => {
                let mut types = ComponentTypeSection::new();
                let section = SectionLimited::new(BinaryReader::new(content, 0))?;
                self.parse_component_type_section(&mut types, section)?;
                self.to.section(&types);
                return Ok(());
            }
            Item::Section(id, content) => {
                self.to.section(&RawSection { id: *id, data: content });
                return Ok(());
            }
        };
        self.indices.insert(number, index);
        Ok(())
    }

    fn instance_index_of(&self, old: u32) -> Result<u32, Unfusable> {
        let item = self.old.get(&(Space::Instance, old));
        self.index(*item.ok_or(Unfusable::Because("no such instance"))?)
    }

    /// Writes an instance with the exports of a member that an instantiation imports as `module`.
    fn exports_of_member(
        &mut self,
        number: usize,
        part: usize,
        module: &str,
    ) -> Result<u32, Unfusable> {
        let importing = self.graph.module(number);
        let importing = importing.ok_or(Unfusable::Because("another module needs a member"))?;
        let mut exports: Vec<(&str, ExportKind, u32)> = Vec::new();
        for (_, name, ty) in importing.imports.iter().filter(|(from, ..)| *from == module) {
            let kind = super::indices::kind_of(ty);
            if exports.iter().all(|(known, ..)| known != name) {
                let index = self.alias_of_member(part, kind, name)?;
                exports.push((*name, ExportKind::from(kind), index));
            }
        }
        let mut instances = InstanceSection::new();
        instances.export_items(exports);
        self.to.section(&instances);
        Ok(self.take(Space::Instance))
    }

    fn new_index(&self, space: Space, old: u32) -> Result<u32, reencode::Error<Unfusable>> {
        let item = self.old.get(&(space, old)).copied();
        let index = item.ok_or(Unfusable::Because("no such core item"));
        index.and_then(|item| self.index(item)).map_err(reencode::Error::UserError)
    }
}

/// Returns an alias that is no core item.
fn other_alias<'a>(alias: &ComponentAlias<'a>) -> Alias<'a> {
    match *alias {
        ComponentAlias::InstanceExport { kind, instance_index, name } => {
            Alias::InstanceExport { instance: instance_index, kind: kind.into(), name }
        }
        ComponentAlias::Outer { kind, count, index } => {
            Alias::Outer { kind: kind.into(), count, index }
        }
        ComponentAlias::CoreInstanceExport { .. } => unreachable!("this alias is a core item"),
    }
}

/// Replaces the module of the last member by the fused one, and those of the others by empty
/// ones.
fn with_module(
    component: &[u8],
    graph: &Graph<'_>,
    members: &Members,
    merged: &[u8],
) -> Result<Vec<u8>, Unfusable> {
    let fused: Vec<*const u8> = members
        .instances
        .iter()
        .filter_map(|member| graph.module(*member))
        .map(|module| module.bytes.as_ptr())
        .collect();
    let mut to = component[..sections::HEADER_BYTES].to_vec();
    let mut modules = graph.modules.iter().flatten();
    sections::for_each::<Unfusable>(component, |id, content| {
        if id != component_section::CORE_MODULE {
            sections::put(&mut to, id, content);
            return Ok(());
        }
        let module = modules.next().ok_or(Unfusable::Because("a module too many"))?;
        let content = match fused.iter().position(|bytes| *bytes == module.bytes.as_ptr()) {
            Some(part) if part + 1 == fused.len() => merged,
            Some(_) => EMPTY_MODULE,
            None => content,
        };
        sections::put(&mut to, id, content);
        Ok(())
    })?;
    Ok(to)
}

impl Reencode for Rewrite<'_, '_> {
    type Error = Unfusable;

    fn function_index(&mut self, index: u32) -> Result<u32, reencode::Error<Unfusable>> {
        self.new_index(Space::Function, index)
    }

    fn table_index(&mut self, index: u32) -> Result<u32, reencode::Error<Unfusable>> {
        self.new_index(Space::Table, index)
    }

    fn memory_index(&mut self, index: u32) -> Result<u32, reencode::Error<Unfusable>> {
        self.new_index(Space::Memory, index)
    }

    fn global_index(&mut self, index: u32) -> Result<u32, reencode::Error<Unfusable>> {
        self.new_index(Space::Global, index)
    }
}

impl ReencodeComponent for Rewrite<'_, '_> {}
