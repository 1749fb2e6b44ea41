//! Handles that record a span for each request of a plugin to the host.
//!
//! A call has them only while spans are pushed; every other call has the plain handles.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Method, Response, Uri};
use plugin::{
    Document, HostError, HttpClient, HttpError, HttpRequest, JobQueue, Lent, NewJob, TelemetrySink,
    TwinAccess,
};
use serde_json::{Map, Value};

use super::jobs::Jobs;
use crate::trace::{Span, SpanKind};

/// Returns the handles of a call with this span. `jobs` are the jobs in `lent`, which keep the
/// context of the span.
pub(crate) fn traced(lent: &Lent, jobs: Option<&Arc<Jobs>>, span: &Arc<Span>) -> Lent {
    let span = || Arc::clone(span);
    let mut traced = lent.clone();
    traced.twin = Arc::new(Traced { inner: Arc::clone(&lent.twin), span: span() });
    traced.telemetry = Arc::new(Traced { inner: Arc::clone(&lent.telemetry), span: span() });
    traced.http = Arc::new(Traced { inner: Arc::clone(&lent.http), span: span() });
    if let Some(jobs) = jobs {
        traced.jobs = Arc::new(Traced { inner: Arc::clone(jobs), span: span() });
    }
    traced
}

/// A handle, and the span of the call that uses it.
struct Traced<T: ?Sized> {
    inner: Arc<T>,
    span: Arc<Span>,
}

impl TwinAccess for Traced<dyn TwinAccess> {
    fn report<'a>(
        &'a self,
        plugin: &'a str,
        patch: Map<String, Value>,
    ) -> BoxFuture<'a, Result<(), HostError>> {
        Box::pin(async move {
            let span = self.span.child("twin.report", SpanKind::Producer);
            let result = self.inner.report(plugin, patch).await;
            ended(&span, result)
        })
    }

    fn report_and_wait<'a>(
        &'a self,
        plugin: &'a str,
        patch: Map<String, Value>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<u64, HostError>> {
        Box::pin(async move {
            let span = self.span.child("twin.report-and-wait", SpanKind::Client);
            let result = self.inner.report_and_wait(plugin, patch, timeout).await;
            ended(&span, result)
        })
    }

    fn desired(&self) -> Result<Document, HostError> {
        self.inner.desired()
    }

    fn reported(&self) -> Result<Document, HostError> {
        self.inner.reported()
    }
}

impl TelemetrySink for Traced<dyn TelemetrySink> {
    fn send<'a>(
        &'a self,
        plugin: &'a str,
        body: Vec<u8>,
        content_type: String,
        properties: Vec<(String, String)>,
    ) -> BoxFuture<'a, Result<(), HostError>> {
        Box::pin(async move {
            let span = self.span.child("telemetry.send", SpanKind::Producer);
            let result = self.inner.send(plugin, body, content_type, properties).await;
            ended(&span, result)
        })
    }
}

impl JobQueue for Traced<Jobs> {
    fn add<'a>(
        &'a self,
        plugin: &'a str,
        call: &'a str,
        job: NewJob,
        max_pending: u32,
    ) -> BoxFuture<'a, Result<String, HostError>> {
        Box::pin(async move {
            let mut span = self.span.child("jobs.add", SpanKind::Producer);
            span.set("behaviour.job", job.name.as_str());
            let context = Some(span.context().to_string());
            let result = self.inner.add_traced(plugin, call, job, max_pending, context).await;
            ended(&span, result)
        })
    }

    fn call_ended(&self, call: &str) {
        self.inner.call_ended(call);
    }

    fn cancel<'a>(
        &'a self,
        plugin: &'a str,
        id: &'a str,
    ) -> BoxFuture<'a, Result<bool, HostError>> {
        self.inner.cancel(plugin, id)
    }
}

impl HttpClient for Traced<dyn HttpClient> {
    fn send<'a>(
        &'a self,
        request: HttpRequest<'a>,
    ) -> BoxFuture<'a, Result<Response<Bytes>, HttpError>> {
        Box::pin(async move {
            let (method, uri) = (request.request.method(), request.request.uri());
            let mut span = self.span.child(method.as_str(), SpanKind::Client);
            span.set("http.request.method", method.as_str());
            // The path and the query can contain secrets.
            span.set("server.address", uri.host().unwrap_or_default());
            let result = self.inner.send(request).await;
            if let Ok(response) = &result {
                span.set("http.response.status_code", i32::from(response.status().as_u16()));
            }
            span.end(result.as_ref().err().map(HttpError::cause));
            result
        })
    }

    fn refused(&self, method: &Method, url: &Uri, error: &HttpError) {
        self.inner.refused(method, url, error);
    }
}

/// Ends the span of a request, and returns the result.
fn ended<T>(span: &Span, result: Result<T, HostError>) -> Result<T, HostError> {
    let code = result.as_ref().err().map(|error| match error {
        HostError::Denied(_) => "denied",
        HostError::Invalid(_) => "invalid",
        HostError::TooLarge(_) => "too-large",
        HostError::QuotaExceeded(_) => "quota-exceeded",
        HostError::Offline => "offline",
        HostError::Timeout => "timeout",
        HostError::Throttled(_) => "throttled",
        HostError::Other(_) => "other",
    });
    span.end(code);
    result
}
