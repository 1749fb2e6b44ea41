//! Planner of the fleet's plugins: decides the next step for each plugin.
//!
//! A state machine without disk, network and clock. Events are the desired properties and the
//! ends of steps; actions are steps to carry out in their order. An action `Persist` precedes the
//! report that depends on it, so that a report is true after a loss of power.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use tokio::time::Instant;

use super::failure::{Consequence, Failure};
use super::record::{FleetRecord, Installed, RefusedEntry, Trial};
use super::report::{FleetState, Report};
use super::wish::{RefusedWish, Wish};

use reporting::active;

pub(crate) use events::{ActivationProgress, EventTime, FleetAction, FleetEvent};

mod events;
mod reporting;
#[cfg(test)]
mod tests;
mod wishes;

/// Bounds of the wait before another attempt, unless a registry asks for a time.
const FIRST_WAIT: Duration = Duration::from_secs(5);
const LONGEST_WAIT: Duration = Duration::from_secs(900);

/// Planner of all plugins.
pub(crate) struct Planner {
    record: FleetRecord,
    works: BTreeMap<String, PluginWork>,
    /// Fingerprint of the trusted keys.
    trusted: String,
    last_generation: u64,
}

/// Work on one plugin.
#[derive(Default)]
struct PluginWork {
    wish: Option<Result<Wish, RefusedWish>>,
    /// Version of the desired properties in which the wish appeared.
    desired_version: u64,
    step: PlanStep,
    attempts: u32,
    report: Option<Report>,
}

/// Step of a plugin. The generation distinguishes the end of a step from that of a cancelled one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum PlanStep {
    #[default]
    Idle,
    /// Activation of a version.
    Activation { generation: u64 },
    /// Wait before another attempt. `is_asked` is `true` if a registry has asked for the time.
    Wait { until: Instant, is_asked: bool },
    /// Probation of the version in force.
    Probation { generation: u64 },
}

impl Planner {
    /// Creates a planner for the versions of an earlier run, which are in force. Returns the
    /// first actions.
    pub(crate) fn new(record: FleetRecord, trusted: String) -> (Planner, Vec<FleetAction>) {
        let mut planner = Planner { record, works: BTreeMap::new(), trusted, last_generation: 0 };
        let running = planner.record.plugins.iter();
        let running: Vec<_> = running
            .filter_map(|(name, plugin)| Some((name.clone(), plugin.running.clone()?)))
            .collect();
        let mut actions = Vec::new();
        for (name, version) in running {
            let mut work =
                PluginWork { desired_version: version.desired_version, ..PluginWork::default() };
            work.report = Some(active(&version));
            planner.works.insert(name.clone(), work);
            planner.watch(&name, &mut actions);
        }
        (planner, actions)
    }

    /// Returns the record to persist.
    pub(crate) fn record(&self) -> &FleetRecord {
        &self.record
    }

    /// Returns the reports about all plugins.
    pub(crate) fn reports(&self) -> BTreeMap<String, Report> {
        let reports = self.works.iter();
        reports.filter_map(|(name, work)| Some((name.clone(), work.report.clone()?))).collect()
    }

    /// Returns the time of the next attempt.
    pub(crate) fn next_due(&self) -> Option<Instant> {
        let waits = self.works.values().filter_map(|work| match work.step {
            PlanStep::Wait { until, .. } => Some(until),
            _ => None,
        });
        waits.min()
    }

    /// Handles an event, and returns the actions to carry out.
    pub(crate) fn handle(&mut self, event: FleetEvent, now: &EventTime) -> Vec<FleetAction> {
        let mut actions = Vec::new();
        match event {
            FleetEvent::Wishes { version, wishes } => {
                self.wishes(version, wishes, now, &mut actions);
            }
            FleetEvent::Progress { plugin, generation, progress } => {
                if self.is_current(&plugin, PlanStep::Activation { generation }) {
                    self.progress(&plugin, progress, now, &mut actions);
                }
            }
            FleetEvent::Activated { plugin, generation, outcome } => {
                if self.is_current(&plugin, PlanStep::Activation { generation }) {
                    self.activated(&plugin, outcome, now, &mut actions);
                }
            }
            FleetEvent::Proved { plugin, generation, outcome } => {
                if self.is_current(&plugin, PlanStep::Probation { generation }) {
                    self.proved(&plugin, outcome, now, &mut actions);
                }
            }
            FleetEvent::Due => {
                self.begin_waiting(|until, _| until <= now.instant, now, &mut actions);
            }
            FleetEvent::Connected => {
                self.begin_waiting(|_, is_asked| !is_asked, now, &mut actions);
            }
        }
        actions
    }

    fn is_current(&self, plugin: &str, step: PlanStep) -> bool {
        self.works.get(plugin).is_some_and(|work| work.step == step)
    }

    /// Begins those activations that wait and for whose waits `is_due` returns `true`.
    fn begin_waiting(
        &mut self,
        is_due: impl Fn(Instant, bool) -> bool,
        now: &EventTime,
        actions: &mut Vec<FleetAction>,
    ) {
        let due = self.works.iter().filter(|(_, work)| match work.step {
            PlanStep::Wait { until, is_asked } => is_due(until, is_asked),
            _ => false,
        });
        let due: Vec<_> = due.map(|(name, _)| name.clone()).collect();
        due.iter().for_each(|name| self.begin(name, now, actions));
    }

    /// Begins the activation of the wanted version.
    fn begin(&mut self, name: &str, now: &EventTime, actions: &mut Vec<FleetAction>) {
        self.cancel(name, actions);
        let report = self.report(name, FleetState::Downloading, now);
        self.last_generation += 1;
        let generation = self.last_generation;
        let Some(work) = self.works.get_mut(name) else { return };
        let Some(Ok(wish)) = work.wish.clone() else { return };
        // A reason of the last attempt stays until the state changes.
        let reason = work.report.take().filter(|before| before.digest == report.digest);
        work.report = Some(match reason {
            Some(before) if before.state < FleetState::Active => {
                let since = match before.state {
                    FleetState::Downloading => before.since,
                    _ => report.since,
                };
                Report { since, reason: before.reason, message: before.message, ..report }
            }
            _ => report,
        });
        work.step = PlanStep::Activation { generation };
        let record = self.record.plugins.entry(name.to_owned()).or_default();
        // The version before has proved itself on this device: going back needs no permission.
        let before = record.previous.as_ref().filter(|version| version.is_proved);
        let is_return = before.is_some_and(|version| wish.digest() == Some(version.image));
        let floor = if wish.allows_downgrade() || is_return { 0 } else { record.floor };
        let running = record.running.clone();
        actions.push(FleetAction::Activate {
            plugin: name.to_owned(),
            generation,
            wish,
            floor,
            running,
        });
    }

    /// Cancels the step of a plugin. A version that was being started is replaced by the one in
    /// force.
    fn cancel(&mut self, name: &str, actions: &mut Vec<FleetAction>) {
        let Some(work) = self.works.get_mut(name) else { return };
        let step = std::mem::take(&mut work.step);
        let was_starting = work.report.as_ref().is_some_and(|it| it.state == FleetState::Starting);
        match step {
            PlanStep::Idle | PlanStep::Wait { .. } => return,
            PlanStep::Activation { .. } | PlanStep::Probation { .. } => {
                actions.push(FleetAction::Cancel { plugin: name.to_owned() });
            }
        }
        if matches!(step, PlanStep::Activation { .. }) && was_starting {
            self.restore(name, actions);
        }
    }

    /// Puts the recorded version into force.
    fn restore(&mut self, name: &str, actions: &mut Vec<FleetAction>) {
        let record = self.record.plugins.get(name);
        let version = record.and_then(|record| record.running.clone());
        actions.push(FleetAction::Restore { plugin: name.to_owned(), version });
    }

    fn progress(
        &mut self,
        name: &str,
        progress: ActivationProgress,
        now: &EventTime,
        actions: &mut Vec<FleetAction>,
    ) {
        let work = self.works.get_mut(name).expect("the step is current");
        let Some(report) = &mut work.report else { return };
        match progress {
            ActivationProgress::Percent(percent) => report.progress = Some(percent),
            ActivationProgress::Capabilities(change) => report.capability_change = Some(change),
            ActivationProgress::Digest(digest) => report.digest = Some(digest),
            ActivationProgress::State(state) => {
                report.state = state;
                report.since.clone_from(&now.text);
                (report.progress, report.reason, report.message) = (None, None, None);
            }
        }
        let Some(Ok(wish)) = &work.wish else { return };
        let record = self.record.plugins.entry(name.to_owned()).or_default();
        let entry = wish.entry();
        let is_trial = report.state == FleetState::Compiling;
        if is_trial && record.trial.as_ref().is_none_or(|trial| trial.entry != entry) {
            record.trial = Some(Trial { entry, starts: 0 });
            actions.push(FleetAction::Persist);
        }
    }

    fn activated(
        &mut self,
        name: &str,
        outcome: Result<Option<Box<Installed>>, Failure>,
        now: &EventTime,
        actions: &mut Vec<FleetAction>,
    ) {
        let work = self.works.get_mut(name).expect("the step is current");
        let record = self.record.plugins.entry(name.to_owned()).or_default();
        match outcome {
            Ok(Some(version)) => {
                let mut version = *version;
                version.desired_version = work.desired_version;
                version.since.clone_from(&now.text);
                work.step = PlanStep::Idle;
                work.attempts = 0;
                let entry = version.entry.clone();
                record.refused.retain(|refused| refused.entry != entry);
                // A version that has not proved itself is none to return to.
                let before = record.running.replace(version.clone());
                record.previous = match before {
                    Some(before) if before.is_proved || record.previous.is_none() => Some(before),
                    _ => record.previous.take(),
                };
                record.trial = Some(Trial { entry, starts: 0 });
                actions.push(FleetAction::Persist);
                let before = work.report.take().and_then(|report| report.capability_change);
                work.report = Some(Report { capability_change: before, ..active(&version) });
                self.watch(name, actions);
            }
            Ok(None) => {
                work.step = PlanStep::Idle;
                work.report = record.running.as_ref().map(active);
                self.watch(name, actions);
            }
            Err(failure) => {
                let was_starting =
                    work.report.as_ref().is_some_and(|it| it.state == FleetState::Starting);
                if let Consequence::Retry(after) = failure.kind {
                    let wait = FIRST_WAIT.saturating_mul(2_u32.saturating_pow(work.attempts));
                    let wait = after.unwrap_or(wait).clamp(FIRST_WAIT, LONGEST_WAIT);
                    work.attempts += 1;
                    let (until, is_asked) = (now.instant + wait, after.is_some());
                    work.step = PlanStep::Wait { until, is_asked };
                    let report = work.report.take();
                    work.report = report.map(|it| it.because(failure.reason, &failure.message));
                } else {
                    work.step = PlanStep::Idle;
                    let wish = work.wish.as_ref().and_then(|wish| wish.as_ref().ok());
                    let Some(entry) = wish.map(Wish::entry) else { return };
                    self.refuse(name, entry, &failure, now, actions);
                    self.watch(name, actions);
                }
                if was_starting {
                    self.restore(name, actions);
                }
            }
        }
    }

    fn proved(
        &mut self,
        name: &str,
        outcome: Result<(), Failure>,
        now: &EventTime,
        actions: &mut Vec<FleetAction>,
    ) {
        let work = self.works.get_mut(name).expect("the step is current");
        let record = self.record.plugins.entry(name.to_owned()).or_default();
        work.step = PlanStep::Idle;
        match outcome {
            Ok(()) => {
                record.trial = None;
                if let Some(version) = &mut record.running {
                    version.is_proved = true;
                    record.floor = record.floor.max(version.release);
                }
                actions.push(FleetAction::Persist);
            }
            Err(failure) => {
                let Some(version) = record.running.take() else { return };
                record.running = record.previous.take();
                let wanted = work.wish.as_ref().map(|it| it.as_ref().ok().map(Wish::entry));
                let is_other_wanted = wanted.is_some_and(|it| it.as_ref() != Some(&version.entry));
                self.refuse(name, version.entry, &failure, now, actions);
                if let Some(report) = self.works.get_mut(name).and_then(|it| it.report.as_mut()) {
                    report.digest = Some(version.image);
                }
                self.restore(name, actions);
                if is_other_wanted {
                    self.decide(name, now, actions);
                }
            }
        }
    }

    /// Remembers that the wanted version, or the one that was in force, is refused.
    fn refuse(
        &mut self,
        name: &str,
        entry: Value,
        failure: &Failure,
        now: &EventTime,
        actions: &mut Vec<FleetAction>,
    ) {
        let record = self.record.plugins.entry(name.to_owned()).or_default();
        record.trial = None;
        let refused = RefusedEntry {
            entry,
            reason: failure.reason.to_owned(),
            message: failure.message.clone(),
            rolled_back: failure.kind == Consequence::Unhealthy,
            since: now.text.clone(),
            trusted: (failure.kind == Consequence::Untrusted).then(|| self.trusted.clone()),
        };
        // The configuration can change at every start, and is checked again then.
        if failure.kind != Consequence::NotAllowed {
            record.refuse(refused.clone());
            actions.push(FleetAction::Persist);
        }
        self.show_refused(name, &refused, now);
    }

    /// Begins or continues the probation of the version in force, if it has one.
    fn watch(&mut self, name: &str, actions: &mut Vec<FleetAction>) {
        let Some(record) = self.record.plugins.get(name) else { return };
        let Some(version) = record.running.as_ref().filter(|it| !it.is_proved) else { return };
        self.last_generation += 1;
        let generation = self.last_generation;
        let version = version.clone();
        if let Some(work) = self.works.get_mut(name) {
            work.step = PlanStep::Probation { generation };
        }
        actions.push(FleetAction::Watch { plugin: name.to_owned(), generation, version });
    }
}
