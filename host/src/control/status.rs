//! Status of a host and its pending jobs, as sent to an operator.

use std::collections::BTreeMap;
use std::ops::Not;
use std::time::Duration;

use plugin::escape;
use program::{counted, duration};
use serde::{Deserialize, Serialize};

use super::table::table_of;
use crate::lent::jobs::{ListedJob, ListedState};

/// Status of a host.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct HostStatus {
    /// Version of the host.
    pub version: String,
    /// Seconds since the start of the host.
    pub uptime_seconds: u64,
    /// Id of the device.
    pub device: String,
    /// Name of the hub.
    pub hub: String,
    /// `true` while the host is connected.
    pub connected: bool,
    /// Time at which the connection was established or lost, or else the start of the host.
    pub since: String,
    /// Reason of the last failure to connect; `None` while connected.
    pub reason: Option<String>,
    /// Time at which the token of the connection expires; `None` if it is not renewed.
    pub token_expires: Option<String>,
    /// End of the validity of the connection's certificate; `None` without one.
    #[serde(default)]
    pub certificate_expires: Option<String>,
    /// Warning about that validity; `None` if it includes the current time and does not end soon.
    #[serde(default)]
    pub certificate_warning: Option<String>,
    /// Number of methods in flight.
    pub calls: usize,
    /// Number of reports that the hub has not answered.
    pub pending_reports: usize,
    /// Number of messages that the hub has not acknowledged.
    pub pending_messages: usize,
    /// Number of pending jobs, including running ones.
    pub pending_jobs: usize,
    /// Memory of running calls, compilations and queues, in bytes.
    pub memory_bytes: usize,
    /// Limit of that memory, in bytes.
    pub memory_limit_bytes: usize,
    /// Number of plugins in each state.
    pub plugins: BTreeMap<String, usize>,
    /// Error because of which the host refused the current `host.toml`.
    #[serde(default)]
    pub configuration_refused: Option<String>,
    /// `true` if a change in `host.toml` takes effect only after a restart.
    #[serde(default, skip_serializing_if = "Not::not")]
    pub restart_needed: bool,
}

/// Pending job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JobStatus {
    /// Id of the job.
    pub id: String,
    /// Name of its plugin.
    pub plugin: String,
    /// Name of the job.
    pub name: String,
    /// State: `waiting-for-call`, `waiting-for-time`, `waiting-for-boot` or `running`.
    pub state: String,
    /// Time at which the job is due. For a job that waits for a boot, the end of the wait.
    pub due: Option<String>,
    /// Number of attempts, including a running one.
    pub attempts: u32,
}

impl From<ListedJob> for JobStatus {
    fn from(job: ListedJob) -> JobStatus {
        let ListedJob { id, plugin, name, state, due, attempts } = job;
        let state = match state {
            ListedState::WaitingForCall => "waiting-for-call",
            ListedState::WaitingForTime => "waiting-for-time",
            ListedState::WaitingForBoot => "waiting-for-boot",
            ListedState::Running => "running",
        };
        let due = due.map(|due| format!("{due:.3}"));
        JobStatus { id, plugin, name, state: state.to_owned(), due, attempts }
    }
}

impl HostStatus {
    /// Returns the status as text, with one line for each property.
    pub(super) fn to_text(&self) -> String {
        let connection = match (self.connected, &self.reason) {
            (true, _) => format!("connected since {}", self.since),
            (false, Some(reason)) => format!("not connected since {}: {reason}", self.since),
            (false, None) => format!("not connected since {}", self.since),
        };
        let plugins = self.plugins.iter().map(|(state, count)| format!("{count} {state}"));
        let plugins = plugins.collect::<Vec<_>>().join(", ");
        let uptime = duration::display(Duration::from_secs(self.uptime_seconds));
        let mebibytes = |bytes: usize| bytes as f64 / 1024.0 / 1024.0;
        let HostStatus { pending_reports, pending_messages, pending_jobs, .. } = self;
        let rows = [
            ("device", Some(format!("{} at {}", self.device, self.hub))),
            ("connection", Some(connection)),
            ("token", self.token_expires.as_ref().map(|time| format!("expires at {time}"))),
            (
                "certificate",
                self.certificate_expires.as_ref().map(|time| match &self.certificate_warning {
                    Some(warning) => format!("expires at {time}: {warning}"),
                    None => format!("expires at {time}"),
                }),
            ),
            ("host", Some(format!("version {}, up for {uptime}", self.version))),
            ("calls", Some(format!("{} in flight", self.calls))),
            (
                "pending",
                Some(format!(
                    "{}, {}, {}",
                    counted(*pending_reports, "report"),
                    counted(*pending_messages, "message"),
                    counted(*pending_jobs, "job"),
                )),
            ),
            (
                "memory",
                Some(format!(
                    "{:.1} of {:.1} MiB",
                    mebibytes(self.memory_bytes),
                    mebibytes(self.memory_limit_bytes)
                )),
            ),
            ("plugins", Some(if plugins.is_empty() { "none".to_owned() } else { plugins })),
        ];
        let line =
            |(name, text): (&str, Option<String>)| Some(format!("{name:<11} {}", escape(&text?)));
        let rows = rows.into_iter().filter_map(line);
        let configuration =
            configuration_lines(self.configuration_refused.as_deref(), self.restart_needed);
        rows.chain(configuration).collect::<Vec<_>>().join("\n")
    }
}

/// Returns a line for each way in which `host.toml` is not in force.
pub(super) fn configuration_lines(
    refused: Option<&str>,
    restart_needed: bool,
) -> impl Iterator<Item = String> {
    let refused = refused
        .map(|reason| format!("host.toml is not, or only partly, in force: {}", escape(reason)));
    let restart =
        "changes under [hub], [host] or [fleet], or of an image, take effect after a restart";
    refused.into_iter().chain(restart_needed.then(|| restart.to_owned()))
}

/// Returns a table of jobs.
pub(super) fn jobs_text(jobs: &[JobStatus]) -> String {
    if jobs.is_empty() {
        return "no pending jobs".to_owned();
    }
    let head = ["ID", "PLUGIN", "JOB", "STATE", "DUE", "ATTEMPTS"].map(str::to_owned);
    let rows = jobs.iter().map(|job| {
        let due = job.due.as_deref().unwrap_or("-");
        let texts = [&job.id, &job.plugin, &job.name, &job.state, due];
        let [id, plugin, name, state, due] = texts.map(|text| escape(text).into_owned());
        [id, plugin, name, state, due, job.attempts.to_string()]
    });
    table_of(head, rows).join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_status_of_a_host_has_a_line_for_each_property() {
        let mut status = HostStatus {
            version: "0.1.0".to_owned(),
            uptime_seconds: 3_720,
            device: "d1".to_owned(),
            hub: "localhost:8883".to_owned(),
            since: "2026-01-01T00:00:00.000Z".to_owned(),
            reason: Some("closed by the hub\u{1b}".to_owned()),
            calls: 2,
            pending_reports: 1,
            memory_bytes: 3 << 20,
            memory_limit_bytes: 64 << 20,
            plugins: [("active".to_owned(), 3), ("off".to_owned(), 1)].into(),
            ..HostStatus::default()
        };
        let expected = "\
device      d1 at localhost:8883
connection  not connected since 2026-01-01T00:00:00.000Z: closed by the hub\\u{1b}
host        version 0.1.0, up for 1h 2m
calls       2 in flight
pending     1 report, 0 messages, 0 jobs
memory      3.0 of 64.0 MiB
plugins     3 active, 1 off";
        assert_eq!(status.to_text(), expected);
        status.restart_needed = true;
        status.configuration_refused = Some("line 1: unknown key\u{1b}".to_owned());
        let text = status.to_text();
        assert!(text.contains("partly, in force: line 1: unknown key\\u{1b}\n"), "{text}");
        assert!(text.ends_with("take effect after a restart"), "{text}");
        status.connected = true;
        status.token_expires = Some("2026-01-01T01:00:00Z".to_owned());
        status.certificate_expires = Some("2026-02-01T00:00:00Z".to_owned());
        let text = status.to_text();
        assert!(text.contains("connection  connected since 2026"), "{text}");
        assert!(text.contains("token       expires at 2026-01-01T01:00:00Z\n"), "{text}");
        assert!(text.contains("certificate expires at 2026-02-01T00:00:00Z\n"), "{text}");
        status.certificate_warning = Some("it has expired".to_owned());
        let text = status.to_text();
        assert!(text.contains("expires at 2026-02-01T00:00:00Z: it has expired\n"), "{text}");
    }

    #[test]
    fn jobs_are_listed_with_their_due_times_and_attempts() {
        let job = |state: ListedState, due: Option<&str>| ListedJob {
            id: "j1".to_owned(),
            plugin: "p".to_owned(),
            name: "report".to_owned(),
            state,
            due: due.map(|due| due.parse().unwrap()),
            attempts: 1,
        };
        let jobs = [
            job(ListedState::WaitingForTime, Some("2026-01-01T00:00:05Z")),
            job(ListedState::Running, None),
        ];
        let jobs: Vec<_> = jobs.into_iter().map(JobStatus::from).collect();
        let expected = "\
ID  PLUGIN  JOB     STATE             DUE                       ATTEMPTS
j1  p       report  waiting-for-time  2026-01-01T00:00:05.000Z  1
j1  p       report  running           -                         1";
        assert_eq!(jobs_text(&jobs), expected);
        assert_eq!(jobs_text(&[]), "no pending jobs");
    }
}
