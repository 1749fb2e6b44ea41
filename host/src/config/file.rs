//! Keys of `host.toml`.
//!
//! Parsing checks only the names of keys and the types of values. The parent module checks
//! the values.

use std::collections::{BTreeMap, BTreeSet};
use std::num::{NonZeroU8, NonZeroU16, NonZeroU32, NonZeroU64, NonZeroUsize};
use std::path::PathBuf;

use serde::Deserialize;

use super::compression::Compression;
use super::period::Period;
use super::remote::RemoteMethod;
use super::signal::OtlpSignal;
use super::signatures::SignatureRule;
use super::telemetry::WhenFull;

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    #[serde(default)]
    pub(super) hub: Hub,
    pub(super) provisioning: Option<ProvisioningKeys>,
    #[serde(default)]
    pub(super) host: Host,
    #[serde(default)]
    pub(super) plugins: BTreeMap<String, Plugin>,
    pub(super) fleet: Option<FleetKeys>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Hub {
    pub(super) port: Option<NonZeroU16>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) connection_string_file: Option<PathBuf>,
    pub(super) keep_alive: Option<Period>,
    pub(super) token_lifetime: Option<Period>,
    pub(super) profile: Option<String>,
    pub(super) telemetry_topic: Option<String>,
    pub(super) messages: Option<String>,
    pub(super) identity: Option<IdentityKeys>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IdentityKeys {
    pub(super) certificate_file: PathBuf,
    pub(super) key_file: Option<PathBuf>,
    pub(super) key_uri: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ProvisioningKeys {
    pub(super) endpoint: Option<String>,
    pub(super) port: Option<NonZeroU16>,
    pub(super) id_scope: String,
    pub(super) registration_id: Option<String>,
    pub(super) symmetric_key_file: Option<PathBuf>,
    pub(super) group_key_file: Option<PathBuf>,
    pub(super) certificate_file: Option<PathBuf>,
    pub(super) key_file: Option<PathBuf>,
    pub(super) key_uri: Option<String>,
    pub(super) issued_certificate: Option<IssuedKeys>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct IssuedKeys {
    pub(super) key_uri: Option<String>,
    pub(super) rotate_key: Option<bool>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Host {
    pub(super) grace: Option<Period>,
    pub(super) compile_cache: Option<PathBuf>,
    pub(super) compile_cache_previous: Option<usize>,
    pub(super) data: Option<PathBuf>,
    pub(super) commits_per_minute: Option<NonZeroU32>,
    pub(super) plugin_commits_per_minute: Option<NonZeroU32>,
    pub(super) reboot_command: Option<Vec<String>>,
    #[serde(default)]
    pub(super) dry_run_reboot: bool,
    pub(super) reboots_per_hour: Option<NonZeroU8>,
    pub(super) reboot_min_uptime: Option<Period>,
    pub(super) report_plugins_under: Option<String>,
    pub(super) control_socket: Option<PathBuf>,
    pub(super) memory_bytes: Option<NonZeroUsize>,
    #[serde(default)]
    pub(super) telemetry: TelemetryKeys,
    #[serde(default)]
    pub(super) metrics: MetricsKeys,
    #[serde(default)]
    pub(super) otlp: OtlpKeys,
    #[serde(default)]
    pub(super) remote: RemoteKeys,
    #[serde(default)]
    pub(super) registry: RegistryKeys,
    #[serde(default)]
    pub(super) trust: TrustKeys,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MetricsKeys {
    pub(super) listen: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OtlpKeys {
    pub(super) signals: Option<BTreeSet<OtlpSignal>>,
    pub(super) endpoint: Option<String>,
    pub(super) headers_file: Option<PathBuf>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) traceparent_key: Option<String>,
    pub(super) interval: Option<Period>,
    pub(super) timeout: Option<Period>,
    pub(super) compression: Option<Compression>,
    #[serde(default)]
    pub(super) metrics: OtlpReceiverKeys,
    #[serde(default)]
    pub(super) traces: OtlpReceiverKeys,
    #[serde(default)]
    pub(super) logs: OtlpReceiverKeys,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct OtlpReceiverKeys {
    pub(super) endpoint: Option<String>,
    pub(super) headers_file: Option<PathBuf>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) timeout: Option<Period>,
    pub(super) compression: Option<Compression>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RemoteKeys {
    #[serde(default)]
    pub(super) methods: BTreeSet<RemoteMethod>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RegistryKeys {
    #[serde(default)]
    pub(super) mirrors: BTreeMap<String, Vec<String>>,
    pub(super) ca_file: Option<PathBuf>,
    pub(super) credentials_file: Option<PathBuf>,
    pub(super) offline_directory: Option<PathBuf>,
    #[serde(default)]
    pub(super) plain_http: Vec<String>,
    pub(super) store_bytes: Option<NonZeroU64>,
    pub(super) bytes_per_second: Option<NonZeroUsize>,
    pub(super) spread: Option<Period>,
    pub(super) timeout: Option<Period>,
    pub(super) fetch_time: Option<Period>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct TrustKeys {
    #[serde(default)]
    pub(super) keys: Vec<PathBuf>,
    pub(super) signature: Option<SignatureRule>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct FleetKeys {
    pub(super) images: Vec<String>,
    #[serde(default)]
    pub(super) plugins: BTreeSet<String>,
    #[serde(default)]
    pub(super) methods: BTreeSet<String>,
    #[serde(default)]
    pub(super) capabilities: BTreeSet<String>,
    #[serde(default)]
    pub(super) replaces: BTreeSet<String>,
    pub(super) desired_key: Option<String>,
    pub(super) max_plugins: Option<NonZeroUsize>,
    pub(super) health_time: Option<Period>,
    pub(super) deadline: Option<Period>,
    #[serde(default)]
    pub(super) limits: Limits,
    pub(super) http: Option<HttpKeys>,
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
    pub(super) file: Option<PathBuf>,
    pub(super) image: Option<String>,
    #[serde(default)]
    pub(super) allow_tag: bool,
    pub(super) sha256: Option<String>,
    pub(super) methods: Vec<String>,
    pub(super) deadline: Option<Period>,
    #[serde(default)]
    pub(super) deadlines: BTreeMap<String, Period>,
    pub(super) disable_after: Option<u32>,
    pub(super) failing_for: Option<Period>,
    pub(super) rollback: Option<bool>,
    pub(super) idempotency_key: Option<String>,
    pub(super) idempotency_time: Option<Period>,
    #[serde(default)]
    pub(super) min_times: BTreeMap<String, Period>,
    #[serde(default)]
    pub(super) capabilities: BTreeSet<String>,
    #[serde(default)]
    pub(super) limits: Limits,
    pub(super) http: Option<HttpKeys>,
    #[serde(default)]
    pub(super) config: toml::Table,
}

/// Keys of [`plugin::HttpSettings`].
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

/// Defines the table of limits. Each key is a field of [`plugin::Limits`] and overrides its
/// default.
macro_rules! limits {
    ($($key:ident: $type:ty,)*) => {
        /// Keys of [`plugin::Limits`], which documents each limit.
        #[derive(Debug, Clone, Default, PartialEq, Deserialize)]
        #[serde(deny_unknown_fields)]
        pub(super) struct Limits {
            $($key: Option<$type>,)*
        }

        impl Limits {
            /// Overrides the limits that the file sets.
            pub(super) fn apply(&self, limits: &mut plugin::Limits) {
                $(if let Some(limit) = self.$key {
                    limits.$key = limit.into();
                })*
            }

            /// Returns the name of a limit that the file sets above `ceiling`.
            pub(super) fn first_above(&self, ceiling: &plugin::Limits) -> Option<&'static str> {
                let mut set = ceiling.clone();
                self.apply(&mut set);
                $(if set.$key > ceiling.$key {
                    return Some(stringify!($key));
                })*
                None
            }
        }

        /// Lowers each limit to that of `ceiling`.
        pub(super) fn lower_to(limits: &mut plugin::Limits, ceiling: &plugin::Limits) {
            $(limits.$key = limits.$key.min(ceiling.$key);)*
            limits.deadline = limits.deadline.min(ceiling.deadline);
        }
    };
}

limits! {
    memory_bytes: usize,
    table_elements: usize,
    calls_at_once: usize,
    payload_bytes: usize,
    answer_bytes: usize,
    component_bytes: usize,
    compile_time: Period,
    log_lines: u32,
    log_bytes: usize,
    log_line_bytes: usize,
    reports: u32,
    report_bytes: usize,
    messages: u32,
    message_bytes: usize,
    state_bytes: usize,
    state_value_bytes: usize,
    state_changes: u32,
    metric_series: usize,
    jobs: u32,
    job_attempts: u32,
}
