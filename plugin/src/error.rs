//! Errors of the engine, of loading, and of calls.
//!
//! A message names its subject, but not the plugin, whose name its reader already has. Messages of
//! wasmtime are joined to one line.

mod call;

use crate::Capability;
use std::io;
use std::path::PathBuf;
use std::time::Duration;

pub use call::{CallError, JobError, Refusal};

/// A failure to create an engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// An unusable directory of the compile cache.
    #[error("compile cache {path}: {reason}")]
    Cache {
        /// Path of the directory.
        path: PathBuf,
        /// Reason.
        reason: String,
    },
    /// Settings that wasmtime rejects, or a machine with too little address space for the
    /// instances.
    #[error("cannot create an engine with {instances} instances: {reason}")]
    Refused {
        /// Number of instances in the settings.
        instances: u32,
        /// Message of wasmtime.
        reason: String,
    },
    /// A failure to start the thread that interrupts busy guests.
    #[error("cannot start the engine's ticker thread")]
    Ticker(#[source] io::Error),
}

/// A failure to load a plugin. [`LoadError::hint`] suggests a remedy.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file that cannot be read.
    #[error("{path}")]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// A file larger than `component_bytes`.
    #[error("{bytes} bytes long; {limit_bytes} are allowed")]
    TooLarge {
        /// Size of the file.
        bytes: u64,
        /// Limit `component_bytes`.
        limit_bytes: usize,
    },
    /// Bytes that are not WebAssembly.
    #[error("not WebAssembly: {0}")]
    NotWebAssembly(String),
    /// An invalid component.
    #[error("not a valid component: {0}")]
    Invalid(String),
    /// A valid component that uses a WebAssembly feature without support in this host.
    #[error("uses a WebAssembly feature that this host does not support: {reason}")]
    Feature {
        /// `true` if the feature is part of the component model's async proposal.
        is_async: bool,
        /// Message of the validator.
        reason: String,
    },
    /// A component in text form that is too long. The text form is meant for small components
    /// written by hand, and parsing it takes ten times its size in memory.
    #[error("{bytes} bytes of text; {limit_bytes} are allowed")]
    TextTooLarge {
        /// Size of the text.
        bytes: usize,
        /// Maximum size.
        limit_bytes: usize,
    },
    /// A function with too much code to compile.
    #[error("function {function} has {bytes} bytes of code; {limit_bytes} are allowed")]
    FunctionTooLarge {
        /// Index of the function, counted through all modules of the component.
        function: u32,
        /// Size of its code.
        bytes: usize,
        /// Maximum size.
        limit_bytes: usize,
    },
    /// A function with too many local variables in too many loops to compile.
    #[error("function {function} has {locals} local variables in {loops} loops")]
    FunctionTooComplex {
        /// Index of the function, counted through all modules of the component.
        function: u32,
        /// Number of local variables.
        locals: u64,
        /// Number of loops.
        loops: usize,
    },
    /// A function with blocks that nest too deeply to compile.
    #[error("function {function} has {blocks} nested blocks; {limit} are allowed")]
    FunctionTooDeep {
        /// Index of the function, counted through all modules of the component.
        function: u32,
        /// Nesting depth.
        blocks: usize,
        /// Maximum nesting depth.
        limit: usize,
    },
    /// A compilation that timed out. It continues in the background.
    #[error("not compiled within {0:?}")]
    CompileTime(Duration),
    /// An earlier compilation of this component that timed out and is still running, or too
    /// many of other components.
    #[error("not compiled: earlier compilations that timed out are still running: {abandoned}")]
    StillCompiling {
        /// Number of compilations that timed out and are still running.
        abandoned: usize,
    },
    /// A component whose compilation needs more memory than the budget of the engine.
    #[error("needs about {needs_bytes} bytes to compile; the host may use {limit_bytes}")]
    CompileMemory {
        /// Estimated memory of the compilation.
        needs_bytes: usize,
        /// Setting `memory_bytes` of the engine.
        limit_bytes: usize,
    },
    /// A compilation for which not enough memory of the budget was free in time.
    #[error("not compiled: about {needs_bytes} bytes were not free within {limit:?}")]
    CompileBusy {
        /// Estimated memory of the compilation.
        needs_bytes: usize,
        /// `compile_time` of the limits.
        limit: Duration,
    },
    /// A component in a host without the compiler.
    #[error("not compiled; this host has no compiler")]
    NoCompiler {
        /// Suggested remedy.
        hint: String,
    },
    /// A compiled file that lacks bytes or has others than it was written with.
    #[error("damaged: the file does not match the digest that it contains")]
    Damaged,
    /// Code that was compiled for another version of wasmtime, another machine or another
    /// processor.
    #[error("compiled for another host: {reason}")]
    OtherHost {
        /// Message of wasmtime.
        reason: String,
        /// Suggested remedy.
        hint: String,
    },
    /// A target for which the compiler has no code, or none with these settings.
    #[error("no code for the target `{target}`: {reason}")]
    Target {
        /// Requested target.
        target: String,
        /// Message of wasmtime.
        reason: String,
    },
    /// A failure of the compiler itself, although the component may be valid.
    #[error("the compiler failed: {0}")]
    Compiler(String),
    /// A failure to start the threads of the compiler.
    #[error("cannot start the compiler's threads: {0}")]
    CompilerThreads(String),
    /// A core module that cannot be converted to a component.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// An import of a capability that was not granted to the plugin.
    #[error("imports `{import}`, which is not granted")]
    NotGranted {
        /// Name of the plugin.
        plugin: String,
        /// Name of the import.
        import: String,
        /// Capability that grants the import; `None` if it is of another version of WASI.
        capability: Option<Capability>,
        /// Suggested remedy.
        hint: String,
    },
    /// An interface in a version that is incompatible with this host.
    #[error("needs `{interface}`; this host has version {supported}")]
    Version {
        /// Interface with the requested version.
        interface: String,
        /// Version of this host.
        supported: &'static str,
    },
    /// An import of a function that was added in a version newer than this host.
    #[error(
        "`{function}` of `{interface}`: this host ({supported}) is older than the plugin's `wit/` ({version})"
    )]
    Newer {
        /// Missing function.
        function: String,
        /// Interface, without its package.
        interface: String,
        /// Requested version.
        version: String,
        /// Version of this host.
        supported: &'static str,
    },
    /// A component without the export of methods.
    #[error("does not export `{0}`, so it has no methods")]
    NoMethods(&'static str),
    /// An import of an interface that no host provides.
    #[error("imports `{import}`, which this host does not have")]
    Unknown {
        /// Name of the import.
        import: String,
        /// Suggested remedy.
        hint: String,
    },
    /// An import of a function or type that this host's interface of the same name lacks.
    #[error("imports `{item}` of `{interface}`, which this host does not have")]
    MissingImport {
        /// Missing function or type.
        item: String,
        /// Interface with its version.
        interface: String,
    },
    /// An export of an interface without one of its functions.
    #[error("exports `{interface}` without `{function}`")]
    MissingExport {
        /// Missing function.
        function: String,
        /// Interface with its version.
        interface: String,
    },
    /// A function or type with a known name, but another signature.
    #[error("`{item}` of `{interface}` has another type than in this host")]
    OtherType {
        /// Function or type.
        item: String,
        /// Interface with its version.
        interface: String,
    },
    /// An interface with a known name that differs in another way.
    #[error("does not fit the interfaces of this host: {0}")]
    Mismatch(String),
    /// An initial memory above `memory_bytes`.
    #[error("starts with {needs_bytes} bytes of memory; {limit_bytes} are allowed")]
    Memory {
        /// Initial memory.
        needs_bytes: u64,
        /// Limit `memory_bytes`.
        limit_bytes: usize,
    },
    /// An initial memory of a call above the budget of all calls.
    #[error("a call starts with {needs_bytes} bytes; the budget of all calls is {limit_bytes}")]
    Budget {
        /// Initial memory, including stack and instances.
        needs_bytes: usize,
        /// Setting `memory_bytes` of the engine.
        limit_bytes: usize,
    },
    /// An unusable limit.
    #[error(transparent)]
    Limit(#[from] crate::LimitError),
    /// A limit `memory_bytes` above the maximum of the engine.
    #[error("`memory_bytes` is {requested}; the engine allows {max}")]
    EngineMemory {
        /// Limit `memory_bytes`.
        requested: usize,
        /// Setting `max_call_memory_bytes` of the engine.
        max: usize,
    },
}

impl LoadError {
    /// Returns a suggested remedy, if there is one.
    pub fn hint(&self) -> Option<&str> {
        Some(match self {
            LoadError::NotGranted { hint, .. }
            | LoadError::Unknown { hint, .. }
            | LoadError::NoCompiler { hint }
            | LoadError::OtherHost { hint, .. } => hint,
            LoadError::MissingImport { .. } => {
                "build it with the `wit/` folder of this release, or without this function"
            }
            LoadError::MissingExport { .. } | LoadError::OtherType { .. } => {
                "build it with the `wit/` folder of this release"
            }
            LoadError::Mismatch(_) => "build it for the world `behaviour` of `wit/world.wit`",
            LoadError::Encode(EncodeError::NoMetadata) => {
                "convert it to a component: `behaviour build` for a Rust crate, \
                 `wasm-tools component embed` and `component new` for others"
            }
            LoadError::NotWebAssembly(_) | LoadError::Invalid(_) => {
                "build a component with `behaviour build` and use its file"
            }
            LoadError::Feature { is_async: true, .. } => {
                "build it without async: `--sync` of componentize-qjs, \
                 `--backend-qjs-disable-async` of jco"
            }
            LoadError::Feature { .. } => {
                "build it without this feature; docs/plugins.md lists the supported ones"
            }
            LoadError::TextTooLarge { .. } => {
                "convert it to binary form: `wasm-tools parse -o FILE`"
            }
            LoadError::Newer { .. } => {
                "update the host, or build it with the `wit/` folder of the host's release"
            }
            LoadError::CompileTime(_) => {
                "raise `compile_time` in the plugin's limits, or make the component smaller"
            }
            LoadError::Compiler(_) => {
                "build it with other optimisation settings, and report a bug of the host"
            }
            LoadError::CompilerThreads(_) => {
                "free memory, or raise the limit on processes (`TasksMax` of systemd, `ulimit -u`)"
            }
            LoadError::FunctionTooLarge { .. }
            | LoadError::FunctionTooComplex { .. }
            | LoadError::FunctionTooDeep { .. } => {
                "build it optimised for size, and split the function"
            }
            LoadError::Version { .. } => "build it with the `wit/` folder of this release",
            LoadError::NoMethods(_) => "build it for the world `behaviour` of `wit/world.wit`",
            LoadError::Memory { .. } => "raise `memory_bytes` in the plugin's limits",
            LoadError::Target { .. } => {
                "use x86_64-unknown-linux-gnu or aarch64-unknown-linux-gnu, or pulley64 or pulley32 for \
                 the interpreter"
            }
            LoadError::Damaged => "copy it again, or compile it again",
            LoadError::TooLarge { .. } => "raise `component_bytes` in the plugin's limits",
            _ => return None,
        })
    }
}

/// A failure to convert a core module to a component.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// A module without the WIT of its world.
    #[error("a core module without component metadata")]
    NoMetadata,
    /// A module with WIT that cannot be converted.
    #[error("core module cannot be converted to a component: {0}")]
    Invalid(String),
    /// A panic of the converter.
    #[error("core module not converted to a component: the converter panicked")]
    Panicked,
    /// Unreadable WIT, or WIT without the requested world.
    #[error("no world `{world}` in the WIT: {reason}")]
    Wit {
        /// Requested world.
        world: String,
        /// Reason.
        reason: String,
    },
}

/// Returns a message of wasmtime on one line, with its causes but without backtraces.
pub(crate) fn one_line(error: &wasmtime::Error) -> String {
    on_one_line(&format!("{error:#}"))
}

/// Joins the lines of a text with spaces.
pub(crate) fn on_one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for part in text.lines().map(str::trim).filter(|part| !part.is_empty()) {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(part);
    }
    line
}
