//! From a method's name to the plugin that serves it, and from whatever happens
//! there to one answer.
//!
//! [`Router::answer`] returns an answer, never a `Result`: a method that arrived
//! with a request id gets exactly one. It knows no connection; what plugins may
//! reach was given to it as [`Lent`].

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Instant;

use plugin::{BootOutcome, Call, CallError, Lent, Plugin};
use protocol::id::MethodName;
use serde_json::json;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::config::Config;
use crate::rids::Rids;

mod jobs;

pub(crate) struct Router {
    plugins: BTreeMap<String, Plugin>,
    named: HashMap<MethodName, Plugin>,
    any: Option<Plugin>,
    lent: Arc<Lent>,
    calls: Rids,
    draining: AtomicBool,
    /// Another one after each drain that the host goes on after.
    stopped: RwLock<CancellationToken>,
}

/// What goes back to the hub.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: i32,
    /// JSON.
    pub(crate) body: String,
    /// The id of the call.
    pub(crate) call: Arc<str>,
}

/// Why a method has no answer of a plugin.
enum Failure {
    UnknownMethod,
    Draining,
    PayloadNotText,
    Call(CallError),
}

impl Router {
    pub(crate) fn new(config: &Config, plugins: &BTreeMap<String, Plugin>, lent: Lent) -> Router {
        let mut named = HashMap::new();
        let mut any = None;
        for (name, section) in &config.plugins {
            let plugin = &plugins[name];
            named.extend(section.methods.iter().map(|method| (method.clone(), plugin.clone())));
            if section.any_method {
                any = Some(plugin.clone());
            }
        }
        Router {
            plugins: plugins.clone(),
            named,
            any,
            lent: Arc::new(lent),
            calls: Rids::new(),
            draining: AtomicBool::new(false),
            stopped: RwLock::default(),
        }
    }

    /// From now on new methods are answered that the host is draining.
    pub(crate) fn drain(&self) {
        self.draining.store(true, Ordering::Relaxed);
    }

    /// Ends the calls that still run; each is answered as draining.
    pub(crate) fn stop_calls(&self) {
        self.stopped().cancel();
    }

    /// The drain is over, and the host goes on.
    pub(crate) fn resume(&self) {
        *self.stopped.write().unwrap_or_else(PoisonError::into_inner) = CancellationToken::new();
        self.draining.store(false, Ordering::Relaxed);
    }

    fn stopped(&self) -> CancellationToken {
        self.stopped.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Calls the plugin that serves the method. `payload` is what came from the
    /// hub; nothing at all means `null`.
    pub(crate) async fn answer(&self, method: &MethodName, payload: &[u8]) -> Answer {
        let id: Arc<str> = self.calls.text().into();
        let begun = Instant::now();
        let stopped = self.stopped();
        let plugin = self.named.get(method).or(self.any.as_ref());
        let outcome = tokio::select! {
            outcome = self.call(plugin, method, payload, &id) => outcome,
            () = stopped.cancelled() => Err(Failure::Draining),
        };
        let plugin = plugin.map_or("none", Plugin::name);
        let elapsed_ms = begun.elapsed().as_millis();
        match outcome {
            Ok(answer) => {
                let status = answer.status;
                info!(plugin, %method, call = %id, status, elapsed_ms, "call answered");
                answer
            }
            Err(failure) => {
                let (status, error, message) = failure.to_words(method);
                warn!(plugin, %method, call = %id, status, elapsed_ms, error, "{message}");
                let body = json!({"error": error, "message": message, "call": &*id});
                Answer { status, body: body.to_string(), call: id }
            }
        }
    }

    async fn call(
        &self,
        plugin: Option<&Plugin>,
        method: &MethodName,
        payload: &[u8],
        id: &Arc<str>,
    ) -> Result<Answer, Failure> {
        if self.draining.load(Ordering::Relaxed) {
            return Err(Failure::Draining);
        }
        let plugin = plugin.ok_or(Failure::UnknownMethod)?;
        let payload = match payload {
            b"" => "null",
            bytes => std::str::from_utf8(bytes).map_err(|_| Failure::PayloadNotText)?,
        };
        let call = Call {
            id: Arc::clone(id),
            method: method.as_str(),
            payload,
            attempt: 1,
            boot_outcome: BootOutcome::NotWaitedFor,
            lent: Arc::clone(&self.lent),
        };
        let answer = plugin.invoke(call).await.map_err(Failure::Call)?;
        let body = answer.payload.map_or("null".to_owned(), |json| json.get().to_owned());
        Ok(Answer { status: i32::from(answer.status), body, call: Arc::clone(id) })
    }
}

impl Failure {
    /// Status, `error` and message: the table of failures in ARCHITECTURE.md, of
    /// which the rows about a call's own end stand in `plugin`.
    fn to_words(&self, method: &MethodName) -> (i32, &'static str, String) {
        let error = match self {
            Failure::UnknownMethod => {
                return (404, "unknown-method", format!("no plugin serves `{method}`"));
            }
            Failure::Draining => return (503, "draining", "the host is stopping".to_owned()),
            Failure::PayloadNotText => {
                return (400, "invalid-payload", "payload is not UTF-8".to_owned());
            }
            Failure::Call(error) => error,
        };
        (i32::from(error.status()), error.word(), error.message())
    }
}

#[cfg(test)]
mod tests;
