//! Keys of `host.toml`.
//!
//! Only the shape is checked here: the names of keys and the types of values. The
//! parent module checks their meaning.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::PathBuf;

use serde::Deserialize;

use super::period::Period;
use super::telemetry::WhenFull;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) hub: Hub,
    #[serde(default)]
    pub(super) host: Host,
    #[serde(default)]
    pub(super) plugins: BTreeMap<String, Plugin>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hub {
    pub(super) port: Option<u16>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) connection_string_file: Option<PathBuf>,
    pub(super) keep_alive: Option<Period>,
    pub(super) token_lifetime: Option<Period>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Host {
    pub(super) grace: Option<Period>,
    pub(super) compile_cache: Option<PathBuf>,
    pub(super) data: Option<PathBuf>,
    pub(super) reboot_command: Option<Vec<String>>,
    #[serde(default)]
    pub(super) dry_run_reboot: bool,
    pub(super) report_plugins_under: Option<String>,
    pub(super) control_socket: Option<PathBuf>,
    #[serde(default)]
    pub(super) telemetry: TelemetryKeys,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TelemetryKeys {
    pub(super) messages: Option<NonZeroUsize>,
    pub(super) bytes: Option<NonZeroUsize>,
    pub(super) when_full: Option<WhenFull>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Plugin {
    pub(super) file: PathBuf,
    pub(super) methods: Vec<String>,
    pub(super) deadline: Option<Period>,
    #[serde(default)]
    pub(super) deadlines: BTreeMap<String, Period>,
    pub(super) disable_after: Option<u32>,
    pub(super) idempotency_key: Option<String>,
    pub(super) idempotency_time: Option<Period>,
    #[serde(default)]
    pub(super) capabilities: BTreeSet<String>,
    #[serde(default)]
    pub(super) limits: Limits,
    pub(super) http: Option<HttpKeys>,
    #[serde(default)]
    pub(super) config: toml::Table,
}

/// As in [`plugin::HttpSettings`], and whom to trust.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct HttpKeys {
    pub(super) hosts: Vec<String>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) timeout: Option<Period>,
    pub(super) request_bytes: Option<usize>,
    pub(super) response_bytes: Option<usize>,
    pub(super) requests: Option<u32>,
}

/// As in [`plugin::Limits`], where each has its reason.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Limits {
    memory_bytes: Option<usize>,
    table_elements: Option<usize>,
    calls_at_once: Option<usize>,
    payload_bytes: Option<usize>,
    answer_bytes: Option<usize>,
    component_bytes: Option<usize>,
    compile_time: Option<Period>,
    log_lines: Option<u32>,
    log_bytes: Option<usize>,
    log_line_bytes: Option<usize>,
    reports: Option<u32>,
    report_bytes: Option<usize>,
    messages: Option<u32>,
    message_bytes: Option<usize>,
    state_bytes: Option<usize>,
    state_value_bytes: Option<usize>,
    state_changes: Option<u32>,
    jobs: Option<u32>,
    job_attempts: Option<u32>,
}

impl Limits {
    /// Those that the file names, in place of the defaults.
    pub(super) fn apply(&self, limits: &mut plugin::Limits) {
        fn set<T: Copy>(limit: &mut T, asked: Option<T>) {
            *limit = asked.unwrap_or(*limit);
        }
        set(&mut limits.memory_bytes, self.memory_bytes);
        set(&mut limits.table_elements, self.table_elements);
        set(&mut limits.calls_at_once, self.calls_at_once);
        set(&mut limits.payload_bytes, self.payload_bytes);
        set(&mut limits.answer_bytes, self.answer_bytes);
        set(&mut limits.component_bytes, self.component_bytes);
        set(&mut limits.compile_time, self.compile_time.as_ref().map(|period| period.0));
        set(&mut limits.log_lines, self.log_lines);
        set(&mut limits.log_bytes, self.log_bytes);
        set(&mut limits.log_line_bytes, self.log_line_bytes);
        set(&mut limits.reports, self.reports);
        set(&mut limits.report_bytes, self.report_bytes);
        set(&mut limits.messages, self.messages);
        set(&mut limits.message_bytes, self.message_bytes);
        set(&mut limits.state_bytes, self.state_bytes);
        set(&mut limits.state_value_bytes, self.state_value_bytes);
        set(&mut limits.state_changes, self.state_changes);
        set(&mut limits.jobs, self.jobs);
        set(&mut limits.job_attempts, self.job_attempts);
    }
}
