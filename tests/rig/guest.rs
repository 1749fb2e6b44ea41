//! The reboot guests as components, each built once per test process.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use behaviour::BuildOptions;

use crate::workspace;

/// Returns the component of the reboot guest.
///
/// The first call builds it, which takes seconds, or a minute or two on a machine
/// without the Rust target. Concurrent calls wait for that build.
pub fn reboot_component() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build("guest-reboot"))
}

/// Returns the component of the reboot guest that can reboot the machine.
pub fn real_reboot_component() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build("guest-reboot/real"))
}

fn build(folder: &str) -> PathBuf {
    // Not `eprintln!`: the test harness captures it until the test ends.
    let progress = |line: &str| drop(writeln!(io::stderr(), "reboot guest: {line}"));
    let options = BuildOptions { progress: &progress, ..BuildOptions::default() };
    behaviour::build(&workspace().join(folder), &options).unwrap().path
}
