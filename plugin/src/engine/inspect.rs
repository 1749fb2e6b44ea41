//! The form, imports and exports of a component, read without running it.
//!
//! For people who decide whether to load it, and for the author's tool, which
//! shows it and compares two of them.

use crate::component::imports::{self, Exports, Lender};
use crate::component::sniff::{Kind, sniff};
use crate::{Capability, Compiled, Engine, LoadError};
use std::collections::BTreeSet;

/// The properties of a component.
#[derive(Debug)]
pub struct Inspection {
    /// The form of its file.
    pub kind: Kind,
    /// The size of its file.
    pub bytes: usize,
    /// The imports, in the component's order.
    pub imports: Vec<Import>,
    /// The names of the exports, in the component's order.
    pub exports: Vec<String>,
    /// The optional exports among them.
    pub optional: Exports,
    /// The versions of `device:behaviour` that its imports and exports name: one,
    /// unless something is odd.
    pub wit_versions: BTreeSet<String>,
    /// The memory that a call has at its start, its headroom (512 KiB as a rule)
    /// included; `None` where that cannot be known.
    pub memory_bytes: Option<u64>,
}

/// An import of a component, and its lender.
#[derive(Debug)]
pub struct Import {
    /// `package/interface@version`.
    pub name: String,
    /// The party that lends it; `None` if no party does.
    pub lender: Option<Lender>,
}

impl Inspection {
    /// The capabilities that it asks for.
    pub fn capabilities(&self) -> BTreeSet<Capability> {
        let granted = self.imports.iter().filter_map(|import| match import.lender {
            Some(Lender::Granted(capability)) => Some(capability),
            _ => None,
        });
        granted.collect()
    }

    /// Returns `true` if it imports anything of WASI, all of which is lent closed.
    pub fn wasi(&self) -> bool {
        self.imports.iter().any(|import| import.lender == Some(Lender::Wasi))
    }
}

impl Engine {
    /// Says what is in a component that was compiled of these bytes. Whether a
    /// host would load it is for [`Engine::plugin`] to say.
    pub fn inspect(&self, bytes: &[u8], compiled: &Compiled) -> Result<Inspection, LoadError> {
        let kind = sniff(bytes).map_err(LoadError::NotWebAssembly)?;
        let ty = compiled.component.component_type();
        let imports: Vec<Import> = ty
            .imports(&self.parts.wasmtime)
            .map(|(name, _)| Import { name: name.to_owned(), lender: imports::lender(name) })
            .collect();
        let exports: Vec<String> =
            ty.exports(&self.parts.wasmtime).map(|(name, _)| name.to_owned()).collect();
        let names = imports.iter().map(|import| &import.name).chain(&exports);
        Ok(Inspection {
            kind,
            bytes: bytes.len(),
            wit_versions: names.filter_map(|name| imports::version(name)).collect(),
            optional: imports::optional(exports.iter().map(String::as_str)),
            imports,
            exports,
            memory_bytes: compiled.memory_at_start(),
        })
    }
}
