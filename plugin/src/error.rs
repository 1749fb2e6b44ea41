//! Errors of the engine, of loading, and of calls.
//!
//! Each error names what it is about, but not the plugin where its caller has
//! just named it. Texts that wasmtime wrote are cut down to one line.

mod words;

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use json::JsonError;

/// An error that leaves no engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The directory of the compile cache cannot be used.
    #[error("compile cache {path}: {reason}")]
    Cache {
        /// The path of the directory.
        path: PathBuf,
        /// The reason in words.
        reason: String,
    },
    /// wasmtime refused the settings, or this machine has too little address
    /// space for so many instances.
    #[error("no engine with {instances} instances: {reason}")]
    Refused {
        /// The number of instances in the settings.
        instances: u32,
        /// The message of wasmtime.
        reason: String,
    },
    /// No thread for the ticks that interrupt busy guests.
    #[error("no thread for the engine's ticks")]
    Ticker(#[source] io::Error),
}

/// An error that keeps a plugin from being loaded. [`LoadError::hint`] offers the way
/// out where one action helps.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("{path}")]
    Read {
        /// The path of the file.
        path: PathBuf,
        /// The cause.
        #[source]
        source: io::Error,
    },
    /// Longer than a component may be.
    #[error("{bytes} bytes long; a component may have {limit_bytes}")]
    TooLarge {
        /// Its size.
        bytes: u64,
        /// `component_bytes` of the limits.
        limit_bytes: usize,
    },
    /// The bytes are something else altogether.
    #[error("not WebAssembly: {0}")]
    NotWebAssembly(String),
    /// It looks like a component, but is not a valid one.
    #[error("not a valid component: {0}")]
    Invalid(String),
    /// Valid, but for a host that has more of WebAssembly.
    #[error("uses a part of WebAssembly that this host does not have: {0}")]
    Feature(String),
    /// Text is for small components written by hand: its parser takes ten times its size.
    #[error("{bytes} bytes of text; the text of a component may have {limit_bytes}")]
    TextTooLarge {
        /// Its size.
        bytes: usize,
        /// The largest size allowed.
        limit_bytes: usize,
    },
    /// One of its functions is larger than anything that people write.
    #[error("function {function} has {bytes} bytes of code; {limit_bytes} are allowed")]
    Function {
        /// Its index, counted from 0 through all modules of the component.
        function: u32,
        /// The size of its code.
        bytes: usize,
        /// The largest size allowed.
        limit_bytes: usize,
    },
    /// One of its functions would keep a compiler busy for ever.
    #[error("function {function} has {locals} local variables in {loops} loops")]
    Tangle {
        /// Its index, counted from 0 through all modules of the component.
        function: u32,
        /// Its local variables.
        locals: u64,
        /// Its loops.
        loops: usize,
    },
    /// One of its functions nests deeper than anything that people write.
    #[error("function {function} has {blocks} blocks within one another; {limit} are allowed")]
    Blocks {
        /// Its index, counted from 0 through all modules of the component.
        function: u32,
        /// The depth of its blocks.
        blocks: usize,
        /// The deepest nesting allowed.
        limit: usize,
    },
    /// The compiler was given up on. It may go on by itself for a while.
    #[error("not compiled within {0:?}")]
    CompileTime(Duration),
    /// The compiler has not come back from this component, or from too many
    /// others, since it was given up on.
    #[error("not compiled: the compiler is still at work on {others} that it was given up on")]
    StillCompiling {
        /// The number of them.
        others: usize,
    },
    /// The compiler itself failed.
    #[error("not compiled: {0}")]
    Compiler(String),
    /// A core module that does not make a component.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// It wants something that it is not lent.
    #[error("imports `{import}`, which is not granted")]
    NotGranted {
        /// The plugin's name.
        plugin: String,
        /// The name of the import.
        import: String,
        /// The way out.
        hint: String,
    },
    /// It was built with a version of an interface that this host does not have.
    #[error("needs `{interface}`; this host has version {held}")]
    Version {
        /// The interface with the version it asks for.
        interface: String,
        /// The version that there is.
        held: &'static str,
    },
    /// It was built with a newer version of an interface, and needs what that added.
    #[error(
        "`{function}` of `{interface}`: this host ({held}) is older than the plugin's `wit/` ({version})"
    )]
    Newer {
        /// The function that this host does not have.
        function: String,
        /// The interface without its package.
        interface: String,
        /// The version that it asks for.
        version: String,
        /// The version that there is.
        held: &'static str,
    },
    /// It has nothing to call.
    #[error("does not export `{0}`, so it has no methods")]
    NoMethods(&'static str),
    /// An interface has the right name, but not the right functions or types.
    #[error("does not fit the interfaces of this host: {0}")]
    Mismatch(String),
    /// It would not even start.
    #[error("starts with {needs_bytes} bytes of memory; it may have {limit_bytes}")]
    Memory {
        /// The memory at the start.
        needs_bytes: u64,
        /// `memory_bytes` of the limits.
        limit_bytes: usize,
    },
    /// No call of it could ever begin.
    #[error("a call begins with {needs_bytes} bytes; all calls together may have {limit_bytes}")]
    Budget {
        /// The memory at the start, with stack and instances.
        needs_bytes: usize,
        /// `budget_bytes` of the engine's settings.
        limit_bytes: usize,
    },
    /// A limit of the configuration that cannot be meant.
    #[error(transparent)]
    Limit(#[from] crate::LimitError),
    /// More memory than an instance of this engine has.
    #[error("`memory_bytes` is {asked}; the engine was made for {most} at most")]
    EngineMemory {
        /// `memory_bytes` of the limits.
        asked: usize,
        /// `memory_bytes` of the engine's settings.
        most: usize,
    },
}

impl LoadError {
    /// Makes an error of what a reader of components says, on one line.
    pub(crate) fn of_reader(reason: String) -> LoadError {
        let of_features = ["require the ", "requires the ", "not enabled", "must be enabled"];
        let of_features = of_features.iter().chain(&["disallowed", "disabled"]);
        match of_features.into_iter().any(|words| reason.contains(words)) {
            true => LoadError::Feature(reason),
            false => LoadError::Invalid(reason),
        }
    }

    /// Returns the way out, if one action helps.
    pub fn hint(&self) -> Option<&str> {
        Some(match self {
            LoadError::NotGranted { hint, .. } => hint,
            LoadError::Encode(EncodeError::NoMetadata) => {
                "make a component of it: `behaviour build` for a Rust crate, \
                 `wasm-tools component embed` and `component new` for others"
            }
            LoadError::NotWebAssembly(_) | LoadError::Invalid(_) => {
                "make a component with `behaviour build`, and name its file"
            }
            LoadError::Feature(reason) if reason.contains("async") => {
                "build it without async: `--sync` of componentize-qjs, \
                 `--backend-qjs-disable-async` of jco"
            }
            LoadError::Feature(_) => "build it without; docs/plugins.md lists what a host has",
            LoadError::TextTooLarge { .. } => "make it binary: `wasm-tools parse -o FILE`",
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

/// An error that keeps a core module from becoming a component.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Nothing in it says what it imports and exports as a component.
    #[error("a core module without component metadata")]
    NoMetadata,
    /// It has metadata, but they do not fit.
    #[error("core module does not make a component: {0}")]
    Invalid(String),
    /// The WIT that it was built for cannot be read.
    #[error("no world `{world}` in the WIT: {why}")]
    Wit {
        /// The world that was asked for.
        world: String,
        /// The reason in words.
        why: String,
    },
}

/// A call's end without an answer from the plugin.
#[derive(Debug, thiserror::Error)]
pub enum CallError {
    /// The payload was not delivered.
    #[error("payload {0}")]
    PayloadNotJson(JsonError),
    /// The payload was not delivered.
    #[error("payload has {bytes} bytes; {limit_bytes} are allowed")]
    PayloadTooLarge {
        /// Its size.
        bytes: usize,
        /// `payload_bytes` of the limits.
        limit_bytes: usize,
    },
    /// As many calls of this plugin are running as may.
    #[error("{calls_at_once} calls are running, and no more may")]
    Busy {
        /// `calls_at_once` of the limits.
        calls_at_once: usize,
    },
    /// The engine has no room for one more instance, whosever the others are.
    #[error("no room for one more instance: {0}")]
    NoInstance(String),
    /// There is nothing to call: the component lacks this interface.
    #[error("does not export `device:behaviour/{0}`")]
    NoExport(&'static str),
    /// The plugin itself said no.
    #[error("refused: {0}")]
    Refused(Refusal),
    /// The instance was dropped; whatever it had begun may be half done.
    #[error("no answer within {0:?}")]
    DeadlineExceeded(Duration),
    /// The instance was dropped when it asked for more.
    #[error("asked for more than its {limit_bytes} bytes of memory")]
    OutOfMemory {
        /// `memory_bytes` of the limits.
        limit_bytes: usize,
    },
    /// The instance was dropped when it asked for more, because other calls had it. That
    /// is no failure of the plugin.
    #[error("asked for more than is free of the {limit_bytes} bytes of all calls together")]
    NoMemory {
        /// `budget_bytes` of the engine's settings.
        limit_bytes: usize,
    },
    /// The instance was dropped at a fault of the guest's code.
    #[error("trapped: {0}")]
    Trapped(String),
    /// A panic in the host, in a function that it lends or on the way to the guest.
    /// The instance was dropped.
    #[error("fault in the host: {0}")]
    HostFault(String),
    /// The answer was dropped.
    #[error("answer {0}")]
    AnswerNotJson(JsonError),
    /// The answer was dropped.
    #[error("answer has {bytes} bytes; {limit_bytes} are allowed")]
    AnswerTooLarge {
        /// Its size.
        bytes: usize,
        /// `answer_bytes` of the limits.
        limit_bytes: usize,
    },
    /// The answer was dropped.
    #[error("answer has status {0}, which is not between 100 and 599")]
    AnswerStatus(u16),
}

/// A plugin's own no, as it said it: its texts are not escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// JSON, but not what this method takes.
    #[error("invalid payload: {0}")]
    InvalidPayload(String),
    /// Routed here, but this plugin does not serve that name.
    #[error("unknown method")]
    UnknownMethod,
    /// Not now; perhaps again after this many milliseconds.
    #[error("busy")]
    Busy(Option<u32>),
    /// Tried, and it did not work.
    #[error("failed: {0}")]
    Failed(String),
    /// Anything else.
    #[error("{0}")]
    Other(String),
}

/// A job, or a change of the desired properties, that the plugin did not do, and the
/// way to go on. Its texts are not escaped.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum JobError {
    /// Again, after this many milliseconds or when the host thinks best.
    #[error("to be tried again")]
    Retry(Option<u32>),
    /// It will never work.
    #[error("rejected: {0}")]
    Reject(String),
    /// Anything else: again, when the host thinks best.
    #[error("{0}")]
    Other(String),
}

/// Returns a message of wasmtime on one line: its causes in order, without backtraces.
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
