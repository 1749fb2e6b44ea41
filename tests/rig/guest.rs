//! The reboot guests as components, each built once for the whole test process.

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use behaviour::BuildOptions;

use crate::workspace;

/// The file of the component. The first call builds it, which takes seconds,
/// and on a machine without the Rust target a minute or two; the others wait.
pub fn reboot_component() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build("guest-reboot"))
}

/// The same with the power to reboot the machine.
pub fn real_reboot_component() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| build("guest-reboot/real"))
}

fn build(folder: &str) -> PathBuf {
    // Past the test harness, which keeps what a test prints until its end.
    let progress = |line: &str| drop(writeln!(io::stderr(), "reboot guest: {line}"));
    let options = BuildOptions { progress: &progress, ..BuildOptions::default() };
    behaviour::build(&workspace().join(folder), &options).unwrap().path
}
