//! Evaluation of all configurations over all twins.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tracing::info;

use super::compiled::{Compiled, Target, combine};
use super::{Configurations, EvaluationResults, Results};
use crate::query::{self, Source};
use crate::state::{ConfigurationRecord, ConfigurationStatus, Entity, Overlay};

impl Configurations {
    /// Brings the configurations into force, and computes their metrics.
    pub(crate) fn evaluate(&self) {
        let records = self.state.configurations();
        let compiled = Compiled::all(records.iter().map(Arc::as_ref));
        // Twins with the same configurations share an overlay.
        let mut overlays: HashMap<Vec<usize>, Arc<Overlay>> = HashMap::new();
        let mut changes = Vec::new();
        for entity in self.state.after(None) {
            let view = if compiled.is_empty() { Arc::default() } else { entity.twin_view() };
            let target = target(&entity);
            let targets = |compiled: &&Compiled| {
                Target::of(&compiled.filter) == target && compiled.filter.matches(&view)
            };
            let all = compiled.iter().enumerate();
            let key: Vec<usize> = all.filter(|(_, c)| targets(c)).map(|(i, _)| i).collect();
            let overlay = match overlays.get(&key) {
                Some(overlay) => overlay,
                None => {
                    let overlay = combine(key.iter().map(|index| &compiled[*index]));
                    overlays.entry(key).or_insert(Arc::new(overlay))
                }
            };
            if !entity.has_overlay(overlay) {
                changes.push((entity.owner.clone(), Arc::clone(overlay)));
            }
        }
        let changed = self.twins.overlay(changes);
        if changed > 0 {
            info!(twins = changed, configurations = records.len(), "applied configurations");
        }
        if !records.is_empty() {
            self.measure(&records);
        }
    }

    /// Computes the metrics of all configurations.
    fn measure(&self, records: &[Arc<ConfigurationRecord>]) {
        let twins = self.state.after(None);
        let mut results: BTreeMap<String, EvaluationResults> = BTreeMap::new();
        for record in records {
            let custom = record.metrics.iter();
            let custom = custom.map(|(name, text)| (name.clone(), count(text, &twins)));
            let system = ["targetedCount", "appliedCount"].map(|name| (name.to_owned(), 0));
            let of_record =
                EvaluationResults { system: system.into(), custom: custom.collect::<Results>() };
            results.insert(record.id.clone(), of_record);
        }
        for (id, status) in twins.iter().flat_map(|twin| twin.configuration_statuses()) {
            let Some(EvaluationResults { system, .. }) = results.get_mut(id) else { continue };
            let mut add = |name| *system.entry(String::from(name)).or_default() += 1;
            add("targetedCount");
            if *status == ConfigurationStatus::Applied {
                add("appliedCount");
            }
        }
        *self.results.lock() = results;
    }
}

fn target(entity: &Entity) -> Target {
    if entity.owner.module.is_some() { Target::Modules } else { Target::Devices }
}

/// Returns the number of rows of a query.
fn count(text: &str, twins: &[Arc<Entity>]) -> u64 {
    let Ok(query) = query::parse(text) else { return 0 };
    let target_of_query = match query.source() {
        Source::Devices => Target::Devices,
        Source::Modules => Target::Modules,
        Source::Jobs => return 0,
    };
    let twins = twins.iter().filter(|twin| target(twin) == target_of_query);
    query.count(twins.map(|twin| twin.twin_view())) as u64
}
