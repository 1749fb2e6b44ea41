//! Loading of plugins for a simulated device.

use std::borrow::Cow;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use plugin::{
    Capability, Compiled, Engine, EngineError, EngineSettings, HttpHost, HttpSettings, Limits,
    LoadError, Plugin, PluginSettings,
};

/// The reason why a plugin cannot be called on a simulated device.
#[derive(Debug, thiserror::Error)]
pub enum DeskError {
    /// A failure to create the engine.
    #[error(transparent)]
    Engine(#[from] EngineError),
    /// A failure to read the file.
    #[error("`{}`", file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A failure to load the file as a plugin.
    #[error("`{}`", file.display())]
    Load {
        /// The file.
        file: PathBuf,
        /// The cause.
        #[source]
        source: LoadError,
    },
}

impl DeskError {
    /// Returns a one-line hint for the user, if there is one.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let text = match self {
            DeskError::Engine(EngineError::Cache { .. }) => {
                "set XDG_CACHE_HOME to a directory that may be written"
            }
            DeskError::Engine(_) => return None,
            DeskError::Read { file, .. } if file.is_dir() => {
                "build it first, and name the file: behaviour build DIR"
            }
            DeskError::Read { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                "name a component file, such as one that `behaviour build` has written"
            }
            DeskError::Read { .. } => return None,
            DeskError::Load {
                source: LoadError::NotGranted { capability: Some(capability), .. },
                ..
            } => {
                return Some(match capability {
                    Capability::Http => {
                        "allow requests to a host with `--allow-http HOST`, or grant the import \
                         without a network with `--capability http`"
                            .to_owned()
                    }
                    Capability::Power => format!("grant it with `--capability {capability}`"),
                });
            }
            DeskError::Load { source, .. } => source.hint()?,
        };
        Some(text.to_owned())
    }

    /// Returns a function that adds the path of the file to an error.
    fn of(file: &Path) -> impl FnOnce(LoadError) -> DeskError {
        let file = file.to_owned();
        move |error| match error {
            LoadError::Read { source, .. } => DeskError::Read { file, source },
            source => DeskError::Load { file, source },
        }
    }
}

/// Returns the settings of HTTP requests with which every request reaches the simulated
/// network, which decides about it.
#[must_use]
pub fn http_settings() -> HttpSettings {
    HttpSettings { hosts: vec![HttpHost::any()], ..HttpSettings::default() }
}

/// Loads a plugin from a file. The plugin's name is the file's stem. Blocks while the
/// component is compiled.
///
/// # Errors
///
/// Returns an error if the engine cannot be created, or if the file cannot be read or does
/// not load as a plugin.
pub fn load(file: &Path, settings: PluginSettings) -> Result<Plugin, DeskError> {
    let engine = engine(settings.limits.memory_bytes)?;
    engine.load_file(&name(file), file, settings).map_err(DeskError::of(file))
}

/// Reads and compiles a component, and returns its bytes and the compiled form. Stops
/// reading one byte after the limit on a component's size. Blocks until the component is
/// compiled.
///
/// # Errors
///
/// Returns an error if the file cannot be read or does not compile.
pub fn compile(engine: &Engine, file: &Path) -> Result<(Vec<u8>, Compiled), DeskError> {
    let limits = Limits::default();
    let mut bytes = Vec::new();
    File::open(file)
        .and_then(|opened| opened.take(limits.component_bytes as u64 + 1).read_to_end(&mut bytes))
        .map_err(|source| DeskError::Read { file: file.to_owned(), source })?;
    let compiled = engine.compile(&bytes, &limits).map_err(DeskError::of(file))?;
    Ok((bytes, compiled))
}

/// Returns the name of the plugin in a file: the file's stem.
pub fn name(file: &Path) -> Cow<'_, str> {
    file.file_stem().unwrap_or_default().to_string_lossy()
}

/// Creates an engine for calls with a memory limit of at most `memory_bytes` or the default,
/// whichever is higher.
///
/// # Errors
///
/// Returns an error if the engine cannot be created.
pub fn engine(memory_bytes: usize) -> Result<Engine, EngineError> {
    let max_call_memory_bytes = memory_bytes.max(Limits::default().memory_bytes);
    Engine::new(&EngineSettings {
        instances: 4,
        max_call_memory_bytes,
        ..EngineSettings::default()
    })
}
