//! The settings of one plugin: its entry in the host's configuration.

pub(crate) mod hosts;

use crate::{Capability, HttpHost, Limits};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

/// A plugin's entry in the host's configuration, as far as it concerns the
/// sandbox.
#[derive(Debug, Clone, Default)]
pub struct PluginSettings {
    /// The limits of its calls.
    pub limits: Limits,
    /// The keys and values that the interface `config` returns.
    pub config: BTreeMap<String, String>,
    /// The capabilities that it is granted; it gets those that it also imports.
    pub capabilities: BTreeSet<Capability>,
    /// The hosts and limits of the capability `http`.
    pub http: HttpSettings,
}

/// The hosts that a plugin with the capability `http` may send requests to, and the
/// limits of its requests.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// The allowed hosts; requests to all others are denied.
    pub hosts: Vec<HttpHost>,
    /// The time for one request, from its first byte to the last byte of the
    /// response. Shorter than the deadline of a call, so that a guest can still
    /// answer after a timeout.
    pub timeout: Duration,
    /// The largest body of a request, in bytes.
    pub request_bytes: usize,
    /// The largest body of a response, in bytes.
    pub response_bytes: usize,
    /// The number of requests that one call may send.
    pub requests: u32,
    /// A PEM file with certificates that the client trusts beside the system's.
    pub ca_file: Option<PathBuf>,
}

impl Default for HttpSettings {
    fn default() -> HttpSettings {
        HttpSettings {
            hosts: Vec::new(),
            timeout: Duration::from_secs(10),
            request_bytes: 256 * 1024,
            response_bytes: 1024 * 1024,
            requests: 20,
            ca_file: None,
        }
    }
}
