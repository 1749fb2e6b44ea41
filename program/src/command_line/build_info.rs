//! Facts about a build, which `--version` prints.

use std::fmt::Write as _;

/// Facts about a build of a program. [`build_info!`](crate::build_info) creates it.
#[derive(Debug, Clone, Copy)]
pub struct BuildInfo {
    /// The version of the program.
    pub version: &'static str,
    /// The commit of the sources, if it is known.
    pub commit: Option<&'static str>,
    /// The version of the WIT package `device:behaviour`.
    pub contract: &'static str,
    /// The version of wasmtime, if the program contains it.
    pub wasmtime: Option<&'static str>,
}

/// Returns the [`BuildInfo`] of the calling program, whose package has the build script
/// `program/build_info.rs`.
#[macro_export]
macro_rules! build_info {
    () => {
        $crate::BuildInfo {
            version: env!("CARGO_PKG_VERSION"),
            commit: option_env!("BEHAVIOUR_COMMIT"),
            contract: env!("BEHAVIOUR_CONTRACT"),
            wasmtime: option_env!("BEHAVIOUR_WASMTIME"),
        }
    };
}

impl BuildInfo {
    /// Returns the version and a line for each other fact.
    pub(super) fn to_text(self) -> String {
        let mut text = self.version.to_owned();
        // Writing to a string does not fail.
        if let Some(commit) = self.commit {
            let _ = write!(text, "\ncommit: {commit}");
        }
        let _ = write!(text, "\ncontract: device:behaviour@{}", self.contract);
        if let Some(wasmtime) = self.wasmtime {
            let _ = write!(text, "\nwasmtime: {wasmtime}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_known_fact_has_a_line() {
        let build = BuildInfo {
            version: "1.2.3",
            commit: Some("0123456789ab"),
            contract: "0.1.0",
            wasmtime: Some("48.0.8"),
        };
        let expected = "\
1.2.3
commit: 0123456789ab
contract: device:behaviour@0.1.0
wasmtime: 48.0.8";
        assert_eq!(build.to_text(), expected);
    }
}
