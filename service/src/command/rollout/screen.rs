//! Output of a rollout: a line for each wave, and a moving one for its health on a terminal.

use behaviour_service::rollout::{Rollout, RolloutEvent, WaveHealth};
use program::{Progress, counted, note, say};
use serde_json::{Value, json};

use super::super::show;
use super::OutputFormat;

/// Number of failed devices that are printed.
const SHOWN: usize = 10;

/// The output of a rollout.
pub(super) struct Screen {
    format: OutputFormat,
    progress: Option<Progress>,
    last: Option<WaveHealth>,
    failures: usize,
}

impl Screen {
    pub(super) fn new(format: OutputFormat) -> Screen {
        Screen { format, progress: None, last: None, failures: 0 }
    }

    /// Shows a rollout that begins or continues.
    pub(super) fn started(&self, rollout: &Rollout) {
        match self.format.as_json {
            true => event("started", rollout, &[]),
            false => note(format_args!(
                "{}: {} to `{}`; Ctrl-C leaves it as it is, and `behaviour-service rollout resume \
                 {}` continues it",
                rollout.id(),
                rollout.image,
                rollout.target,
                rollout.plugin
            )),
        }
    }

    /// Shows a step.
    pub(super) fn event(&mut self, step: &RolloutEvent<'_>) {
        match step {
            RolloutEvent::Wave(rollout) => {
                self.finish_wave();
                match self.format.as_json {
                    true => event("wave", rollout, &[]),
                    false => self.progress = Some(Progress::new(&wave(rollout))),
                }
            }
            RolloutEvent::Health(rollout, health) => {
                let changed = self.last.as_ref() != Some(*health);
                if self.format.as_json && changed {
                    event("health", rollout, &[("health", health.to_json())]);
                } else if let Some(progress) = &self.progress {
                    progress.set(&format!("{}: {}", wave(rollout), counts(health)));
                }
                self.last = Some((*health).clone());
            }
        }
    }

    /// Shows the state at the end.
    pub(super) fn ended(&mut self, rollout: &Rollout) {
        self.finish_wave();
        match self.format.as_json {
            true => event(rollout.state.name(), rollout, &[]),
            false => say(summary(rollout)),
        }
    }

    /// Shows a device that has failed.
    pub(super) fn failure(&mut self, device: &str, reason: &str) {
        self.failures += 1;
        if self.format.as_json {
            show::json(&json!({"event": "failure", "deviceId": device, "reason": reason}));
        } else if self.failures <= SHOWN {
            note(format_args!("{device}: {reason}"));
        }
    }

    /// Shows a rollout with the health of its devices.
    pub(super) fn status(
        &self,
        rollout: &Rollout,
        health: &WaveHealth,
        failures: &[(String, String)],
    ) {
        if self.format.as_json {
            let list =
                |(device, reason): &(String, String)| json!({"deviceId": device, "reason": reason});
            let failures = json!(failures.iter().map(list).collect::<Vec<_>>());
            let facts = [("health", health.to_json()), ("failures", failures)];
            return event("status", rollout, &facts);
        }
        say(summary(rollout));
        say(format_args!("  {}", counts(health)));
        for (device, reason) in failures.iter().take(SHOWN) {
            say(format_args!("  {device}: {reason}"));
        }
    }

    /// Keeps the last line of a wave.
    fn finish_wave(&mut self) {
        self.progress = None;
        if let Some(health) = self.last.take().filter(|_| !self.format.as_json) {
            note(counts(&health));
        }
    }
}

fn event(name: &str, rollout: &Rollout, facts: &[(&str, Value)]) {
    let mut value = rollout.to_json();
    value["event"] = json!(name);
    for (fact, of_fact) in facts {
        value[*fact] = of_fact.clone();
    }
    show::json(&value);
}

fn wave(rollout: &Rollout) -> String {
    format!("wave {} of {}, {}", rollout.wave + 1, rollout.waves.len(), rollout.share())
}

fn summary(rollout: &Rollout) -> String {
    let reason = match rollout.reason.as_str() {
        "" => String::new(),
        reason => format!(" ({reason})"),
    };
    format!("{:<24} {:<8} {}{reason}", rollout.id().as_str(), rollout.state.name(), wave(rollout))
}

fn counts(health: &WaveHealth) -> String {
    let WaveHealth { devices, active, failed, working, offline, states } = health;
    let is_working =
        |name: &&String| !matches!(name.as_str(), "active" | "refused" | "rolled-back");
    let states: Vec<String> = states
        .keys()
        .filter(is_working)
        .map(|name| format!("{} {}", states[name], json::readable(name)))
        .collect();
    let details =
        if states.is_empty() { String::new() } else { format!(" ({})", states.join(", ")) };
    format!(
        "{}: {active} active, {failed} failed, {working} in progress{details}, \
         {offline} offline",
        counted(*devices, "device")
    )
}
