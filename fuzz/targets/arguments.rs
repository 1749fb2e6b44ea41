//! Arguments of guests to the host's functions: the input is the guest's world in the first
//! byte, and calls of its imports after it (`fixtures::caller_of_imports`).

use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, Instant};

use plugin::{
    BootOutcome, Call, CallError, Capability, Document, DroppedUpdate, Engine, EngineSettings,
    HostError, HttpClient, HttpError, HttpRequest, HttpSettings, JobQueue, Lent, Limits, LogLine,
    LogSink, MetricSink, MetricUpdate, NewJob, Plugin, PluginMetrics, PluginSettings, Power,
    StateStore, SystemClock, TelemetrySink, TwinAccess,
};
use serde_json::{Map, Value};

/// The worlds: the default one with `power`, one with WASI, one with `wasi:http`, and the default
/// one with `http`.
const WORLDS: [&str; 4] = ["arguments.wit", "pries.wit", "fetches.wit", "requests.wit"];

/// The time of a call. A guest may ask to sleep for days.
const DEADLINE: Duration = Duration::from_millis(20);

static GUESTS: LazyLock<Vec<Plugin>> = LazyLock::new(|| {
    let engine = Engine::new(&EngineSettings { instances: 8, ..EngineSettings::default() });
    let engine = engine.expect("an engine with default settings");
    let load = |wit: &&str| {
        let hosts = vec!["api.example.com".parse().expect("a valid host")];
        let settings = PluginSettings {
            limits: Limits { deadline: DEADLINE, ..Limits::default() },
            capabilities: BTreeSet::from([Capability::Power, Capability::Http]),
            http: HttpSettings { hosts, ..HttpSettings::default() },
            ..PluginSettings::default()
        };
        let (guest, _) = fixtures::caller_of_imports(wit);
        engine.load("fuzzed", &guest, settings).expect("a guest of these imports")
    };
    WORLDS.iter().map(load).collect()
});

/// Checks that no argument makes the host panic, and that each failure is one line.
pub(crate) fn arguments(bytes: &[u8]) {
    let Some((world, calls)) = bytes.split_first() else { return };
    let letters = calls.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    let payload: String = letters.map(|nibble| char::from(b'a' + nibble)).collect();
    let payload = format!("\"{payload}\"");
    let host = Arc::new(Accepting(Mutex::default()));
    let call = Call {
        id: Arc::from("call-1"),
        method: "any",
        payload: &payload,
        attempt: 1,
        boot_outcome: BootOutcome::default(),
        trace_parent: None,
        lent: Arc::new(Lent {
            device_id: Arc::from("device-1"),
            clock: Arc::new(SystemClock),
            log: host.clone(),
            twin: host.clone(),
            telemetry: host.clone(),
            state: host.clone(),
            jobs: host.clone(),
            metrics: host.clone(),
            power: host.clone(),
            http: host,
        }),
    };
    let guest = &GUESTS[usize::from(*world) % WORLDS.len()];
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let outcome = runtime.expect("a runtime").block_on(guest.invoke(call));
    if let Err(error) = outcome {
        assert!(!matches!(error, CallError::HostFault(_)), "{error:?}");
        assert!(!error.message().contains('\n'), "{error:?}");
    }
}

/// A host that accepts everything and keeps nothing but metrics.
struct Accepting(Mutex<PluginMetrics>);

type Done<'a, T> = std::pin::Pin<Box<dyn Future<Output = Result<T, HostError>> + Send + 'a>>;

fn done<'a, T: Send + 'a>(value: T) -> Done<'a, T> {
    Box::pin(async { Ok(value) })
}

impl LogSink for Accepting {
    fn write(&self, line: &LogLine<'_>) {
        assert!(!line.message.contains('\n'), "{:?}", line.message);
    }
}

impl TwinAccess for Accepting {
    fn report<'a>(&'a self, _: &'a str, _: Map<String, Value>) -> Done<'a, ()> {
        done(())
    }

    fn report_and_wait<'a>(
        &'a self,
        _: &'a str,
        _: Map<String, Value>,
        _: Duration,
    ) -> Done<'a, u64> {
        done(1)
    }

    fn desired(&self) -> Result<Document, HostError> {
        Ok(Document { body: "{}".to_owned(), version: 1 })
    }

    fn reported(&self) -> Result<Document, HostError> {
        Err(HostError::Offline)
    }
}

impl TelemetrySink for Accepting {
    fn send<'a>(
        &'a self,
        _: &'a str,
        _: Vec<u8>,
        _: String,
        _: Vec<(String, String)>,
    ) -> Done<'a, ()> {
        done(())
    }
}

impl StateStore for Accepting {
    fn get<'a>(&'a self, _: &'a str, key: &'a str) -> Done<'a, Option<Vec<u8>>> {
        done(Some(key.as_bytes().to_vec()))
    }

    fn keys<'a>(&'a self, _: &'a str, prefix: &'a str, _: u32) -> Done<'a, Vec<String>> {
        done(vec![prefix.to_owned()])
    }

    fn set<'a>(&'a self, _: &'a str, _: String, _: Vec<u8>, _: usize) -> Done<'a, ()> {
        done(())
    }

    fn delete<'a>(&'a self, _: &'a str, _: String) -> Done<'a, ()> {
        done(())
    }

    fn swap<'a>(
        &'a self,
        _: &'a str,
        _: String,
        expected: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
        _: usize,
    ) -> Done<'a, bool> {
        done(expected == value)
    }
}

impl JobQueue for Accepting {
    fn add<'a>(&'a self, _: &'a str, _: &'a str, _: NewJob, _: u32) -> Done<'a, String> {
        done("job".to_owned())
    }

    fn cancel<'a>(&'a self, _: &'a str, id: &'a str) -> Done<'a, bool> {
        done(id == "job")
    }
}

/// Applies every update, so that arguments of any kind reach the rules.
impl MetricSink for Accepting {
    fn update(
        &self,
        _: &str,
        version: u64,
        update: MetricUpdate,
        max_series: usize,
    ) -> Result<(), DroppedUpdate> {
        self.0.lock().expect("no panic").apply(update, version, max_series, Instant::now())
    }
}

impl Power for Accepting {
    fn request_reboot<'a>(&'a self, _: &'a str, _: Duration, _: &'a str) -> Done<'a, ()> {
        done(())
    }
}

impl HttpClient for Accepting {
    fn send<'a>(
        &'a self,
        request: HttpRequest<'a>,
    ) -> std::pin::Pin<
        Box<dyn Future<Output = Result<http::Response<bytes::Bytes>, HttpError>> + Send + 'a>,
    > {
        // The list of hosts is checked before.
        assert_eq!(request.request.uri().host(), Some("api.example.com"));
        Box::pin(async { Ok(http::Response::new(bytes::Bytes::from_static(b"[]"))) })
    }
}
