//! Host interfaces that do nothing, so that only the call is measured.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use plugin::{
    Document, HostError, HttpClient, HttpError, HttpRequest, Lent, LogLine, LogSink, Nothing,
    SystemClock, TelemetrySink, TwinAccess,
};

/// A host without a connection.
struct Offline;

/// A future that resolves to an error.
type Refusal<'a, T> = BoxFuture<'a, Result<T, HostError>>;

fn refuse<'a, T: Send>() -> Refusal<'a, T> {
    Box::pin(async { Err(HostError::Offline) })
}

pub(crate) fn offline() -> Lent {
    Lent {
        device_id: "bench".into(),
        clock: Arc::new(SystemClock),
        log: Arc::new(Offline),
        twin: Arc::new(Offline),
        telemetry: Arc::new(Offline),
        state: Arc::new(Nothing),
        jobs: Arc::new(Nothing),
        metrics: Arc::new(Nothing),
        power: Arc::new(Nothing),
        http: Arc::new(Offline),
    }
}

impl LogSink for Offline {
    fn write(&self, _: &LogLine<'_>) {}
}

impl TwinAccess for Offline {
    fn report<'a>(
        &'a self,
        _: &'a str,
        _: serde_json::Map<String, serde_json::Value>,
    ) -> Refusal<'a, ()> {
        refuse()
    }

    fn report_and_wait<'a>(
        &'a self,
        _: &'a str,
        _: serde_json::Map<String, serde_json::Value>,
        _: Duration,
    ) -> Refusal<'a, u64> {
        refuse()
    }

    fn desired(&self) -> Result<Document, HostError> {
        Err(HostError::Offline)
    }

    fn reported(&self) -> Result<Document, HostError> {
        Err(HostError::Offline)
    }
}

impl TelemetrySink for Offline {
    fn send<'a>(
        &'a self,
        _: &'a str,
        _: Vec<u8>,
        _: String,
        _: Vec<(String, String)>,
    ) -> Refusal<'a, ()> {
        refuse()
    }
}

impl HttpClient for Offline {
    fn send<'a>(
        &'a self,
        _: HttpRequest<'a>,
    ) -> BoxFuture<'a, Result<http::Response<bytes::Bytes>, HttpError>> {
        Box::pin(async { Err(HttpError::Failed("the bench has no network".into())) })
    }
}
