//! From a file's bytes to a plugin that can be called.
//!
//! All that can be known before the first call is found out here: that it is a
//! component, that it imports nothing it is not lent, that it has methods, that
//! it can start within its limits. Compiling may take seconds: load on a thread
//! that may block.

use crate::engine::{Engine, Shared};
use crate::error::one_line;
use crate::interfaces::BehaviourPre;
use crate::sniff::{Kind, sniff};
use crate::state::CallState;
use crate::{Limits, LoadError, encode, imports};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::Semaphore;
use wasmtime::component::Component;

/// The core WebAssembly page.
const PAGE_BYTES: u64 = 64 * 1024;

/// A plugin's entry in the host's configuration, as far as it concerns the
/// sandbox.
#[derive(Debug, Clone, Default)]
pub struct PluginSettings {
    /// What it may use.
    pub limits: Limits,
    /// What the interface `config` tells it.
    pub config: BTreeMap<String, String>,
    /// The capabilities that it is granted, by name. This release has none to
    /// grant, so that any name here is an error.
    pub capabilities: BTreeSet<String>,
}

/// A component that is ready to be called. Clones are the same plugin.
#[derive(Clone)]
pub struct Plugin {
    pub(crate) loaded: Arc<Loaded>,
}

pub(crate) struct Loaded {
    pub(crate) name: String,
    pub(crate) limits: Limits,
    pub(crate) config: BTreeMap<String, String>,
    pub(crate) imports: Vec<String>,
    pub(crate) wasi: bool,
    pub(crate) pre: BehaviourPre<CallState>,
    pub(crate) permits: Semaphore,
    pub(crate) engine: Arc<Shared>,
}

impl Engine {
    /// Loads a plugin: a component in binary form or as text, or a core module
    /// with embedded WIT. Blocks while it compiles.
    pub fn load(
        &self,
        name: &str,
        bytes: &[u8],
        settings: PluginSettings,
    ) -> Result<Plugin, LoadError> {
        let PluginSettings { limits, config, capabilities } = settings;
        self.check_settings(&limits, &capabilities)?;
        check_size(bytes.len() as u64, &limits)?;

        let wasmtime = &self.shared.wasmtime;
        let component = Component::new(wasmtime, component_bytes(bytes)?)
            .map_err(|error| LoadError::Invalid(one_line(&error)))?;
        let imports = imports::check(wasmtime, &component, name)?;
        check_memory(&component, &limits)?;

        let linker = if imports.wasi { &self.shared.linker_with_wasi } else { &self.shared.linker };
        let pre = linker
            .instantiate_pre(&component)
            .and_then(BehaviourPre::new)
            .map_err(|error| LoadError::Mismatch(one_line(&error)))?;
        Ok(Plugin {
            loaded: Arc::new(Loaded {
                name: name.to_owned(),
                permits: Semaphore::new(limits.calls_at_once),
                limits,
                config,
                imports: imports.names,
                wasi: imports.wasi,
                pre,
                engine: Arc::clone(&self.shared),
            }),
        })
    }

    /// The same from a file, of which no more is read than a component may have.
    pub fn load_file(
        &self,
        name: &str,
        path: &Path,
        settings: PluginSettings,
    ) -> Result<Plugin, LoadError> {
        let unreadable = |source| LoadError::Read { path: path.to_owned(), source };
        let file = File::open(path).map_err(unreadable)?;
        check_size(file.metadata().map_err(unreadable)?.len(), &settings.limits)?;
        let mut bytes = Vec::new();
        file.take(settings.limits.component_bytes as u64 + 1)
            .read_to_end(&mut bytes)
            .map_err(unreadable)?;
        self.load(name, &bytes, settings)
    }

    fn check_settings(
        &self,
        limits: &Limits,
        capabilities: &BTreeSet<String>,
    ) -> Result<(), LoadError> {
        limits.check()?;
        if limits.memory_bytes > self.shared.memory_bytes {
            return Err(LoadError::EngineMemory {
                asked: limits.memory_bytes,
                most: self.shared.memory_bytes,
            });
        }
        match capabilities.first() {
            Some(name) => Err(LoadError::UnknownCapability(name.clone())),
            None => Ok(()),
        }
    }
}

impl Plugin {
    /// Its name in the host's configuration.
    pub fn name(&self) -> &str {
        &self.loaded.name
    }

    /// What it imports, all of which it is lent.
    pub fn imports(&self) -> &[String] {
        &self.loaded.imports
    }

    /// What it may use.
    pub fn limits(&self) -> &Limits {
        &self.loaded.limits
    }
}

fn check_size(bytes: u64, limits: &Limits) -> Result<(), LoadError> {
    if bytes > limits.component_bytes as u64 {
        return Err(LoadError::TooLarge { bytes, limit_bytes: limits.component_bytes });
    }
    Ok(())
}

fn component_bytes(bytes: &[u8]) -> Result<Cow<'_, [u8]>, LoadError> {
    match sniff(bytes).map_err(LoadError::NotWebAssembly)? {
        Kind::Component => Ok(Cow::Borrowed(bytes)),
        Kind::CoreModule => Ok(Cow::Owned(encode(bytes)?)),
    }
}

/// A component whose memories start larger than they may be would trap at every
/// call.
fn check_memory(component: &Component, limits: &Limits) -> Result<(), LoadError> {
    let required = component.resources_required();
    let pages = required.and_then(|required| required.max_initial_memory_size).unwrap_or(0);
    let needs_bytes = pages.saturating_mul(PAGE_BYTES);
    if needs_bytes > limits.memory_bytes as u64 {
        return Err(LoadError::Memory { needs_bytes, limit_bytes: limits.memory_bytes });
    }
    Ok(())
}
