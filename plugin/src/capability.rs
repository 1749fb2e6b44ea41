//! Capabilities: interfaces beyond the default world, which must be requested and
//! granted.
//!
//! A component requests one by importing it; the operator grants it by name. Only this
//! module knows which import belongs to which capability.

use std::fmt;
use std::str::FromStr;

/// An import that a plugin may be granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Capability {
    /// May reboot the machine: `device:behaviour/power`.
    Power,
    /// May ask other machines over HTTP, those that its settings name:
    /// `wasi:http`.
    Http,
}

impl Capability {
    /// All there are.
    pub const ALL: [Capability; 2] = [Capability::Power, Capability::Http];

    /// Its name in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Capability::Power => "power",
            Capability::Http => "http",
        }
    }

    /// Returns the capability that an import needs, by its package and interface.
    pub(crate) fn of_import(package: &str, interface: &str) -> Option<Capability> {
        match (package, interface) {
            ("device:behaviour", "power") => Some(Capability::Power),
            ("wasi:http", "types" | "outgoing-handler") => Some(Capability::Http),
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
            .ok_or_else(|| UnknownCapability(name.escape_debug().to_string()))
    }
}

/// A name that no capability has.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("there is no capability `{0}`; there are: {all}", all = all_names())]
pub struct UnknownCapability(String);

fn all_names() -> String {
    Capability::ALL.map(|capability| format!("`{capability}`")).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_capability_reads_back_as_it_was_written() {
        for capability in Capability::ALL {
            assert_eq!(capability.to_string().parse(), Ok(capability));
        }
    }

    #[test]
    fn a_name_that_nothing_has_is_answered_with_those_there_are() {
        let error = "flying".parse::<Capability>().unwrap_err().to_string();
        assert!(
            error.starts_with("there is no capability `flying`; there are: `power`"),
            "{error}"
        );
    }
}
