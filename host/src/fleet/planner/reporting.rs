//! Reports about the state of the works.

use super::{EventTime, Planner};
use crate::fleet::record::{Installed, RefusedEntry};
use crate::fleet::report::{FleetState, Report};

impl Planner {
    pub(super) fn show_refused(&mut self, name: &str, refused: &RefusedEntry, now: &EventTime) {
        let state = if refused.rolled_back { FleetState::RolledBack } else { FleetState::Refused };
        let report = self.report(name, state, now);
        let report = Report { since: refused.since.clone(), ..report };
        self.set_report(name, report.because(&refused.reason, &refused.message));
    }

    /// Returns a new report about the wanted version.
    pub(super) fn report(&self, name: &str, state: FleetState, now: &EventTime) -> Report {
        let work = self.works.get(name);
        let digest = work.and_then(|work| match work.wish.as_ref()? {
            Ok(wish) => wish.digest(),
            Err(refused) => refused.digest,
        });
        let record = self.record.plugins.get(name);
        let running = record.and_then(|record| record.running.as_ref()).map(|it| it.image);
        Report {
            state,
            digest,
            desired_version: work.map_or(0, |work| work.desired_version),
            since: now.text.clone(),
            running_digest: running,
            progress: None,
            reason: None,
            message: None,
            capability_change: None,
        }
    }

    pub(super) fn set_report(&mut self, name: &str, report: Report) {
        if let Some(work) = self.works.get_mut(name) {
            work.report = Some(report);
        }
    }
}

/// Returns the report about an active version.
pub(super) fn active(version: &Installed) -> Report {
    Report {
        state: FleetState::Active,
        digest: Some(version.image),
        desired_version: version.desired_version,
        since: version.since.clone(),
        running_digest: None,
        progress: None,
        reason: None,
        message: None,
        capability_change: None,
    }
}
