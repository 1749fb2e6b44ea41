//! The health of a wave, and the decision that follows from it.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::Percent;

/// Numbers of devices of the waves so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WaveHealth {
    /// All devices.
    pub devices: u64,
    /// Devices on which the plugin is active.
    pub active: u64,
    /// Devices that have refused the plugin or rolled it back.
    pub failed: u64,
    /// Connected devices that have neither finished nor failed.
    pub working: u64,
    /// Disconnected devices that have neither finished nor failed.
    pub offline: u64,
    /// Devices that report this rollout, by state.
    pub states: BTreeMap<String, u64>,
}

/// The next step of a rollout.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Wait for reports, or for the end of the pause.
    Wait,
    /// Begin the next wave, or finish after the last one.
    Next,
    /// Stop for this reason.
    Stop(String),
}

impl WaveHealth {
    /// Counts devices with the same connection state, reported state and digest.
    pub fn add(&mut self, count: u64, is_connected: bool, state: Option<&str>) {
        self.devices += count;
        if let Some(state) = state {
            *self.states.entry(state.to_owned()).or_default() += count;
        }
        let numbers = match state {
            Some("active") => &mut self.active,
            Some("refused" | "rolled-back") => &mut self.failed,
            _ if is_connected => &mut self.working,
            _ => &mut self.offline,
        };
        *numbers += count;
    }

    /// Decides the next step. `elapsed` is the time since the wave began.
    ///
    /// Disconnected devices are not waited for, since they follow when they connect.
    #[must_use]
    pub fn verdict(
        &self,
        healthy: Percent,
        elapsed: Duration,
        pause: Duration,
        timeout: Duration,
    ) -> Verdict {
        let allowed = healthy.beyond(self.devices);
        let all = self.devices;
        if self.failed > allowed {
            let failed = self.failed;
            return Verdict::Stop(format!("{failed} of {all} devices failed; {allowed} may fail"));
        }
        if elapsed < timeout.max(pause) {
            let is_finished = self.working == 0 && self.active > 0 && elapsed >= pause;
            return if is_finished { Verdict::Next } else { Verdict::Wait };
        }
        let unhealthy = self.failed + self.working;
        if self.active == 0 {
            Verdict::Stop(format!("no device of {all} has reported the plugin as active in time"))
        } else if unhealthy > allowed {
            Verdict::Stop(format!(
                "{unhealthy} of {all} devices failed or did not report in time; {allowed} may fail"
            ))
        } else {
            Verdict::Next
        }
    }

    /// Returns the document for programs.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let WaveHealth { devices, active, failed, working, offline, states } = self;
        json!({"devices": devices, "active": active, "failed": failed, "working": working,
            "offline": offline, "states": states})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(counts: &[(u64, bool, Option<&str>)], seconds: u64) -> Verdict {
        let mut health = WaveHealth::default();
        for (count, is_connected, state) in counts {
            health.add(*count, *is_connected, *state);
        }
        let (pause, timeout) = (Duration::from_secs(60), Duration::from_secs(600));
        let elapsed = Duration::from_secs(seconds);
        health.verdict("99%".parse().unwrap(), elapsed, pause, timeout)
    }

    #[test]
    fn the_next_wave_follows_the_pause_once_all_connected_devices_are_active() {
        let active = (98, true, Some("active"));
        let offline = (1, false, None);
        assert_eq!(verdict(&[active, offline], 59), Verdict::Wait);
        assert_eq!(verdict(&[active, offline], 60), Verdict::Next);
        assert_eq!(verdict(&[active, (1, true, Some("verifying"))], 60), Verdict::Wait);
        assert_eq!(verdict(&[(100, false, None)], 60), Verdict::Wait);
    }

    #[test]
    fn a_wave_stops_as_soon_as_more_devices_fail_than_the_mark_allows() {
        let allowed = [(99, true, Some("active")), (1, true, Some("refused"))];
        assert_eq!(verdict(&allowed, 60), Verdict::Next);
        let failed = [(198, true, Some("compiling")), (3, false, Some("rolled-back"))];
        let reason = "3 of 201 devices failed; 2 may fail".to_owned();
        assert_eq!(verdict(&failed, 1), Verdict::Stop(reason));
    }

    #[test]
    fn devices_that_do_not_report_in_time_count_as_failed() {
        let silent = [(97, true, Some("active")), (3, true, None)];
        assert_eq!(verdict(&silent, 599), Verdict::Wait);
        assert!(matches!(verdict(&silent, 600), Verdict::Stop(_)));
        let few = [(199, true, Some("active")), (1, true, None), (90, false, None)];
        assert_eq!(verdict(&few, 600), Verdict::Next);
        assert!(matches!(verdict(&[(9, false, None)], 600), Verdict::Stop(_)));
    }
}
