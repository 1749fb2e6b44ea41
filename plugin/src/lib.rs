//! Sandbox for plugins: loads a component, provides the interfaces that it was
//! granted, and calls it within its limits.
//!
//! A process has one [`Engine`]. [`Engine::load`] compiles a component, compares its
//! imports with the interfaces that the host provides, and prepares it. Each call of a
//! [`Plugin`] (a method, a job or a change of the twin) runs in a separate store and
//! instance, which are dropped when the call returns. A call can use
//! only [`Lent`]: narrow handles that the user of this crate implements.
//!
//! ```
//! use behaviour_plugin::{Engine, EngineSettings, PluginSettings};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Engine::new(&EngineSettings::default())?;
//! let file = "tests/frozen/0.1.0.wat";
//! let plugin = engine.load_file("greet", file.as_ref(), PluginSettings::default())?;
//! assert!(plugin.exports().deferred);
//! # Ok(())
//! # }
//! ```
//!
//! `examples/call.rs` implements the handles, and calls a method.
//!
//! # Layout
//!
//! * `engine`: the shared runtime, and the inspection of components;
//! * `component`: checks of a component's bytes before the compiler reads them;
//! * `compile`: compilation within limits, and its cache;
//! * `plugin`: loading and calls;
//! * `call`: the state of one call: memory, log, WASI, HTTP;
//! * `budget`: the memory of all calls and of the host's queues together;
//! * `interfaces`: the imports of a plugin, one file each;
//! * `lent`: the traits that a host implements;
//! * `metrics`: the metrics of a plugin, within their rules;
//! * `about`, `settings`, `limits`, `capability`: the description of a plugin;
//! * `error`: failures of the engine, of loading, and of calls.
//!
//! # Without the compiler
//!
//! Without the feature `compiler`, which is on by default, [`Engine::load`] refuses all components,
//! and [`Engine::load_compiled`] runs what `compile_for` has compiled elsewhere.
//!
//! # Out of scope
//!
//! The crate knows neither IoT Hub nor MQTT nor a configuration file. A [`CallError`]
//! names the failure, and the status and code for its caller; sending the answer
//! is left to the host. No other crate uses wasmtime.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a failed `unwrap` fails the test"))]

mod about;
mod budget;
mod call;
mod capability;
mod compile;
mod component;
mod engine;
mod error;
mod interfaces;
mod lent;
mod limits;
mod metrics;
mod plugin;
mod settings;
mod ticker;

pub use budget::queues::{NoQueueMemory, QueueMemory, QueuedMemory};
pub use call::{Answer, Call};
pub use capability::{Capability, UnknownCapability};
pub use compile::Compiled;
pub use compile::file::CompiledCode;
#[cfg(feature = "compiler")]
pub use component::encode::{encode, encode_for};
pub use component::imports::{Exports, Provider};
pub use component::sniff::{FileFormat, is_compiled};
#[cfg(feature = "compiler")]
pub use engine::compile::compile_for;
pub use engine::inspect::{Import, Inspection};
pub use engine::ready::TARGET;
pub use engine::{Engine, EngineSettings};
pub use error::{CallError, EncodeError, EngineError, JobError, LoadError, Refusal};
pub use json::{Json, JsonError, affects_display, escape, readable, readable_url};
pub use lent::{
    BootOutcome, Clock, Document, HostError, HttpClient, HttpError, HttpRequest, JobQueue, JobWhen,
    Lent, Level, LogLine, LogSink, MetricSink, NewJob, Nothing, Power, StateStore, SystemClock,
    TelemetrySink, TwinAccess,
};
pub use limits::{LimitError, Limits, MAX_DEADLINE};
pub use metrics::{
    DroppedUpdate, MetricChange, MetricError, MetricKind, MetricLabel, MetricSeries, MetricUpdate,
    MetricValue, PluginMetrics,
};
pub use plugin::{CallPermit, Plugin};
pub use settings::hosts::{HttpHost, HttpHostError};
pub use settings::{HttpSettings, PluginSettings};
