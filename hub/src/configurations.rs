//! Automatic device configurations: requests, evaluation and metrics.
//!
//! [`Configurations::serve`] evaluates all configurations at the start, after a change of one,
//! and regularly if twins have changed in the meantime. An evaluation reads twins without
//! holding a lock, so that it does not delay methods.
//!
//! Differences from Azure IoT Hub: evaluations are more frequent by default, and the content of
//! IoT Edge devices is refused.

mod compiled;
mod evaluation;
mod request;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use protocol::configuration::{Configuration, MAX_CONFIGURATIONS, Metrics};
use protocol::error::{ErrorCode, HubError};
use protocol::id::ConfigurationId;
use serde_json::{Map, Value};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use crate::query::{self, TwinFilter};
use crate::refusal::Refusal;
use crate::stamps::now;
use crate::state::{ConfigurationRecord, State};
use crate::twin_writes::TwinWriter;
pub(crate) use request::WriteCondition;

/// Maximum share of the time that evaluations take: one in this number.
const MAX_SHARE: u32 = 10;

/// Results of metrics by name.
type Results = BTreeMap<String, u64>;

/// The results of the last evaluation of a configuration.
#[derive(Debug, Clone, Default)]
struct EvaluationResults {
    system: Results,
    custom: Results,
}

/// The configurations of a hub.
pub(crate) struct Configurations {
    state: Arc<State>,
    twins: Arc<TwinWriter>,
    results: Mutex<BTreeMap<String, EvaluationResults>>,
    /// Notification of changed configurations.
    changed: Notify,
}

impl Configurations {
    pub(crate) fn new(state: Arc<State>, twins: Arc<TwinWriter>) -> Configurations {
        Configurations { state, twins, results: Mutex::default(), changed: Notify::new() }
    }

    /// Evaluates configurations until `stop`. A change of twins is noticed after `every`.
    pub(crate) async fn serve(self: Arc<Self>, every: Duration, stop: CancellationToken) {
        let mut evaluated = None;
        let mut pause = Duration::ZERO;
        loop {
            let regular = async {
                match self.state.has_configurations() || evaluated.is_none() {
                    true => sleep(pause).await,
                    // A hub without configurations has nothing to evaluate.
                    false => std::future::pending().await,
                }
            };
            tokio::select! {
                () = stop.cancelled() => return,
                () = self.changed.notified() => evaluated = None,
                () = regular => {}
            }
            let changes = self.state.changes();
            let begin = Instant::now();
            if evaluated != Some(changes) {
                let this = Arc::clone(&self);
                if tokio::task::spawn_blocking(move || this.evaluate()).await.is_err() {
                    warn!("an evaluation of configurations panicked");
                }
                evaluated = Some(changes);
                debug!(took = ?begin.elapsed(), "evaluated configurations");
            }
            pause = every.max(begin.elapsed() * (MAX_SHARE - 1));
        }
    }

    /// Returns a configuration.
    pub(crate) fn get(&self, id: &str) -> Result<Configuration, Refusal> {
        let record = self.state.configuration(id).ok_or_else(|| not_found(id))?;
        Ok(self.document(&record))
    }

    /// Returns the first `top` configurations, ordered by id.
    pub(crate) fn list(&self, top: usize) -> Vec<Configuration> {
        self.state.configurations().iter().take(top).map(|record| self.document(record)).collect()
    }

    /// Creates or replaces a configuration.
    pub(crate) fn put(
        &self,
        id: &str,
        condition: &WriteCondition,
        body: Map<String, Value>,
    ) -> Result<Configuration, Refusal> {
        let requested = request::parse(id, body)?;
        self.state.change_configuration(id, |current, count| {
            condition.check(id, current)?;
            if current.is_none() && count >= MAX_CONFIGURATIONS {
                return Err(too_many());
            }
            request::written(requested, current, now()).map(Some)
        })?;
        self.changed.notify_one();
        self.get(id)
    }

    /// Deletes a configuration. The next evaluation removes its content from the twins.
    pub(crate) fn delete(&self, id: &str, condition: &WriteCondition) -> Result<(), Refusal> {
        self.state.change_configuration(id, |current, _| {
            if current.is_none() {
                return Err(not_found(id));
            }
            condition.check(id, current).map(|()| None)
        })?;
        self.results.lock().remove(id);
        self.changed.notify_one();
        Ok(())
    }

    /// Returns the document of a configuration with its metrics.
    fn document(&self, record: &ConfigurationRecord) -> Configuration {
        let results = self.results.lock().get(&record.id).cloned().unwrap_or_default();
        Configuration {
            id: record.id.parse::<ConfigurationId>().expect("ids are checked when written"),
            schema_version: record.schema_version.clone(),
            labels: record.labels.clone(),
            content: Some(record.content.clone()),
            target_condition: record.target_condition.clone(),
            created_time_utc: Some(record.created.clone()),
            last_updated_time_utc: Some(record.updated.clone()),
            priority: record.priority,
            system_metrics: Metrics {
                results: results.system,
                queries: compiled::system_queries(record),
            },
            metrics: Metrics { results: results.custom, queries: record.metrics.clone() },
            etag: Some(record.etag()),
        }
    }
}

/// Checks the queries of a configuration. Returns the error of the target condition and the
/// errors of the metrics by name.
///
/// As in Azure, `IN` in a target condition passes, although a configuration with it is refused.
pub(crate) fn check_queries(
    body: &Map<String, Value>,
) -> Result<(Option<String>, BTreeMap<String, String>), HubError> {
    let condition = match body.get("targetCondition") {
        None | Some(Value::Null) => "",
        Some(Value::String(condition)) => condition.as_str(),
        Some(_) => return Err(invalid("targetCondition is not a string")),
    };
    let condition = match condition.trim() {
        "" => None,
        condition => TwinFilter::of_job(condition).err().map(|error| error.to_string()),
    };
    let queries = match body.get("customMetricQueries") {
        None | Some(Value::Null) => &Map::new(),
        Some(Value::Object(queries)) => queries,
        Some(_) => return Err(invalid("customMetricQueries is not a JSON object")),
    };
    let mut errors = BTreeMap::new();
    for (name, text) in queries {
        let text = text.as_str().ok_or_else(|| invalid("a query is not a string"))?;
        if let Err(error) = query::parse(text) {
            errors.insert(name.clone(), error.to_string());
        }
    }
    Ok((condition, errors))
}

fn not_found(id: &str) -> Refusal {
    Refusal::named(404, "ConfigurationNotFound", id)
}

fn too_many() -> Refusal {
    let text = format!(
        "Number of deployments exceed the maximum quota {MAX_CONFIGURATIONS} for this IotHub."
    );
    Refusal::named(413, "ConfigurationCountLimitExceeded", text)
}

fn invalid(message: &str) -> HubError {
    HubError::new(ErrorCode::ArgumentInvalid, message)
}
