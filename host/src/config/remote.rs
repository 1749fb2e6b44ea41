//! `[host.remote]`: the reserved direct methods, which the host answers itself.

use std::collections::BTreeSet;

use protocol::id::MethodName;
use serde::Deserialize;

/// Start of the names of the reserved methods. A plugin cannot serve them.
pub(crate) const RESERVED_PREFIX: &str = "behaviour.";

/// A reserved method.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum RemoteMethod {
    /// The status of the host.
    Status,
    /// The list of the plugins.
    Plugins,
    /// The last log lines of a plugin.
    Logs,
    /// The metrics of the host.
    Metrics,
    /// The support bundle.
    Bundle,
    /// Reloading of a plugin's file.
    Reload,
    /// Disabling of a plugin.
    Disable,
    /// Enabling of a plugin.
    Enable,
    /// Return to a plugin's previous version.
    Rollback,
}

/// Settings in `[host.remote]`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RemoteSection {
    /// Reserved methods that callers may use; none by default.
    pub methods: BTreeSet<RemoteMethod>,
}

impl RemoteMethod {
    /// All reserved methods.
    pub(crate) const ALL: [RemoteMethod; 9] = [
        RemoteMethod::Status,
        RemoteMethod::Plugins,
        RemoteMethod::Logs,
        RemoteMethod::Metrics,
        RemoteMethod::Bundle,
        RemoteMethod::Reload,
        RemoteMethod::Disable,
        RemoteMethod::Enable,
        RemoteMethod::Rollback,
    ];

    /// Returns the name in the configuration, which follows [`RESERVED_PREFIX`] in the method.
    pub(crate) fn name(self) -> &'static str {
        match self {
            RemoteMethod::Status => "status",
            RemoteMethod::Plugins => "plugins",
            RemoteMethod::Logs => "logs",
            RemoteMethod::Metrics => "metrics",
            RemoteMethod::Bundle => "bundle",
            RemoteMethod::Reload => "reload",
            RemoteMethod::Disable => "disable",
            RemoteMethod::Enable => "enable",
            RemoteMethod::Rollback => "rollback",
        }
    }
}

/// Returns the part of a method's name after [`RESERVED_PREFIX`]; `None` if a plugin may serve
/// the method.
pub(crate) fn reserved(method: &MethodName) -> Option<&str> {
    method.as_str().strip_prefix(RESERVED_PREFIX)
}
