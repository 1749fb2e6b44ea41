//! Inspection of a component: its format, imports and exports, without running it.
//!
//! Used to decide whether to load a component, and by the author's tool to describe a
//! component or compare two of them.

use crate::component::imports::{self, Exports, Provider};
use crate::component::sniff::{FileFormat, sniff};
use crate::{Capability, Compiled, Engine, LoadError};
use std::collections::BTreeSet;

/// Properties of a component.
#[derive(Debug)]
pub struct Inspection {
    /// Format of the file.
    pub format: FileFormat,
    /// Size of the file, in bytes.
    pub bytes: usize,
    /// Imports, in the component's order.
    pub imports: Vec<Import>,
    /// Names of the exports, in the component's order.
    pub exports: Vec<String>,
    /// Optional interfaces among the exports.
    pub optional: Exports,
    /// Versions of `device:behaviour` in the names of imports and exports. A well-formed
    /// component has exactly one.
    pub wit_versions: BTreeSet<String>,
    /// Initial linear memory of a call in bytes, including headroom (usually 512 KiB); `None`
    /// if it cannot be determined.
    pub memory_bytes: Option<u64>,
}

/// An import of a component and its provider.
#[derive(Debug)]
pub struct Import {
    /// Name in the form `package/interface@version`.
    pub name: String,
    /// Provider of the import; `None` if the host does not have it.
    pub provider: Option<Provider>,
}

impl Inspection {
    /// Returns the capabilities that the component requests.
    pub fn capabilities(&self) -> BTreeSet<Capability> {
        let granted = self.imports.iter().filter_map(|import| match import.provider {
            Some(Provider::Granted(capability)) => Some(capability),
            _ => None,
        });
        granted.collect()
    }

    /// Returns `true` if the component imports any interface of WASI. The host provides
    /// all of them without access to the system.
    pub fn wasi(&self) -> bool {
        self.imports.iter().any(|import| import.provider == Some(Provider::Wasi))
    }
}

impl Engine {
    /// Describes a component that was compiled from `bytes`. [`Engine::plugin`] decides
    /// whether it can be loaded.
    pub fn inspect(&self, bytes: &[u8], compiled: &Compiled) -> Result<Inspection, LoadError> {
        let format = sniff(bytes).map_err(LoadError::NotWebAssembly)?;
        let ty = compiled.component.component_type();
        let wasmtime = compiled.component.engine();
        let imports: Vec<Import> = ty
            .imports(wasmtime)
            .map(|(name, _)| Import { name: name.to_owned(), provider: imports::provider(name) })
            .collect();
        let exports: Vec<String> = ty.exports(wasmtime).map(|(name, _)| name.to_owned()).collect();
        let names = imports.iter().map(|import| &import.name).chain(&exports);
        Ok(Inspection {
            format,
            bytes: bytes.len(),
            wit_versions: names.filter_map(|name| imports::version(name)).collect(),
            optional: imports::optional(exports.iter().map(String::as_str)),
            imports,
            exports,
            memory_bytes: compiled.initial_memory_bytes(),
        })
    }
}
