//! Settings of one plugin from the host's configuration.

pub(crate) mod hosts;

use crate::{Capability, HttpHost, Limits};
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::time::Duration;

/// Settings of one plugin that concern the sandbox.
#[derive(Debug, Clone, Default)]
pub struct PluginSettings {
    /// Limits of the plugin's calls.
    pub limits: Limits,
    /// Keys and values returned by the interface `config`.
    pub config: BTreeMap<String, String>,
    /// Granted capabilities. The plugin receives those that it also imports.
    pub capabilities: BTreeSet<Capability>,
    /// Hosts and limits of the capability `http`.
    pub http: HttpSettings,
}

/// Allowed hosts and limits of the HTTP requests of a plugin.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpSettings {
    /// Allowed hosts. Requests to other hosts are denied.
    pub hosts: Vec<HttpHost>,
    /// Timeout of a request, from its first byte to the last byte of the response. It is
    /// shorter than the deadline of a call, so that a guest can respond after a timeout.
    pub timeout: Duration,
    /// Maximum size of a request's body, in bytes.
    pub request_bytes: usize,
    /// Maximum size of a response's body, in bytes.
    pub response_bytes: usize,
    /// Maximum number of requests of one call.
    pub requests: u32,
    /// PEM file with certificates that are trusted in addition to the system's.
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
