//! A host without any interfaces, so that only the call is measured.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use plugin::{
    Document, HostError, HttpClient, HttpError, HttpRequest, JobQueue, Lent, LogLine, LogSink,
    NewJob, Power, StateStore, SystemClock, TelemetrySink, TwinAccess,
};

struct Nothing;

type No<'a, T> = BoxFuture<'a, Result<T, HostError>>;

fn no<'a, T: Send>() -> No<'a, T> {
    Box::pin(async { Err(HostError::Offline) })
}

pub(crate) fn nothing() -> Lent {
    Lent {
        device_id: "bench".into(),
        clock: Arc::new(SystemClock),
        log: Arc::new(Nothing),
        twin: Arc::new(Nothing),
        telemetry: Arc::new(Nothing),
        state: Arc::new(Nothing),
        jobs: Arc::new(Nothing),
        power: Arc::new(Nothing),
        http: Arc::new(Nothing),
    }
}

impl LogSink for Nothing {
    fn write(&self, _: &LogLine<'_>) {}
}

impl TwinAccess for Nothing {
    fn report<'a>(
        &'a self,
        _: &'a str,
        _: serde_json::Map<String, serde_json::Value>,
    ) -> No<'a, ()> {
        no()
    }

    fn report_and_wait<'a>(
        &'a self,
        _: &'a str,
        _: serde_json::Map<String, serde_json::Value>,
        _: Duration,
    ) -> No<'a, u64> {
        no()
    }

    fn desired(&self) -> Result<Document, HostError> {
        Err(HostError::Offline)
    }

    fn reported(&self) -> Result<Document, HostError> {
        Err(HostError::Offline)
    }
}

impl TelemetrySink for Nothing {
    fn send<'a>(
        &'a self,
        _: &'a str,
        _: Vec<u8>,
        _: String,
        _: Vec<(String, String)>,
    ) -> No<'a, ()> {
        no()
    }
}

impl StateStore for Nothing {
    fn get(&self, _: &str, _: &str) -> Result<Option<Vec<u8>>, HostError> {
        Err(HostError::Offline)
    }

    fn keys(&self, _: &str, _: &str, _: u32) -> Result<Vec<String>, HostError> {
        Err(HostError::Offline)
    }

    fn set<'a>(&'a self, _: &'a str, _: String, _: Vec<u8>, _: usize) -> No<'a, ()> {
        no()
    }

    fn delete<'a>(&'a self, _: &'a str, _: String) -> No<'a, ()> {
        no()
    }

    fn swap<'a>(
        &'a self,
        _: &'a str,
        _: String,
        _: Option<Vec<u8>>,
        _: Option<Vec<u8>>,
        _: usize,
    ) -> No<'a, bool> {
        no()
    }
}

impl JobQueue for Nothing {
    fn add<'a>(&'a self, _: &'a str, _: &'a str, _: NewJob, _: u32) -> No<'a, String> {
        no()
    }

    fn cancel<'a>(&'a self, _: &'a str, _: &'a str) -> No<'a, bool> {
        no()
    }
}

impl Power for Nothing {
    fn request_reboot<'a>(&'a self, _: &'a str, _: Duration, _: &'a str) -> No<'a, ()> {
        no()
    }
}

impl HttpClient for Nothing {
    fn send<'a>(
        &'a self,
        _: HttpRequest<'a>,
    ) -> BoxFuture<'a, Result<http::Response<bytes::Bytes>, HttpError>> {
        Box::pin(async { Err(HttpError::Failed("the bench has no network".into())) })
    }
}
