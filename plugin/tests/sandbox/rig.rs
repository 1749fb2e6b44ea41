//! An engine, guests made of the fixtures, and a host that remembers what it was
//! told.

use futures_util::future::BoxFuture;
use plugin::{
    Answer, Call, CallError, Document, Engine, EngineSettings, HostError, Lent, LoadError, LogLine,
    LogSink, Plugin, PluginSettings, SystemClock, TelemetrySink, TwinAccess,
};
use serde_json::{Map, Value};
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
}

impl Host {
    pub(crate) async fn call(
        &self,
        plugin: &Plugin,
        method: &str,
        payload: &str,
    ) -> Result<Answer, CallError> {
        plugin.invoke(Call { id: Arc::from("call-1"), method, payload, lent: self.lent() }).await
    }

    fn lent(&self) -> Arc<Lent> {
        Arc::new(Lent {
            device_id: Arc::from("device-1"),
            clock: Arc::new(SystemClock),
            log: self.0.clone(),
            twin: self.0.clone(),
            telemetry: self.0.clone(),
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
}

impl LogSink for Memory {
    fn write(&self, line: &LogLine<'_>) {
        let LogLine { plugin, method, call, level, message, fields } = line;
        let text = format!("{plugin} {method} {call} {level:?}: {message} {fields:?}");
        self.log.lock().unwrap().push(text);
    }
}

impl TwinAccess for Memory {
    fn report(&self, _plugin: &str, patch: Map<String, Value>) -> Result<(), HostError> {
        self.patches.lock().unwrap().push(patch.into());
        Ok(())
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
    fn send(
        &self,
        plugin: &str,
        body: Vec<u8>,
        content_type: String,
        _properties: Vec<(String, String)>,
    ) -> Result<(), HostError> {
        let body = String::from_utf8(body).unwrap();
        self.messages.lock().unwrap().push(format!("{plugin} {content_type} {body}"));
        Ok(())
    }
}
