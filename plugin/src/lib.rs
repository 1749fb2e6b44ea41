//! The sandbox: loads a component, lends it what it was granted, calls it
//! within its limits.
//!
//! One [`Engine`] a process. [`Engine::load`] compiles a component, compares
//! what it imports with what it is lent and prepares it; every call of a
//! [`Plugin`], be it a method, a job or a change of the twin, then runs in a
//! store and an instance of its own, which are gone when it returns. What a call
//! may reach is in [`Lent`]: narrow handles that the caller of this crate
//! implements.
//!
//! It knows neither IoT Hub nor MQTT nor a configuration file. A [`CallError`]
//! says what happened and by which status and word a caller is told; to answer
//! anyone is the host's business. It is the only crate that names wasmtime.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test may stop at the first surprise"))]

mod about;
mod call;
mod capability;
mod compile;
mod component;
mod engine;
mod error;
mod interfaces;
mod json;
mod lent;
mod limits;
mod plugin;
mod settings;
mod ticker;

pub use call::{Answer, Call};
pub use capability::{Capability, UnknownCapability};
pub use compile::Compiled;
pub use component::encode::{encode, encode_for};
pub use component::imports::{Exports, Lender};
pub use component::sniff::Kind;
pub use engine::inspect::{Import, Inspection};
pub use engine::{Engine, EngineSettings};
pub use error::{CallError, EncodeError, EngineError, JobError, LoadError, Refusal};
pub use json::Json;
pub use lent::{
    BootOutcome, Clock, Document, HostError, HttpClient, HttpError, HttpRequest, JobQueue, JobWhen,
    Lent, Level, LogLine, LogSink, NewJob, Nothing, Power, StateStore, SystemClock, TelemetrySink,
    TwinAccess,
};
pub use limits::{LimitError, Limits, MAX_DEADLINE};
pub use plugin::Plugin;
pub use settings::hosts::{HttpHost, HttpHostError};
pub use settings::{HttpSettings, PluginSettings};
