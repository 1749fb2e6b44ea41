//! The graph of packages that use each other's types.
//!
//! Follows the declarations of component and instance types in their order, and
//! keeps of each index only whose type or instance it is. How they are written is
//! in the component model's `Binary.md`, under "Type Definitions".

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use wasmparser::{
    ComponentAlias, ComponentExternName, ComponentExternalKind, ComponentOuterAliasKind,
    ComponentType, ComponentTypeDeclaration, ComponentTypeRef, InstanceTypeDeclaration, TypeBounds,
};

/// Graph of the packages read so far, and the position in the declarations.
#[derive(Default)]
pub(crate) struct Uses {
    /// Versions of one package are one place in it: they may become one, and have no
    /// reason to use each other.
    graph: BTreeMap<Name, BTreeSet<Name>>,
    names: BTreeMap<String, Name>,
    scopes: Vec<Scope>,
}

/// A text, by its number among the names.
type Name = usize;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    /// `namespace:name`.
    name: Name,
    /// `namespace:name@version`.
    with_version: Name,
}

/// The index spaces of a component or instance type that is being read.
#[derive(Default)]
struct Scope {
    types: Vec<Type>,
    instances: Vec<Option<Package>>,
    uses: BTreeSet<Package>,
}

/// A million aliases of it are no more than a million of these.
#[derive(Clone, Default)]
struct Type {
    /// The package of the interface that it comes from, if any.
    owner: Option<Package>,
    /// The packages used within, if it has declarations of its own.
    uses: Rc<BTreeSet<Package>>,
}

impl Uses {
    /// A type outside of all others.
    pub(crate) fn define(&mut self, ty: &ComponentType<'_>) -> Result<(), String> {
        let known = match ty {
            ComponentType::Component(declarations) => {
                self.within(declarations, Self::declare_in_component)?
            }
            ComponentType::Instance(declarations) => {
                self.within(declarations, Self::declare_in_instance)?
            }
            _ => Type::default(),
        };
        self.scope().types.push(known);
        Ok(())
    }

    /// The next section begins its indices anew, and goes on with the graph.
    pub(crate) fn end_section(&mut self) {
        self.scopes.clear();
    }

    /// Returns the names of the packages in a circle, or that use one which is. The
    /// list is empty if each package can follow all that it uses.
    pub(crate) fn circle(&self) -> Vec<&str> {
        let waits_for = |used: &BTreeSet<Name>| {
            used.iter().filter(|package| self.graph.contains_key(package)).count()
        };
        let mut waiting: BTreeMap<_, _> =
            self.graph.iter().map(|(package, used)| (*package, waits_for(used))).collect();
        let mut users: BTreeMap<Name, Vec<Name>> = BTreeMap::new();
        for (user, used) in &self.graph {
            used.iter().for_each(|package| users.entry(*package).or_default().push(*user));
        }
        let mut ready: Vec<_> =
            waiting.iter().filter(|(_, left)| **left == 0).map(|(package, _)| *package).collect();
        while let Some(package) = ready.pop() {
            waiting.remove(&package);
            for user in users.remove(&package).unwrap_or_default() {
                let Some(left) = waiting.get_mut(&user) else { continue };
                *left -= 1;
                if *left == 0 {
                    ready.push(user);
                }
            }
        }
        let stuck = self.names.iter().filter(|(_, name)| waiting.contains_key(name));
        stuck.map(|(text, _)| text.as_str()).collect()
    }

    fn within<D>(
        &mut self,
        declarations: &[D],
        declare: fn(&mut Self, &D) -> Result<(), String>,
    ) -> Result<Type, String> {
        self.scope();
        self.scopes.push(Scope::default());
        declarations.iter().try_for_each(|declaration| declare(self, declaration))?;
        let ended = self.scopes.pop().unwrap_or_default();
        Ok(Type { owner: None, uses: Rc::new(ended.uses) })
    }

    fn declare_in_component(
        &mut self,
        declaration: &ComponentTypeDeclaration<'_>,
    ) -> Result<(), String> {
        match declaration {
            ComponentTypeDeclaration::Type(ty) => self.define(ty),
            ComponentTypeDeclaration::Alias(alias) => self.alias(alias),
            ComponentTypeDeclaration::Export { name, ty } => self.name(name, *ty),
            ComponentTypeDeclaration::Import(import) => self.name(&import.name, import.ty),
            ComponentTypeDeclaration::CoreType(_) => Ok(()),
        }
    }

    fn declare_in_instance(
        &mut self,
        declaration: &InstanceTypeDeclaration<'_>,
    ) -> Result<(), String> {
        match declaration {
            InstanceTypeDeclaration::Type(ty) => self.define(ty),
            InstanceTypeDeclaration::Alias(alias) => self.alias(alias),
            InstanceTypeDeclaration::Export { name, ty } => self.name(name, *ty),
            InstanceTypeDeclaration::CoreType(_) => Ok(()),
        }
    }

    fn alias(&mut self, alias: &ComponentAlias<'_>) -> Result<(), String> {
        match *alias {
            ComponentAlias::InstanceExport { kind, instance_index, .. } => {
                let owner = self.scope().instances.get(instance_index as usize).copied().flatten();
                match kind {
                    ComponentExternalKind::Type => {
                        self.scope().types.push(Type { owner, uses: Rc::default() });
                    }
                    ComponentExternalKind::Instance => self.scope().instances.push(owner),
                    _ => {}
                }
            }
            ComponentAlias::Outer { kind: ComponentOuterAliasKind::Type, count, index } => {
                let around = self.scopes.len().checked_sub(1 + count as usize);
                let types = around.and_then(|around| self.scopes.get(around));
                let ty = types.and_then(|scope| scope.types.get(index as usize)).cloned();
                let ty = ty.unwrap_or_default();
                match ty.owner {
                    Some(owner) => {
                        self.scope().uses.insert(owner);
                    }
                    None if count == 0 => {}
                    None => return Err("an interface uses a type of no interface".to_owned()),
                }
                self.scope().types.push(ty);
            }
            ComponentAlias::Outer { .. } | ComponentAlias::CoreInstanceExport { .. } => {}
        }
        Ok(())
    }

    /// An import or an export.
    fn name(&mut self, name: &ComponentExternName<'_>, ty: ComponentTypeRef) -> Result<(), String> {
        // They would be part of what package it is, in ways of their own.
        if name.implements.is_some() || name.version_suffix.is_some() {
            return Err(format!("`{}` is named with options, which are not known here", name.name));
        }
        let owner = self.package(name.name);
        match ty {
            ComponentTypeRef::Type(TypeBounds::Eq(index)) => {
                let ty = self.known(index);
                self.scope().types.push(ty);
            }
            ComponentTypeRef::Type(TypeBounds::SubResource) => {
                self.scope().types.push(Type::default());
            }
            ComponentTypeRef::Instance(index) => {
                let used = self.known(index).uses;
                match owner {
                    Some(owner) => {
                        self.scope().uses.insert(owner);
                    }
                    None => self.scope().uses.extend(used.iter()),
                }
                self.scope().instances.push(owner);
                self.uses(owner, &used);
            }
            ComponentTypeRef::Component(index) => {
                let used = self.known(index).uses;
                self.uses(owner, &used);
            }
            ComponentTypeRef::Module(_)
            | ComponentTypeRef::Func(_)
            | ComponentTypeRef::Value(_) => {}
        }
        Ok(())
    }

    fn known(&mut self, index: u32) -> Type {
        self.scope().types.get(index as usize).cloned().unwrap_or_default()
    }

    fn uses(&mut self, owner: Option<Package>, used: &BTreeSet<Package>) {
        if let Some(owner) = owner {
            let others = used.iter().filter(|package| **package != owner);
            self.graph.entry(owner.name).or_default().extend(others.map(|package| package.name));
        }
    }

    /// The package that an interface or a world is of: `a:b@1.0.0` of `a:b/c@1.0.0`.
    fn package(&mut self, name: &str) -> Option<Package> {
        let (package, rest) = name.split_once('/')?;
        let version = rest.find('@').map_or("", |at| &rest[at..]);
        let with_version = self.number(format!("{package}{version}"));
        Some(Package { name: self.number(package.to_owned()), with_version })
    }

    fn number(&mut self, name: String) -> Name {
        let next = self.names.len();
        *self.names.entry(name).or_insert(next)
    }

    /// Returns the innermost open scope; outside of all types, that of the section.
    fn scope(&mut self) -> &mut Scope {
        if self.scopes.is_empty() {
            self.scopes.push(Scope::default());
        }
        let last = self.scopes.len() - 1;
        &mut self.scopes[last]
    }
}
