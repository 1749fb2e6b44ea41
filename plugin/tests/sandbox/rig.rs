//! Engines, guests from the fixtures, and a host that records the plugins' actions.

use behaviour_plugin::{
    Answer, BootOutcome, Call, CallError, Document, DroppedUpdate, Engine, EngineSettings,
    HostError, HttpClient, HttpError, HttpRequest, JobQueue, Lent, LoadError, LogLine, LogSink,
    MetricSeries, MetricSink, MetricUpdate, NewJob, Plugin, PluginMetrics, PluginSettings, Power,
    StateStore, SystemClock, TelemetrySink, TwinAccess,
};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::Response;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{Duration, Instant};

/// Returns the engine that most tests share.
pub(crate) fn engine() -> Engine {
    static ENGINE: OnceLock<Engine> = OnceLock::new();
    ENGINE.get_or_init(|| engine_with(300)).clone()
}

/// Returns an engine with this number of instances.
pub(crate) fn engine_with(instances: u32) -> Engine {
    let cache = Some(PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compiled"));
    Engine::new(&EngineSettings { instances, cache, ..EngineSettings::default() }).unwrap()
}

/// Returns an engine with this memory budget.
pub(crate) fn engine_with_budget(instances: u32, memory_bytes: usize) -> Engine {
    let cache = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("compiled");
    engine_in(&cache, instances, memory_bytes)
}

/// Returns an engine with this cache directory and memory budget.
pub(crate) fn engine_in(cache: &Path, instances: u32, memory_bytes: usize) -> Engine {
    let cache = Some(cache.to_owned());
    let settings = EngineSettings { instances, memory_bytes, cache, ..EngineSettings::default() };
    Engine::new(&settings).unwrap()
}

pub(crate) fn load(name: &str) -> Plugin {
    load_with(name, PluginSettings::default()).unwrap()
}

pub(crate) fn load_with(name: &str, settings: PluginSettings) -> Result<Plugin, LoadError> {
    engine().load("reboot", &fixtures::guest(name), settings)
}

/// Calls a method with the payload `null` on a new host.
pub(crate) async fn call(plugin: &Plugin, method: &str) -> Result<Answer, CallError> {
    Host::default().call(plugin, method, "null").await
}

/// Host that records the actions of plugins.
#[derive(Default)]
pub(crate) struct Host(Arc<Records>);

#[derive(Default)]
struct Records {
    log: Mutex<Vec<String>>,
    patches: Mutex<Vec<Value>>,
    messages: Mutex<Vec<String>>,
    state: Mutex<BTreeMap<String, Vec<u8>>>,
    jobs: Mutex<Vec<NewJob>>,
    reboots: Mutex<Vec<String>>,
    requests: Mutex<Vec<String>>,
    metrics: Mutex<PluginMetrics>,
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

    /// Returns the arguments of a call.
    pub(crate) fn a_call<'a>(&self, method: &'a str, payload: &'a str) -> Call<'a> {
        Call {
            id: Arc::from("call-1"),
            method,
            payload,
            attempt: 1,
            boot_outcome: BootOutcome::default(),
            trace_parent: None,
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
            metrics: self.0.clone(),
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

    /// Returns the number of series and of dropped updates.
    pub(crate) fn metrics(&self) -> (Vec<String>, u64) {
        let (metrics, mut series) = (self.0.metrics.lock().unwrap(), Vec::new());
        metrics.each(|MetricSeries { name, labels, bounds, value, .. }| {
            series.push(format!("{name} {labels:?} {bounds:?} {value:?}"));
        });
        (series, metrics.dropped())
    }

    pub(crate) fn reboots(&self) -> Vec<String> {
        self.0.reboots.lock().unwrap().clone()
    }
}

impl LogSink for Records {
    fn write(&self, line: &LogLine<'_>) {
        let LogLine { plugin, method, call, level, message, fields } = line;
        let text = format!("{plugin} {method} {call} {level:?}: {message} {fields:?}");
        self.log.lock().unwrap().push(text);
    }
}

impl TwinAccess for Records {
    fn report<'a>(
        &'a self,
        _plugin: &'a str,
        patch: Map<String, Value>,
    ) -> BoxFuture<'a, Result<(), HostError>> {
        self.patches.lock().unwrap().push(patch.into());
        ok(())
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

impl MetricSink for Records {
    fn update(
        &self,
        _plugin: &str,
        version: u64,
        update: MetricUpdate,
        max_series: usize,
    ) -> Result<(), DroppedUpdate> {
        self.metrics.lock().unwrap().apply(update, version, max_series, Instant::now())
    }
}

impl TelemetrySink for Records {
    fn send<'a>(
        &'a self,
        plugin: &'a str,
        body: Vec<u8>,
        content_type: String,
        _properties: Vec<(String, String)>,
    ) -> BoxFuture<'a, Result<(), HostError>> {
        let body = String::from_utf8(body).unwrap();
        self.messages.lock().unwrap().push(format!("{plugin} {content_type} {body}"));
        ok(())
    }
}

impl StateStore for Records {
    fn get<'a>(
        &'a self,
        plugin: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, HostError>> {
        ok(self.state.lock().unwrap().get(&format!("{plugin}/{key}")).cloned())
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
        ok(keys.take(limit as usize).cloned().collect())
    }

    fn set<'a>(
        &'a self,
        plugin: &'a str,
        key: String,
        value: Vec<u8>,
        _max_bytes: usize,
    ) -> BoxFuture<'a, Result<(), HostError>> {
        self.state.lock().unwrap().insert(format!("{plugin}/{key}"), value);
        ok(())
    }

    fn delete<'a>(&'a self, plugin: &'a str, key: String) -> BoxFuture<'a, Result<(), HostError>> {
        self.state.lock().unwrap().remove(&format!("{plugin}/{key}"));
        ok(())
    }

    fn swap<'a>(
        &'a self,
        plugin: &'a str,
        key: String,
        expected: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
        _max_bytes: usize,
    ) -> BoxFuture<'a, Result<bool, HostError>> {
        let mut state = self.state.lock().unwrap();
        let key = format!("{plugin}/{key}");
        let as_expected = state.get(&key) == expected.as_ref();
        match value {
            Some(value) if as_expected => drop(state.insert(key, value)),
            None if as_expected => drop(state.remove(&key)),
            _ => {}
        }
        ok(as_expected)
    }
}

impl JobQueue for Records {
    fn add<'a>(
        &'a self,
        _plugin: &'a str,
        call: &'a str,
        job: NewJob,
        _max_pending: u32,
    ) -> BoxFuture<'a, Result<String, HostError>> {
        self.jobs.lock().unwrap().push(job);
        ok(format!("job of {call}"))
    }

    fn cancel<'a>(
        &'a self,
        _plugin: &'a str,
        id: &'a str,
    ) -> BoxFuture<'a, Result<bool, HostError>> {
        ok(id == "job" && self.jobs.lock().unwrap().pop().is_some())
    }
}

impl Power for Records {
    fn request_reboot<'a>(
        &'a self,
        plugin: &'a str,
        delay: Duration,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<(), HostError>> {
        self.reboots.lock().unwrap().push(format!("{plugin} in {delay:?}: {reason}"));
        ok(())
    }
}

/// Each server answers with its name, except `silent.example.com`, which never answers, and
/// `large.example.com`, whose response has the maximum size.
impl HttpClient for Records {
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
            if uri.host() == Some("large.example.com") {
                return Ok(Response::new(vec![b'1'; request.response_bytes].into()));
            }
            Ok(Response::new(format!("\"{}\"", uri.host().unwrap()).into()))
        })
    }
}

fn ok<'a, T: Send + 'a>(value: T) -> BoxFuture<'a, Result<T, HostError>> {
    Box::pin(async { Ok(value) })
}
