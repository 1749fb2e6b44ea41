//! Which package uses types of which.
//!
//! Follows the declarations of component and instance types in their order, and
//! keeps of each index only whose type or instance it is. How they are written is
//! in the component model's `Binary.md`, under "Type Definitions".

use std::collections::{BTreeMap, BTreeSet};
use wasmparser::{
    ComponentAlias, ComponentExternalKind, ComponentOuterAliasKind, ComponentType,
    ComponentTypeDeclaration, ComponentTypeRef, InstanceTypeDeclaration, TypeBounds,
};

/// A package: `namespace:name`, with `@version` where there is one.
type Package = String;

/// The graph so far, and where in the declarations it has come to.
#[derive(Default)]
pub(crate) struct Uses {
    /// By names without versions: versions of one package may become one, and have
    /// no reason to use each other.
    graph: BTreeMap<String, BTreeSet<String>>,
    scopes: Vec<Scope>,
}

/// The index spaces of a component or instance type that is being read.
#[derive(Default)]
struct Scope {
    types: Vec<Type>,
    instances: Vec<Option<Package>>,
    uses: BTreeSet<Package>,
}

#[derive(Clone, Default)]
struct Type {
    /// Whose it is, if it comes out of an interface.
    owner: Option<Package>,
    /// What is used within, if it has declarations of its own.
    uses: BTreeSet<Package>,
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

    /// The packages that are in a circle or use one that is; none if each can
    /// stand after all that it uses.
    pub(crate) fn circle(mut self) -> Vec<String> {
        loop {
            let waits: BTreeSet<_> = self.graph.keys().cloned().collect();
            self.graph.retain(|_, used| used.iter().any(|package| waits.contains(package)));
            if self.graph.len() == waits.len() {
                return self.graph.into_keys().collect();
            }
        }
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
        Ok(Type { owner: None, uses: ended.uses })
    }

    fn declare_in_component(
        &mut self,
        declaration: &ComponentTypeDeclaration<'_>,
    ) -> Result<(), String> {
        match declaration {
            ComponentTypeDeclaration::Type(ty) => self.define(ty),
            ComponentTypeDeclaration::Alias(alias) => self.alias(alias),
            ComponentTypeDeclaration::Export { name, ty } => {
                self.name(name.name, name.implements, *ty);
                Ok(())
            }
            ComponentTypeDeclaration::Import(import) => {
                self.name(import.name.name, import.name.implements, import.ty);
                Ok(())
            }
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
            InstanceTypeDeclaration::Export { name, ty } => {
                self.name(name.name, name.implements, *ty);
                Ok(())
            }
            InstanceTypeDeclaration::CoreType(_) => Ok(()),
        }
    }

    fn alias(&mut self, alias: &ComponentAlias<'_>) -> Result<(), String> {
        match *alias {
            ComponentAlias::InstanceExport { kind, instance_index, .. } => {
                let owner = self.scope().instances.get(instance_index as usize).cloned().flatten();
                match kind {
                    ComponentExternalKind::Type => {
                        self.scope().types.push(Type { owner, uses: BTreeSet::new() });
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
                match ty.owner.clone() {
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
    fn name(&mut self, name: &str, implements: Option<&str>, ty: ComponentTypeRef) {
        let owner = package(name).or_else(|| implements.and_then(package));
        let known = |uses: &mut Self, index: u32| {
            uses.scope().types.get(index as usize).cloned().unwrap_or_default()
        };
        match ty {
            ComponentTypeRef::Type(TypeBounds::Eq(index)) => {
                let ty = known(self, index);
                self.scope().types.push(ty);
            }
            ComponentTypeRef::Type(TypeBounds::SubResource) => {
                self.scope().types.push(Type::default());
            }
            ComponentTypeRef::Instance(index) => {
                let used = known(self, index).uses;
                self.scope().uses.extend(owner.clone().map_or(used.clone(), |it| [it].into()));
                self.scope().instances.push(owner.clone());
                self.uses(owner, used);
            }
            ComponentTypeRef::Component(index) => {
                let used = known(self, index).uses;
                self.uses(owner, used);
            }
            ComponentTypeRef::Module(_)
            | ComponentTypeRef::Func(_)
            | ComponentTypeRef::Value(_) => {}
        }
    }

    fn uses(&mut self, owner: Option<Package>, used: BTreeSet<Package>) {
        if let Some(owner) = owner {
            let others = used.iter().filter(|package| **package != owner);
            let others = others.map(without_version);
            self.graph.entry(without_version(&owner)).or_default().extend(others);
        }
    }

    /// Where it has come to; outside of all types, that of the section.
    fn scope(&mut self) -> &mut Scope {
        if self.scopes.is_empty() {
            self.scopes.push(Scope::default());
        }
        let last = self.scopes.len() - 1;
        &mut self.scopes[last]
    }
}

/// The package that an interface or a world is of: `a:b@1.0.0` of `a:b/c@1.0.0`.
fn package(name: &str) -> Option<Package> {
    let (package, rest) = name.split_once('/')?;
    let version = rest.find('@').map_or("", |at| &rest[at..]);
    Some(format!("{package}{version}"))
}

fn without_version(package: &Package) -> String {
    package.split('@').next().unwrap_or_default().to_owned()
}
