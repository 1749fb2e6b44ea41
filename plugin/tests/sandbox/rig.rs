//! An engine, guests made of the fixtures, and a host that remembers what it was
//! told.

use behaviour_plugin::{
    Answer, BootOutcome, Call, CallError, Document, Engine, EngineSettings, HostError, HttpClient,
    HttpError, HttpRequest, JobQueue, Lent, LoadError, LogLine, LogSink, NewJob, Plugin,
    PluginSettings, Power, StateStore, SystemClock, TelemetrySink, TwinAccess,
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::Response;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

/// The engine that most tests share, as the calls of a host do.
pub(crate) fn engine() -> Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| engine_with(300)).clone()
}

pub(crate) fn engine_with(instances: u32) -> Engine {
    let cache = Some(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compiled"));
    Engine::new(&EngineSettings { instances, cache, ..EngineSettings::default() }).unwrap()
}

/// An engine all of whose calls together may have so much memory.
pub(crate) fn engine_with_budget(instances: u32, budget_bytes: usize) -> Engine {
    let cache = Some(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compiled"));
    let settings = EngineSettings { instances, budget_bytes, cache, ..EngineSettings::default() };
    Engine::new(&settings).unwrap()
}

pub(crate) fn load(name: &str) -> Plugin {
    load_with(name, PluginSettings::default()).unwrap()
}

pub(crate) fn load_with(name: &str, settings: PluginSettings) -> Result<Plugin, LoadError> {
    engine().load("reboot", &fixtures::guest(name), settings)
}

/// Calls a method with nothing to lend but the system's clock.
pub(crate) async fn call(plugin: &Plugin, method: &str) -> Result<Answer, CallError> {
    Host::default().call(plugin, method, "null").await
}

/// A host that remembers.
#[derive(Default)]
pub(crate) struct Host(Arc<Memory>);

#[derive(Default)]
struct Memory {
    log: Mutex<Vec<String>>,
    patches: Mutex<Vec<Value>>,
    messages: Mutex<Vec<String>>,
    state: Mutex<BTreeMap<String, Vec<u8>>>,
    jobs: Mutex<Vec<NewJob>>,
    reboots: Mutex<Vec<String>>,
    requests: Mutex<Vec<String>>,
}

impl Host {
    pub(crate) async fn call(
        &self,
        plugin: &Plugin,
        method: &str,
        payload: &str,
    ) -> Result<Answer, CallError> {
        plugin.invoke(self.a_call(method, payload)).await
    }

    /// A call that has not been made yet.
    pub(crate) fn a_call<'a>(&self, method: &'a str, payload: &'a str) -> Call<'a> {
        Call {
            id: Arc::from("call-1"),
            method,
            payload,
            attempt: 1,
            boot_outcome: BootOutcome::default(),
            lent: self.lent(),
        }
    }

    fn lent(&self) -> Arc<Lent> {
        Arc::new(Lent {
            device_id: Arc::from("device-1"),
            clock: Arc::new(SystemClock),
            log: self.0.clone(),
            twin: self.0.clone(),
            telemetry: self.0.clone(),
            state: self.0.clone(),
            jobs: self.0.clone(),
            power: self.0.clone(),
            http: self.0.clone(),
        })
    }

    pub(crate) fn log(&self) -> Vec<String> {
        self.0.log.lock().unwrap().clone()
    }

    pub(crate) fn patches(&self) -> Vec<Value> {
        self.0.patches.lock().unwrap().clone()
    }

    pub(crate) fn messages(&self) -> Vec<String> {
        self.0.messages.lock().unwrap().clone()
    }

    pub(crate) fn jobs(&self) -> Vec<NewJob> {
        self.0.jobs.lock().unwrap().clone()
    }

    pub(crate) fn requests(&self) -> Vec<String> {
        self.0.requests.lock().unwrap().clone()
    }

    pub(crate) fn reboots(&self) -> Vec<String> {
        self.0.reboots.lock().unwrap().clone()
    }
}

impl LogSink for Memory {
    fn write(&self, line: &LogLine<'_>) {
        let LogLine { plugin, method, call, level, message, fields } = line;
        let text = format!("{plugin} {method} {call} {level:?}: {message} {fields:?}");
        self.log.lock().unwrap().push(text);
    }
}

impl TwinAccess for Memory {
    fn report<'a>(
        &'a self,
        _plugin: &'a str,
        patch: Map<String, Value>,
    ) -> BoxFuture<'a, Result<(), HostError>> {
        self.patches.lock().unwrap().push(patch.into());
        done(())
    }

    fn report_and_wait<'a>(
        &'a self,
        _plugin: &'a str,
        _patch: Map<String, Value>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<u64, HostError>> {
        Box::pin(async move {
            tokio::time::sleep(timeout).await;
            Err(HostError::Timeout)
        })
    }

    fn desired(&self) -> Result<Document, HostError> {
        Ok(Document { body: r#"{"delay":5}"#.to_owned(), version: 3 })
    }

    fn reported(&self) -> Result<Document, HostError> {
        Err(HostError::Offline)
    }
}

impl TelemetrySink for Memory {
    fn send<'a>(
        &'a self,
        plugin: &'a str,
        body: Vec<u8>,
        content_type: String,
        _properties: Vec<(String, String)>,
    ) -> BoxFuture<'a, Result<(), HostError>> {
        let body = String::from_utf8(body).unwrap();
        self.messages.lock().unwrap().push(format!("{plugin} {content_type} {body}"));
        done(())
    }
}

impl StateStore for Memory {
    fn get<'a>(
        &'a self,
        plugin: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, HostError>> {
        done(self.state.lock().unwrap().get(&format!("{plugin}/{key}")).cloned())
    }

    fn keys<'a>(
        &'a self,
        plugin: &'a str,
        prefix: &'a str,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<String>, HostError>> {
        let prefix = format!("{plugin}/{prefix}");
        let state = self.state.lock().unwrap();
        let keys = state.keys().filter(|key| key.starts_with(&prefix));
        done(keys.take(limit as usize).cloned().collect())
    }

    fn set<'a>(
        &'a self,
        plugin: &'a str,
        key: String,
        value: Vec<u8>,
        _most_bytes: usize,
    ) -> BoxFuture<'a, Result<(), HostError>> {
        self.state.lock().unwrap().insert(format!("{plugin}/{key}"), value);
        done(())
    }

    fn delete<'a>(&'a self, plugin: &'a str, key: String) -> BoxFuture<'a, Result<(), HostError>> {
        self.state.lock().unwrap().remove(&format!("{plugin}/{key}"));
        done(())
    }

    fn swap<'a>(
        &'a self,
        plugin: &'a str,
        key: String,
        expected: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
        _most_bytes: usize,
    ) -> BoxFuture<'a, Result<bool, HostError>> {
        let mut state = self.state.lock().unwrap();
        let key = format!("{plugin}/{key}");
        let as_expected = state.get(&key) == expected.as_ref();
        match value {
            Some(value) if as_expected => drop(state.insert(key, value)),
            None if as_expected => drop(state.remove(&key)),
            _ => {}
        }
        done(as_expected)
    }
}

impl JobQueue for Memory {
    fn add<'a>(
        &'a self,
        _plugin: &'a str,
        call: &'a str,
        job: NewJob,
        _most_waiting: u32,
    ) -> BoxFuture<'a, Result<String, HostError>> {
        self.jobs.lock().unwrap().push(job);
        done(format!("job of {call}"))
    }

    fn cancel<'a>(
        &'a self,
        _plugin: &'a str,
        id: &'a str,
    ) -> BoxFuture<'a, Result<bool, HostError>> {
        done(id == "job" && self.jobs.lock().unwrap().pop().is_some())
    }
}

impl Power for Memory {
    fn request_reboot<'a>(
        &'a self,
        plugin: &'a str,
        delay: Duration,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<(), HostError>> {
        self.reboots.lock().unwrap().push(format!("{plugin} in {delay:?}: {reason}"));
        done(())
    }
}

/// Everyone answers with their name, but for one that is never heard of again.
impl HttpClient for Memory {
    fn send<'a>(
        &'a self,
        request: HttpRequest<'a>,
    ) -> BoxFuture<'a, Result<Response<Bytes>, HttpError>> {
        let uri = request.request.uri().clone();
        let private = if request.may_be_private { "" } else { ", not in a private network" };
        self.requests.lock().unwrap().push(format!("{uri}{private}"));
        Box::pin(async move {
            if uri.host() == Some("silent.example.com") {
                std::future::pending::<()>().await;
            }
            Ok(Response::new(format!("\"{}\"", uri.host().unwrap()).into()))
        })
    }
}

fn done<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, Result<T, HostError>> {
    Box::pin(async { Ok(value) })
}
