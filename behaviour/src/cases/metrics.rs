//! The metrics of a case: those that it expects, and those that its call has updated.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

use crate::desk::{Action, object};

/// A metric with its updates in a call and its jobs.
#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Metric {
    /// The name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// The kind.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<CaseMetricKind>,
    /// The labels.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub labels: Option<Map<String, Value>>,
    /// The amount by which a counter has grown, or the last value of a gauge.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<Value>,
    /// The number of values that were added to a histogram.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<Value>,
    /// The sum of these values.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sum: Option<Value>,
}

/// The kind of a metric.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CaseMetricKind {
    /// A sum that only grows.
    Counter,
    /// A value that can rise and fall.
    Gauge,
    /// The distribution of values.
    Histogram,
}

/// The series of an outcome by name and labels. Those of the jobs are added to those of the call.
#[derive(Default)]
pub(super) struct ActualMetrics(BTreeMap<(String, Vec<(String, String)>), Value>);

impl ActualMetrics {
    /// Adds an action, unless it concerns no metric.
    pub(super) fn add(&mut self, action: &Action) {
        let (name, labels, mut found) = match action {
            Action::Counter { name, labels, value } => {
                (name, labels, json!({"kind": "counter", "value": value}))
            }
            Action::Gauge { name, labels, value } => {
                (name, labels, json!({"kind": "gauge", "value": value}))
            }
            Action::Histogram { name, labels, count, sum } => {
                (name, labels, json!({"kind": "histogram", "count": count, "sum": sum}))
            }
            _ => return,
        };
        let earlier = self.0.entry((name.clone(), labels.clone())).or_default();
        let added: &[&str] = match action {
            Action::Counter { .. } => &["value"],
            Action::Histogram { .. } => &["count", "sum"],
            _ => &[],
        };
        for key in added {
            if let Some((now, before)) = found[key].as_f64().zip(earlier[key].as_f64()) {
                found[key] = (now + before).into();
            }
        }
        found["name"] = name.as_str().into();
        found["labels"] = object(labels).into();
        *earlier = found;
    }

    /// Returns the series in the form in which a case expects them.
    pub(super) fn into_values(self) -> Value {
        self.0.into_values().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_updates_of_jobs_are_added_to_those_of_the_call() {
        let (labels, name) = (vec![("size".to_owned(), "xl".to_owned())], || "m".to_owned());
        let counter =
            |value| Action::Counter { name: "orders".to_owned(), labels: labels.clone(), value };
        let histogram = |count, sum| Action::Histogram { name: name(), labels: vec![], count, sum };
        let mut metrics = ActualMetrics::default();
        for action in [counter(2.0), histogram(1, 0.5), counter(1.5), histogram(2, 1.0)] {
            metrics.add(&action);
        }

        let expected = json!([
            {"name": "m", "kind": "histogram", "labels": {}, "count": 3.0, "sum": 1.5},
            {"name": "orders", "kind": "counter", "labels": {"size": "xl"}, "value": 3.5},
        ]);
        assert_eq!(metrics.into_values(), expected);
    }
}
