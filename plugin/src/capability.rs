//! Capabilities: interfaces beyond the default world, which must be requested and granted.
//!
//! A component requests a capability by importing its interface; the operator grants it by
//! name. Only this module maps imports to capabilities.

use std::fmt;
use std::str::FromStr;

/// A capability that an operator can grant to a plugin.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// Reboots the machine, through `device:behaviour/power`.
    Power,
    /// Sends HTTP requests to the configured hosts, through `device:behaviour/http` or
    /// `wasi:http`.
    Http,
}

impl Capability {
    /// All capabilities.
    pub const ALL: [Capability; 2] = [Capability::Power, Capability::Http];

    /// Returns the name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Capability::Power => "power",
            Capability::Http => "http",
        }
    }

    /// Returns the capability that an import requires.
    pub(crate) fn of_import(package: &str, interface: &str) -> Option<Capability> {
        match (package, interface) {
            ("device:behaviour", "power") => Some(Capability::Power),
            ("device:behaviour", "http") | ("wasi:http", "types" | "outgoing-handler") => {
                Some(Capability::Http)
            }
            _ => None,
        }
    }
}

impl fmt::Display for Capability {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Capability {
    type Err = UnknownCapability;

    fn from_str(name: &str) -> Result<Capability, UnknownCapability> {
        let named = |capability: &Capability| capability.name() == name;
        Capability::ALL
            .into_iter()
            .find(named)
            .ok_or_else(|| UnknownCapability(json::readable(name).into_owned()))
    }
}

/// An unknown name of a capability.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown capability `{0}`; known are {all}", all = all_names())]
pub struct UnknownCapability(String);

fn all_names() -> String {
    Capability::ALL.map(|capability| format!("`{capability}`")).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capability_parses_from_its_name() {
        for capability in Capability::ALL {
            assert_eq!(capability.to_string().parse(), Ok(capability));
        }
    }

    #[test]
    fn an_unknown_name_is_refused_with_the_known_ones() {
        let error = "flying".parse::<Capability>().unwrap_err().to_string();
        assert!(error.starts_with("unknown capability `flying`; known are `power`"), "{error}");
    }
}
