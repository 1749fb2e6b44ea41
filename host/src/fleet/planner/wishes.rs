//! Decisions about changed wishes.

use std::collections::{BTreeMap, BTreeSet};

use super::reporting::active;
use super::{EventTime, FleetAction, PlanStep, Planner};
use crate::fleet::record::{PluginRecord, RefusedEntry};
use crate::fleet::report::FleetState;
use crate::fleet::wish::{RefusedWish, Wish};

impl Planner {
    /// Takes over the wishes, and begins to work towards those that have changed.
    pub(super) fn wishes(
        &mut self,
        version: u64,
        mut wishes: BTreeMap<String, Result<Wish, RefusedWish>>,
        now: &EventTime,
        actions: &mut Vec<FleetAction>,
    ) {
        let names = self.works.keys().chain(wishes.keys()).chain(self.record.plugins.keys());
        let names: BTreeSet<_> = names.cloned().collect();
        for name in names {
            let wish = wishes.remove(&name);
            let is_known = self.works.contains_key(&name);
            let work = self.works.entry(name.clone()).or_default();
            if is_known && work.wish.is_some() && work.wish == wish {
                continue;
            }
            work.wish = wish;
            work.desired_version = version;
            work.attempts = 0;
            self.decide(&name, now, actions);
        }
    }

    /// Begins to work towards a changed wish.
    pub(super) fn decide(&mut self, name: &str, now: &EventTime, actions: &mut Vec<FleetAction>) {
        let work = self.works.get_mut(name).expect("the caller has added the plugin");
        let record = self.record.plugins.entry(name.to_owned()).or_default();
        let wish = match &work.wish {
            None => {
                self.remove(name, actions);
                return;
            }
            Some(Err(refused)) => {
                let failure = refused.failure.clone();
                self.cancel(name, actions);
                let report = self.report(name, FleetState::Refused, now);
                self.set_report(name, report.because(failure.reason, &failure.message));
                self.watch(name, actions);
                return;
            }
            Some(Ok(wish)) => wish.clone(),
        };
        let entry = wish.entry();
        let is_running = record.running.as_ref().is_some_and(|it| it.entry == entry);
        let refused = record.refused.iter().find(|it| it.entry == entry).cloned();
        if is_running && wish.digest().is_some() {
            let version = record.running.clone().expect("the version is running");
            work.desired_version = version.desired_version;
            // A probation goes on. The report can be about another version, which was refused.
            if !matches!(work.step, PlanStep::Probation { .. }) {
                self.cancel(name, actions);
                self.watch(name, actions);
            }
            self.set_report(name, active(&version));
            return;
        }
        let is_current =
            |it: &RefusedEntry| it.trusted.as_ref().is_none_or(|it| *it == self.trusted);
        match refused.filter(is_current) {
            Some(refused) => {
                self.cancel(name, actions);
                self.show_refused(name, &refused, now);
                self.watch(name, actions);
            }
            None => self.begin(name, now, actions),
        }
    }

    /// Removes a plugin that is no longer wanted. Its release numbers and refusals stay.
    fn remove(&mut self, name: &str, actions: &mut Vec<FleetAction>) {
        self.cancel(name, actions);
        self.works.remove(name);
        let Some(record) = self.record.plugins.get_mut(name) else { return };
        let was_there = record.running.take().is_some();
        (record.previous, record.trial) = (None, None);
        if was_there {
            actions.push(FleetAction::Persist);
            actions.push(FleetAction::Restore { plugin: name.to_owned(), version: None });
        }
        if *record == PluginRecord::default() {
            self.record.plugins.remove(name);
        }
    }
}
