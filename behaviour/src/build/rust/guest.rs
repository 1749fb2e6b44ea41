//! A plugin's Rust crate, as `cargo metadata` describes it.

use std::env;
use std::fs;
use std::path::{Path, PathBuf, absolute};

use serde::Deserialize;

use crate::build::{BuildError, step};

/// A crate that can be built into a component.
#[derive(Debug, PartialEq)]
pub(crate) struct Guest {
    pub(crate) package: String,
    /// The name of the library's file, without the extension.
    pub(crate) library: String,
    pub(crate) dir: PathBuf,
    pub(crate) manifest: PathBuf,
    /// The target directory: the workspace's, or the caller's choice.
    pub(crate) target_dir: PathBuf,
}

impl Guest {
    /// Finds the crate in `dir` with `cargo metadata`. `target_dir` overrides the target directory
    /// of its workspace.
    pub(crate) fn find(dir: &Path, target_dir: Option<&Path>) -> Result<Guest, BuildError> {
        let no_crate = || BuildError::NoProject(dir.to_owned());
        let dir = fs::canonicalize(dir).map_err(|_| no_crate())?;
        let manifest = dir.join("Cargo.toml");
        if !manifest.is_file() {
            return Err(no_crate());
        }

        let mut cargo = step::cargo(&dir);
        cargo.args(["metadata", "--no-deps", "--format-version", "1", "--manifest-path"]);
        cargo.arg(&manifest);
        if let Some(chosen) = env::var_os("CARGO_TARGET_DIR") {
            let chosen = Path::new(&chosen);
            cargo.env("CARGO_TARGET_DIR", absolute(chosen).map_err(BuildError::io(chosen))?);
        }
        let metadata = step::run_checked(&mut cargo, "", &|_| {})?;

        let mut guest = Guest::parse(&metadata, dir)?;
        if let Some(chosen) = target_dir {
            guest.target_dir = absolute(chosen).map_err(BuildError::io(chosen))?;
        }
        Ok(guest)
    }

    fn parse(metadata: &str, dir: PathBuf) -> Result<Guest, BuildError> {
        let metadata: CargoMetadata = serde_json::from_str(metadata)
            .expect("`cargo metadata` writes the requested format version");
        let manifest = dir.join("Cargo.toml");
        let Some(package) = metadata.packages.into_iter().find(|p| p.manifest_path == manifest)
        else {
            return Err(BuildError::Workspace(dir));
        };
        let library =
            package.targets.into_iter().find(|t| t.crate_types.contains(&"cdylib".into()));
        let Some(library) = library else {
            return Err(BuildError::NoCdylib { package: package.name });
        };
        Ok(Guest {
            package: package.name,
            library: library.name.replace('-', "_"),
            dir,
            manifest,
            target_dir: metadata.target_directory,
        })
    }
}

#[derive(Deserialize)]
struct CargoMetadata {
    packages: Vec<CargoPackage>,
    target_directory: PathBuf,
}

#[derive(Deserialize)]
struct CargoPackage {
    name: String,
    manifest_path: PathBuf,
    targets: Vec<CargoTarget>,
}

#[derive(Deserialize)]
struct CargoTarget {
    name: String,
    crate_types: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    const METADATA: &str = r#"{
        "packages": [
            {"name": "host", "manifest_path": "/w/host/Cargo.toml", "targets": [
                {"name": "host", "crate_types": ["lib"]}]},
            {"name": "guest-door", "manifest_path": "/w/door/Cargo.toml", "targets": [
                {"name": "journeys", "crate_types": ["bin"]},
                {"name": "guest-door", "crate_types": ["cdylib", "rlib"]}]}
        ],
        "target_directory": "/w/target", "version": 1
    }"#;

    #[test]
    fn a_guest_is_the_workspace_member_in_the_given_folder() {
        let guest = Guest::parse(METADATA, "/w/door".into()).unwrap();
        assert_eq!(guest.package, "guest-door");
        assert_eq!(guest.library, "guest_door");
        assert_eq!(guest.target_dir, Path::new("/w/target"));
    }

    #[test]
    fn a_missing_cdylib_and_a_workspace_folder_are_distinct_errors() {
        let error = Guest::parse(METADATA, "/w/host".into()).unwrap_err();
        assert_eq!(error.to_string(), "crate `host` has no library of type `cdylib`");
        let error = Guest::parse(METADATA, "/w".into()).unwrap_err();
        assert_eq!(error.to_string(), "`/w` is a workspace, not a crate");
    }
}
