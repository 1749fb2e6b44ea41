//! The build script of the programs: the facts about a build that `--version` prints.
//!
//! The commit comes from the variable `BEHAVIOUR_COMMIT` or, in a release build inside a
//! clone, from git. A debug build has none, so that a commit does not rebuild every program.

#![allow(clippy::print_stdout, reason = "cargo reads the output of a build script")]

use std::path::Path;
use std::process::Command;
use std::{env, fs};

fn main() {
    let package = env::var("CARGO_MANIFEST_DIR").expect("cargo sets the variable");
    let package = Path::new(&package);
    let root = package.parent().expect("a package is in a folder of the workspace");
    println!("cargo::rerun-if-changed={}", root.join("program/build_info.rs").display());
    println!("cargo::rerun-if-env-changed=BEHAVIOUR_COMMIT");
    if env::var_os("BEHAVIOUR_COMMIT").is_none()
        && env::var("PROFILE").is_ok_and(|profile| profile == "release")
        && let Some(commit) = commit(root)
    {
        println!("cargo::rustc-env=BEHAVIOUR_COMMIT={commit}");
    }
    println!("cargo::rustc-env=BEHAVIOUR_CONTRACT={}", contract(root));
    // Set by the build script of `plugin` for the packages that depend on it.
    if let Ok(wasmtime) = env::var("DEP_BEHAVIOUR_PLUGIN_WASMTIME") {
        println!("cargo::rustc-env=BEHAVIOUR_WASMTIME={wasmtime}");
    }
}

/// Returns the current commit, or `None` if the sources are not in a clone.
fn commit(root: &Path) -> Option<String> {
    // Without this, the commit could be that of a repository around an unpacked archive.
    if !root.join(".git").exists() {
        return None;
    }
    let git = |arguments: &[&str]| {
        let output = Command::new("git").current_dir(root).args(arguments).output().ok()?;
        let text = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        (output.status.success() && !text.is_empty()).then_some(text)
    };
    // The log of HEAD changes with each commit and each checkout.
    for file in ["HEAD", "logs/HEAD"] {
        if let Some(path) = git(&["rev-parse", "--git-path", file])
            && root.join(&path).exists()
        {
            println!("cargo::rerun-if-changed={}", root.join(path).display());
        }
    }
    git(&["rev-parse", "--short=12", "HEAD"])
}

/// Returns the version of the WIT package.
fn contract(root: &Path) -> String {
    let file = root.join("wit/world.wit");
    println!("cargo::rerun-if-changed={}", file.display());
    let text = fs::read_to_string(&file).expect("the contract is in the sources");
    let versions = text.lines().filter_map(|line| line.strip_prefix("package device:behaviour@"));
    versions.filter_map(|rest| rest.strip_suffix(';')).next().expect("a version").to_owned()
}
