//! Errors of the engine, of loading, and of calls.
//!
//! An error names its subject, except the plugin if the caller has just named it. Messages
//! of wasmtime are shortened to one line.

mod words;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use json::JsonError;

/// An error that prevents the creation of an engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The directory of the compile cache cannot be used.
    #[error("compile cache {path}: {reason}")]
    Cache {
        /// Path of the directory.
        path: PathBuf,
        /// Reason.
        reason: String,
    },
    /// wasmtime rejected the settings, or the machine has too little address space for the
    /// instances.
    #[error("no engine with {instances} instances: {reason}")]
    Refused {
        /// Number of instances in the settings.
        instances: u32,
        /// Message of wasmtime.
        reason: String,
    },
    /// The thread that interrupts busy guests could not be started.
    #[error("cannot start the engine's ticker thread")]
    Ticker(#[source] io::Error),
}

/// An error that prevents a plugin from being loaded. [`LoadError::hint`] suggests a
/// remedy.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("{path}")]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// The file is larger than `component_bytes`.
    #[error("{bytes} bytes long; {limit_bytes} are allowed")]
    TooLarge {
        /// Size of the file.
        bytes: u64,
        /// Limit `component_bytes`.
        limit_bytes: usize,
    },
    /// The bytes are not WebAssembly.
    #[error("not WebAssembly: {0}")]
    NotWebAssembly(String),
    /// The bytes look like a component, but are not valid.
    #[error("not a valid component: {0}")]
    Invalid(String),
    /// The component is valid, but uses WebAssembly features that this host does not
    /// support.
    #[error("uses a WebAssembly feature that this host does not support: {0}")]
    Feature(String),
    /// The text form is too long. It is meant for small components written by hand: the
    /// parser takes ten times its size.
    #[error("{bytes} bytes of text; {limit_bytes} are allowed")]
    TextTooLarge {
        /// Size of the text.
        bytes: usize,
        /// Maximum size.
        limit_bytes: usize,
    },
    /// A function is too large to compile.
    #[error("function {function} has {bytes} bytes of code; {limit_bytes} are allowed")]
    Function {
        /// Index of the function, counted through all modules of the component.
        function: u32,
        /// Size of its code.
        bytes: usize,
        /// Maximum size.
        limit_bytes: usize,
    },
    /// A function has too many local variables in too many loops to compile.
    #[error("function {function} has {locals} local variables in {loops} loops")]
    Tangle {
        /// Index of the function, counted through all modules of the component.
        function: u32,
        /// Number of local variables.
        locals: u64,
        /// Number of loops.
        loops: usize,
    },
    /// A function has blocks that nest too deeply to compile.
    #[error("function {function} has {blocks} nested blocks; {limit} are allowed")]
    Blocks {
        /// Index of the function, counted through all modules of the component.
        function: u32,
        /// Nesting depth.
        blocks: usize,
        /// Maximum nesting depth.
        limit: usize,
    },
    /// The compilation timed out. It continues in the background.
    #[error("not compiled within {0:?}")]
    CompileTime(Duration),
    /// An abandoned compilation of this component, or too many of others, are still
    /// running.
    #[error("not compiled: earlier compilations that timed out are still running: {others}")]
    StillCompiling {
        /// Number of abandoned compilations.
        others: usize,
    },
    /// Compiling the component needs more memory than the budget of the host.
    #[error("needs about {needs_bytes} bytes to compile; the host may use {limit_bytes}")]
    CompileMemory {
        /// Estimated memory of the compilation.
        needs_bytes: usize,
        /// `budget_bytes` of the engine's settings.
        limit_bytes: usize,
    },
    /// Calls used the memory that compiling the component needs.
    #[error("not compiled: about {needs_bytes} bytes were not free within {limit:?}")]
    CompileBusy {
        /// Estimated memory of the compilation.
        needs_bytes: usize,
        /// `compile_time` of the limits.
        limit: Duration,
    },
    /// The compiler failed.
    #[error("not compiled: {0}")]
    Compiler(String),
    /// The core module could not be converted to a component.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The component has an import that it is not lent.
    #[error("imports `{import}`, which is not granted")]
    NotGranted {
        /// Name of the plugin.
        plugin: String,
        /// Name of the import.
        import: String,
        /// Suggested remedy.
        hint: String,
    },
    /// The component was built for an incompatible version of an interface.
    #[error("needs `{interface}`; this host has version {supported}")]
    Version {
        /// Interface with the requested version.
        interface: String,
        /// Version of this host.
        supported: &'static str,
    },
    /// The component was built for a newer version of an interface and uses one of its
    /// additions.
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
    /// The component does not export methods.
    #[error("does not export `{0}`, so it has no methods")]
    NoMethods(&'static str),
    /// An interface has the expected name, but different functions or types.
    #[error("does not fit the interfaces of this host: {0}")]
    Mismatch(String),
    /// The initial memory exceeds `memory_bytes`.
    #[error("starts with {needs_bytes} bytes of memory; {limit_bytes} are allowed")]
    Memory {
        /// Initial memory.
        needs_bytes: u64,
        /// Limit `memory_bytes`.
        limit_bytes: usize,
    },
    /// The initial memory of a call exceeds the budget of all calls.
    #[error("a call starts with {needs_bytes} bytes; the budget of all calls is {limit_bytes}")]
    Budget {
        /// Initial memory, including stack and instances.
        needs_bytes: usize,
        /// Setting `budget_bytes` of the engine.
        limit_bytes: usize,
    },
    /// A limit is unusable.
    #[error(transparent)]
    Limit(#[from] crate::LimitError),
    /// `memory_bytes` exceeds that of the engine.
    #[error("`memory_bytes` is {requested}; the engine allows {max}")]
    EngineMemory {
        /// Limit `memory_bytes`.
        requested: usize,
        /// Setting `memory_bytes` of the engine.
        max: usize,
    },
}

impl LoadError {
    /// Creates an error from a parser's message, which is on one line.
    pub(crate) fn of_reader(reason: String) -> LoadError {
        let of_features = ["require the ", "requires the ", "not enabled", "must be enabled"];
        let of_features = of_features.iter().chain(&["disallowed", "disabled"]);
        match of_features.into_iter().any(|words| reason.contains(words)) {
            true => LoadError::Feature(reason),
            false => LoadError::Invalid(reason),
        }
    }

    /// Returns a suggested remedy, if there is one.
    pub fn hint(&self) -> Option<&str> {
        Some(match self {
            LoadError::NotGranted { hint, .. } => hint,
            LoadError::Encode(EncodeError::NoMetadata) => {
                "convert it to a component: `behaviour build` for a Rust crate, \
                 `wasm-tools component embed` and `component new` for others"
            }
            LoadError::NotWebAssembly(_) | LoadError::Invalid(_) => {
                "build a component with `behaviour build` and use its file"
            }
            LoadError::Feature(reason) if reason.contains("async") => {
                "build it without async: `--sync` of componentize-qjs, \
                 `--backend-qjs-disable-async` of jco"
            }
            LoadError::Feature(_) => {
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
            LoadError::Function { .. } | LoadError::Tangle { .. } | LoadError::Blocks { .. } => {
                "build it optimised for size, and split the function"
            }
            LoadError::Version { .. } => "build it with the `wit/` folder of this release",
            LoadError::NoMethods(_) => "build it for the world `behaviour` of `wit/world.wit`",
            LoadError::Memory { .. } => "raise `memory_bytes` in the plugin's limits",
            LoadError::TooLarge { .. } => "raise `component_bytes` in the plugin's limits",
            _ => return None,
        })
    }
}

/// An error that prevents the conversion of a core module to a component.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// The module does not contain the WIT of its world.
    #[error("a core module without component metadata")]
    NoMetadata,
    /// The module contains WIT, but cannot be converted.
    #[error("core module cannot be converted to a component: {0}")]
    Invalid(String),
    /// The WIT cannot be read or lacks the world.
    #[error("no world `{world}` in the WIT: {why}")]
    Wit {
        /// Requested world.
        world: String,
        /// Reason.
        why: String,
    },
}

/// An error of a call that ended without an answer from the plugin.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The payload is not JSON, and was not delivered.
    #[error("payload {0}")]
    PayloadNotJson(JsonError),
    /// The payload is too large, and was not delivered.
    #[error("payload has {bytes} bytes; {limit_bytes} are allowed")]
    PayloadTooLarge {
        /// Size of the payload.
        bytes: usize,
        /// Limit `payload_bytes`.
        limit_bytes: usize,
    },
    /// The plugin's limit on concurrent calls is reached.
    #[error("{calls_at_once} calls are running, which is the limit")]
    Busy {
        /// Limit `calls_at_once`.
        calls_at_once: usize,
    },
    /// The pool or the memory budget of the engine is exhausted.
    #[error("no room for one more instance: {0}")]
    NoInstance(String),
    /// The component does not export the interface.
    #[error("does not export `device:behaviour/{0}`")]
    NoExport(&'static str),
    /// The plugin refused the call.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The deadline passed. The instance was dropped, so its work can be incomplete.
    #[error("no answer within {0:?}")]
    DeadlineExceeded(Duration),
    /// The call exceeded its memory limit. The instance was dropped.
    #[error("asked for more than its {limit_bytes} bytes of memory")]
    OutOfMemory {
        /// Limit `memory_bytes`.
        limit_bytes: usize,
    },
    /// The call exceeded the memory budget of all calls, which is not the plugin's fault.
    /// The instance was dropped.
    #[error("asked for more memory than is left of the {limit_bytes} bytes for all calls")]
    NoMemory {
        /// Setting `budget_bytes` of the engine.
        limit_bytes: usize,
    },
    /// The guest trapped. The instance was dropped.
    #[error("trapped: {0}")]
    Trapped(String),
    /// A host function panicked, or the code between host and guest. The instance was
    /// dropped.
    #[error("fault in the host: {0}")]
    HostFault(String),
    /// The answer is not JSON, and was dropped.
    #[error("answer {0}")]
    AnswerNotJson(JsonError),
    /// The answer is too large, and was dropped.
    #[error("answer has {bytes} bytes; {limit_bytes} are allowed")]
    AnswerTooLarge {
        /// Size of the answer.
        bytes: usize,
        /// Limit `answer_bytes`.
        limit_bytes: usize,
    },
    /// The status is out of range; the answer was dropped.
    #[error("answer has status {0}, which is not between 100 and 599")]
    AnswerStatus(u16),
}

/// A plugin's refusal of a call. Its messages are not escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The payload is JSON, but not valid for the method.
    #[error("invalid payload: {0}")]
    InvalidPayload(String),
    /// The call was routed to the plugin, but the plugin does not implement the method.
    #[error("unknown method")]
    UnknownMethod,
    /// The plugin is busy. The caller can retry after this many milliseconds.
    #[error("busy")]
    Busy(Option<u32>),
    /// The plugin tried and failed.
    #[error("failed: {0}")]
    Failed(String),
    /// Any other reason.
    #[error("{0}")]
    Other(String),
}

/// A plugin's error for a job or a change of the desired properties. Its messages are not
/// escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// Retry after this many milliseconds, or after the host's own delay.
    #[error("retry requested")]
    Retry(Option<u32>),
    /// Do not retry: the job can never succeed.
    #[error("rejected: {0}")]
    Reject(String),
    /// Any other error. Retry after the host's own delay.
    #[error("{0}")]
    Other(String),
}

/// Returns a message of wasmtime on one line, with its causes but without backtraces.
pub(crate) fn one_line(error: &wasmtime::Error) -> String {
    on_one_line(&format!("{error:#}"))
}

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
