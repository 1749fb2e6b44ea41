//! Components of the reboot guests. Each is built once per test process.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use behaviour::BuildOptions;

use crate::workspace;

/// Returns the component of the reboot guest.
///
/// The first call builds it in seconds, or in a few minutes on a machine without the Rust
/// target. Concurrent calls wait for that build.
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
    // The test harness would capture the output of `eprintln!` until the test ends.
    let progress = |line: &str| drop(writeln!(io::stderr(), "reboot guest: {line}"));
    let options = BuildOptions { progress: &progress, ..BuildOptions::default() };
    behaviour::build(&workspace().join(folder), &options).unwrap().path
}
