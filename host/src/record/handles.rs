//! Handles that pass every request on and note its effect.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use http::{Method, Response, Uri};
use parking_lot::Mutex;
use plugin::{
    Document, HostError, HttpClient, HttpError, HttpRequest, JobQueue, JobWhen, Lent, Level,
    LogLine, LogSink, NewJob, Power, StateStore, TelemetrySink, TwinAccess,
};
use protocol::twin::merge_patches;
use serde_json::{Map, Value, json};

use super::http::Exchange;
use super::metrics::{NotedMetrics, NotingMetrics};

/// The maximum size of the noted effects of one call, in bytes.
const MAX_BYTES: usize = 1024 * 1024;

/// The effects of a call, in the form of a case's expectations.
#[derive(Default)]
pub(super) struct Effects {
    pub(super) log: Vec<Value>,
    pub(super) reported: Map<String, Value>,
    pub(super) telemetry: Vec<Value>,
    pub(super) state: BTreeMap<String, Vec<u8>>,
    pub(super) jobs: Vec<Value>,
    pub(super) reboot: Option<Value>,
    /// The metrics that the call updated.
    pub(super) metrics: Arc<Mutex<NotedMetrics>>,
    /// The ids of the scheduled jobs.
    pub(super) job_ids: Vec<String>,
    /// `true` if the plugin waited for the hub in vain.
    pub(super) hub_was_away: bool,
    /// The HTTP requests with their responses, in the form of a case.
    pub(super) http: Vec<Value>,
    /// Requests that the host refused, one line each.
    pub(super) refused: Vec<String>,
    /// `true` if more was done than is noted.
    pub(super) incomplete: bool,
    pub(super) bytes: usize,
}

/// The handles of a recorded call.
struct Noting {
    lent: Arc<Lent>,
    effects: Arc<Mutex<Effects>>,
}

/// Returns handles that note their effects, in front of the host's.
pub(super) fn noting(lent: &Arc<Lent>, effects: &Arc<Mutex<Effects>>) -> Arc<Lent> {
    let noting = Arc::new(Noting { lent: Arc::clone(lent), effects: Arc::clone(effects) });
    Arc::new(Lent {
        device_id: Arc::clone(&lent.device_id),
        clock: Arc::clone(&lent.clock),
        log: Arc::clone(&noting) as _,
        twin: Arc::clone(&noting) as _,
        telemetry: Arc::clone(&noting) as _,
        state: Arc::clone(&noting) as _,
        jobs: Arc::clone(&noting) as _,
        metrics: Arc::new(NotingMetrics {
            inner: Arc::clone(&lent.metrics),
            noted: Arc::clone(&effects.lock().metrics),
        }),
        power: Arc::clone(&noting) as _,
        http: noting as _,
    })
}

impl Noting {
    /// Notes an effect of this size, unless the notes are full.
    fn note(&self, bytes: usize, note: impl FnOnce(&mut Effects)) {
        let mut effects = self.effects.lock();
        effects.bytes += bytes;
        if effects.bytes <= MAX_BYTES {
            note(&mut effects);
        } else {
            effects.incomplete = true;
        }
    }

    /// Notes the effect of a request, or its refusal.
    fn note_result<T>(
        &self,
        what: &str,
        bytes: usize,
        result: &Result<T, HostError>,
        note: impl FnOnce(&mut Effects, &T),
    ) {
        match result {
            Ok(value) => self.note(bytes, |effects| note(effects, value)),
            Err(error) => {
                let line = format!("the host refused `{what}`: {error}");
                self.note(line.len(), |effects| effects.refused.push(line));
            }
        }
    }
}

impl LogSink for Noting {
    fn write(&self, line: &LogLine<'_>) {
        self.lent.log.write(line);
        let level = match line.level {
            Level::Trace => "trace",
            Level::Debug => "debug",
            Level::Info => "info",
            Level::Warn => "warn",
            Level::Error => "error",
        };
        let text = json!({
            "level": level, "message": line.message, "fields": pairs(line.fields),
        });
        self.note(line.message.len(), |effects| effects.log.push(text));
    }
}

impl TwinAccess for Noting {
    fn report<'a>(
        &'a self,
        plugin: &'a str,
        patch: Map<String, Value>,
    ) -> BoxFuture<'a, Result<(), HostError>> {
        Box::pin(async move {
            let result = self.lent.twin.report(plugin, patch.clone()).await;
            self.note_result("report", size(&patch), &result, |effects, ()| {
                merge(&mut effects.reported, patch);
            });
            result
        })
    }

    fn report_and_wait<'a>(
        &'a self,
        plugin: &'a str,
        patch: Map<String, Value>,
        timeout: Duration,
    ) -> BoxFuture<'a, Result<u64, HostError>> {
        Box::pin(async move {
            let result = self.lent.twin.report_and_wait(plugin, patch.clone(), timeout).await;
            if let Err(HostError::Offline | HostError::Timeout) = result {
                self.note(size(&patch), |effects| {
                    effects.hub_was_away = true;
                    merge(&mut effects.reported, patch);
                });
                return result;
            }
            self.note_result("report-and-wait", size(&patch), &result, |effects, _version| {
                merge(&mut effects.reported, patch);
            });
            result
        })
    }

    fn desired(&self) -> Result<Document, HostError> {
        self.lent.twin.desired()
    }

    fn reported(&self) -> Result<Document, HostError> {
        self.lent.twin.reported()
    }
}

impl TelemetrySink for Noting {
    fn send<'a>(
        &'a self,
        plugin: &'a str,
        body: Vec<u8>,
        content_type: String,
        properties: Vec<(String, String)>,
    ) -> BoxFuture<'a, Result<(), HostError>> {
        Box::pin(async move {
            let bytes = body.len();
            let message = json!({
                "body": as_json(&text(&body)),
                "content_type": content_type,
                "properties": pairs(&properties),
            });
            let result = self.lent.telemetry.send(plugin, body, content_type, properties).await;
            self.note_result("send", bytes, &result, |effects, ()| effects.telemetry.push(message));
            result
        })
    }
}

impl StateStore for Noting {
    fn get<'a>(
        &'a self,
        plugin: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<Option<Vec<u8>>, HostError>> {
        self.lent.state.get(plugin, key)
    }

    fn keys<'a>(
        &'a self,
        plugin: &'a str,
        prefix: &'a str,
        limit: u32,
    ) -> BoxFuture<'a, Result<Vec<String>, HostError>> {
        self.lent.state.keys(plugin, prefix, limit)
    }

    fn set<'a>(
        &'a self,
        plugin: &'a str,
        key: String,
        value: Vec<u8>,
        max_bytes: usize,
    ) -> BoxFuture<'a, Result<(), HostError>> {
        Box::pin(async move {
            let result = self.lent.state.set(plugin, key.clone(), value.clone(), max_bytes).await;
            self.note_result("set", value.len(), &result, |effects, ()| {
                effects.state.insert(key, value);
            });
            result
        })
    }

    fn delete<'a>(&'a self, plugin: &'a str, key: String) -> BoxFuture<'a, Result<(), HostError>> {
        Box::pin(async move {
            let result = self.lent.state.delete(plugin, key.clone()).await;
            self.note_result("delete", 0, &result, |effects, ()| {
                effects.state.remove(&key);
            });
            result
        })
    }

    fn swap<'a>(
        &'a self,
        plugin: &'a str,
        key: String,
        expected: Option<Vec<u8>>,
        value: Option<Vec<u8>>,
        max_bytes: usize,
    ) -> BoxFuture<'a, Result<bool, HostError>> {
        Box::pin(async move {
            let state = &self.lent.state;
            let swap = state.swap(plugin, key.clone(), expected, value.clone(), max_bytes);
            let result = swap.await;
            let bytes = value.as_ref().map_or(0, Vec::len);
            self.note_result("swap", bytes, &result, |effects, swapped| match value {
                Some(value) if *swapped => {
                    effects.state.insert(key, value);
                }
                None if *swapped => {
                    effects.state.remove(&key);
                }
                _ => {}
            });
            result
        })
    }
}

impl JobQueue for Noting {
    fn add<'a>(
        &'a self,
        plugin: &'a str,
        call: &'a str,
        job: NewJob,
        max_pending: u32,
    ) -> BoxFuture<'a, Result<String, HostError>> {
        Box::pin(async move {
            let noted = json!({
                "name": job.name, "payload": as_json(&job.payload), "when": when(job.when),
            });
            let bytes = job.name.len() + job.payload.len();
            let result = self.lent.jobs.add(plugin, call, job, max_pending).await;
            self.note_result("jobs", bytes, &result, |effects, id| {
                effects.jobs.push(noted);
                effects.job_ids.push(id.clone());
            });
            result
        })
    }

    fn call_ended(&self, call: &str) {
        self.lent.jobs.call_ended(call);
    }

    fn cancel<'a>(
        &'a self,
        plugin: &'a str,
        id: &'a str,
    ) -> BoxFuture<'a, Result<bool, HostError>> {
        self.lent.jobs.cancel(plugin, id)
    }
}

impl Power for Noting {
    fn request_reboot<'a>(
        &'a self,
        plugin: &'a str,
        delay: Duration,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<(), HostError>> {
        Box::pin(async move {
            let result = self.lent.power.request_reboot(plugin, delay, reason).await;
            self.note_result("request-reboot", reason.len(), &result, |effects, ()| {
                effects.reboot = Some(json!({"delay_ms": millis(delay), "reason": reason}));
            });
            result
        })
    }
}

impl HttpClient for Noting {
    fn send<'a>(
        &'a self,
        request: HttpRequest<'a>,
    ) -> BoxFuture<'a, Result<Response<Bytes>, HttpError>> {
        Box::pin(async move {
            let mut pending = PendingExchange { noting: self, exchange: Exchange::new(&request) };
            let result = self.lent.http.send(request).await;
            pending.exchange.end(&result);
            result
        })
    }

    fn refused(&self, method: &Method, url: &Uri, error: &HttpError) {
        self.lent.http.refused(method, url, error);
        let exchange = Exchange::refused(method, url, error);
        drop(PendingExchange { noting: self, exchange });
    }
}

/// An exchange that is noted when it ends, also if the sandbox drops the request at its timeout.
struct PendingExchange<'a> {
    noting: &'a Noting,
    exchange: Exchange,
}

impl Drop for PendingExchange<'_> {
    fn drop(&mut self) {
        let (bytes, noted) = self.exchange.take();
        self.noting.note(bytes, |effects| effects.http.push(noted));
    }
}

/// Merges a patch. If the patches cannot be merged, the later one wins.
fn merge(reported: &mut Map<String, Value>, patch: Map<String, Value>) {
    if !merge_patches(reported, &patch) {
        reported.extend(patch);
    }
}

fn size(patch: &Map<String, Value>) -> usize {
    serde_json::to_string(patch).map_or(0, |text| text.len())
}

fn pairs(pairs: &[(String, String)]) -> Map<String, Value> {
    pairs.iter().map(|(name, value)| (name.clone(), value.as_str().into())).collect()
}

/// Formats the due time of a job like the author's tool.
fn when(when: JobWhen) -> String {
    match when {
        JobWhen::AfterResponse => "after-response".to_owned(),
        JobWhen::AfterDelay(delay) => format!("after-delay {} ms", millis(delay)),
        JobWhen::AfterBoot { within } => format!("after-boot within {} ms", millis(within)),
    }
}

fn millis(duration: Duration) -> u64 {
    duration.as_millis().try_into().unwrap_or(u64::MAX)
}

/// Converts bytes to a string like the author's tool: escaped if they are not UTF-8.
pub(super) fn text(bytes: &[u8]) -> String {
    match std::str::from_utf8(bytes) {
        Ok(text) => text.to_owned(),
        Err(_) => bytes.escape_ascii().to_string(),
    }
}

fn as_json(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or_else(|_| text.into())
}
