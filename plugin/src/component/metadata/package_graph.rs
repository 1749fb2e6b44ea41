//! Graph of the packages that use each other's types.
//!
//! [`PackageGraph`] follows the declarations of component and instance types in order, and keeps
//! only the owning package of each index. The encoding is described in the component model's
//! `Binary.md`, under "Type Definitions".

use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use wasmparser::{
    ComponentAlias, ComponentExternName, ComponentExternalKind, ComponentOuterAliasKind,
    ComponentType, ComponentTypeDeclaration, ComponentTypeRef, InstanceTypeDeclaration, TypeBounds,
};

/// Graph of the packages, and the scopes that are open at the current declaration.
#[derive(Default)]
pub(crate) struct PackageGraph {
    /// Packages used by each package. All versions of a package share one node, because
    /// they may be merged and do not use each other.
    graph: BTreeMap<Name, BTreeSet<Name>>,
    names: BTreeMap<String, Name>,
    scopes: Vec<Scope>,
}

/// Index of an interned string.
type Name = usize;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Package {
    /// `namespace:name`.
    name: Name,
    /// `namespace:name@version`.
    with_version: Name,
}

/// Index spaces of an open component or instance type.
#[derive(Default)]
struct Scope {
    types: Vec<Type>,
    instances: Vec<Option<Package>>,
    uses: BTreeSet<Package>,
}

/// Packages of a type. Cheap to clone, because a component can contain a million aliases of one
/// type.
#[derive(Clone, Default)]
struct Type {
    /// Package of the interface that declares the type, if any.
    owner: Option<Package>,
    /// Packages used by the type's own declarations.
    uses: Rc<BTreeSet<Package>>,
}

impl PackageGraph {
    /// Adds a type definition to the current scope.
    pub(crate) fn define(&mut self, ty: &ComponentType<'_>) -> Result<(), String> {
        let known = match ty {
            ComponentType::Component(declarations) => {
                self.nested(declarations, Self::declare_in_component)?
            }
            ComponentType::Instance(declarations) => {
                self.nested(declarations, Self::declare_in_instance)?
            }
            _ => Type::default(),
        };
        self.scope().types.push(known);
        Ok(())
    }

    /// Ends a section: indices start again at 0, and the graph is kept.
    pub(crate) fn end_section(&mut self) {
        self.scopes.clear();
    }

    /// Returns the names of the packages that are part of a cycle or depend on one.
    pub(crate) fn cycle(&self) -> Vec<&str> {
        let count_pending = |used: &BTreeSet<Name>| {
            used.iter().filter(|package| self.graph.contains_key(package)).count()
        };
        let mut pending: BTreeMap<_, _> =
            self.graph.iter().map(|(package, used)| (*package, count_pending(used))).collect();
        let mut users: BTreeMap<Name, Vec<Name>> = BTreeMap::new();
        for (user, used) in &self.graph {
            used.iter().for_each(|package| users.entry(*package).or_default().push(*user));
        }
        let mut ready: Vec<_> =
            pending.iter().filter(|(_, left)| **left == 0).map(|(package, _)| *package).collect();
        while let Some(package) = ready.pop() {
            pending.remove(&package);
            for user in users.remove(&package).unwrap_or_default() {
                let Some(left) = pending.get_mut(&user) else { continue };
                *left -= 1;
                if *left == 0 {
                    ready.push(user);
                }
            }
        }
        let stuck = self.names.iter().filter(|(_, name)| pending.contains_key(name));
        stuck.map(|(text, _)| text.as_str()).collect()
    }

    fn nested<D>(
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
            ComponentTypeDeclaration::Export { name, ty } => self.declare(name, *ty),
            ComponentTypeDeclaration::Import(import) => self.declare(&import.name, import.ty),
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
            InstanceTypeDeclaration::Export { name, ty } => self.declare(name, *ty),
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
                    None => {
                        return Err(
                            "an interface uses a type that belongs to no interface".to_owned()
                        );
                    }
                }
                self.scope().types.push(ty);
            }
            ComponentAlias::Outer { .. } | ComponentAlias::CoreInstanceExport { .. } => {}
        }
        Ok(())
    }

    /// Records an import or an export.
    fn declare(
        &mut self,
        name: &ComponentExternName<'_>,
        ty: ComponentTypeRef,
    ) -> Result<(), String> {
        // These options also affect the package and are not supported.
        if name.implements.is_some() || name.version_suffix.is_some() {
            return Err(format!("`{}` has naming options, which are not supported", name.name));
        }
        let owner = self.package(name.name);
        match ty {
            ComponentTypeRef::Type(TypeBounds::Eq(index)) => {
                let ty = self.type_at(index);
                self.scope().types.push(ty);
            }
            ComponentTypeRef::Type(TypeBounds::SubResource) => {
                self.scope().types.push(Type::default());
            }
            ComponentTypeRef::Instance(index) => {
                let used = self.type_at(index).uses;
                match owner {
                    Some(owner) => {
                        self.scope().uses.insert(owner);
                    }
                    None => self.scope().uses.extend(used.iter()),
                }
                self.scope().instances.push(owner);
                self.add_uses(owner, &used);
            }
            ComponentTypeRef::Component(index) => {
                let used = self.type_at(index).uses;
                self.add_uses(owner, &used);
            }
            ComponentTypeRef::Module(_)
            | ComponentTypeRef::Func(_)
            | ComponentTypeRef::Value(_) => {}
        }
        Ok(())
    }

    fn type_at(&mut self, index: u32) -> Type {
        self.scope().types.get(index as usize).cloned().unwrap_or_default()
    }

    fn add_uses(&mut self, owner: Option<Package>, used: &BTreeSet<Package>) {
        if let Some(owner) = owner {
            let others = used.iter().filter(|package| **package != owner);
            self.graph.entry(owner.name).or_default().extend(others.map(|package| package.name));
        }
    }

    /// Returns the package of an interface or a world: `a:b@1.0.0` for `a:b/c@1.0.0`.
    fn package(&mut self, name: &str) -> Option<Package> {
        let (package, rest) = name.split_once('/')?;
        let version = rest.find('@').map_or("", |at| &rest[at..]);
        let with_version = self.intern(format!("{package}{version}"));
        Some(Package { name: self.intern(package.to_owned()), with_version })
    }

    fn intern(&mut self, name: String) -> Name {
        let next = self.names.len();
        *self.names.entry(name).or_insert(next)
    }

    /// Returns the innermost open scope, or the scope of the section.
    fn scope(&mut self) -> &mut Scope {
        if self.scopes.is_empty() {
            self.scopes.push(Scope::default());
        }
        let last = self.scopes.len() - 1;
        &mut self.scopes[last]
    }
}
