//! Direct methods that a host answers itself, for help from afar.
//!
//! They are those of `behaviour-host` and not of IoT Hub, for which they are methods like any
//! other. The host and `behaviour-service device` share their names.

use serde::Deserialize;

use crate::id::MethodName;

/// Start of the names of the reserved methods. A plugin cannot serve them.
pub const RESERVED_PREFIX: &str = "behaviour.";

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

impl RemoteMethod {
    /// All reserved methods.
    pub const ALL: [RemoteMethod; 9] = [
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

    /// Returns the name in the configuration of a host, which follows [`RESERVED_PREFIX`] in the
    /// method.
    #[must_use]
    pub fn name(self) -> &'static str {
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

    /// Returns the name of the method.
    #[must_use]
    pub fn method(self) -> MethodName {
        let name = format!("{RESERVED_PREFIX}{}", self.name());
        name.parse().expect("the name has only letters and a dot")
    }
}

/// Returns the part of a method's name after [`RESERVED_PREFIX`]; `None` if a plugin may serve
/// the method.
#[must_use]
pub fn reserved(method: &MethodName) -> Option<&str> {
    method.as_str().strip_prefix(RESERVED_PREFIX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_each_method_is_that_of_the_configuration_after_the_prefix() {
        for method in RemoteMethod::ALL {
            let name = method.method();
            let configured = serde_json::Value::from(reserved(&name).unwrap());
            assert_eq!(serde_json::from_value::<RemoteMethod>(configured).unwrap(), method);
        }
        assert_eq!(reserved(&"behaviours".parse().unwrap()), None);
    }
}
