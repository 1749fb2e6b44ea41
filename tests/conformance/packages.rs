//! The Debian package and the container images, in a Debian system that systemd has booted and
//! in containers without privileges.
//!
//! The tests need root, since they create namespaces. mmdebstrap, systemd-nspawn, umoci and runc
//! are Debian's, unpacked below the target directory. The programs are those of the debug build.

mod container;
mod deb;
mod images;
mod machine;

use std::io::{self, Write as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use super::sdk::{exclusively, run};

/// Debian's packages with the tools of these tests.
const TOOLS: [&str; 5] = ["libsystemd-shared", "mmdebstrap", "runc", "systemd-container", "umoci"];

/// Returns `true` if this process is root. If not, prints that the test is skipped.
fn is_root() -> bool {
    let root = std::fs::metadata("/proc/self").unwrap().uid() == 0;
    if !root {
        skip("it creates namespaces, which needs root");
    }
    root
}

/// Prints that this test is skipped, and the reason.
fn skip(reason: &str) {
    let test = std::thread::current().name().unwrap_or("a test").to_owned();
    // The test harness would capture the output of `eprintln!`.
    writeln!(io::stderr(), "SKIPPED {test}: {reason}").ok();
}

/// Returns the folder with the unpacked tools.
fn tools() -> &'static Result<PathBuf, String> {
    static FOLDER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = exclusively("debian-tools", &TOOLS.join(" "), |folder| {
            let root = folder.join("root");
            std::fs::remove_dir_all(&root).ok();
            let script = rig::workspace().join(".ci/unpack");
            run(Command::new("bash").arg(script).arg(&root).args(TOOLS)).map(drop)
        })?;
        Ok(folder.join("root"))
    })
}

/// Returns the name of the folder of libraries for this processor.
fn libraries() -> String {
    format!("{}-linux-gnu", std::env::consts::ARCH)
}

/// Returns a program of this build, such as `behaviour-hub`.
fn program(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let folder = tests.parent().and_then(Path::parent).unwrap();
    let program = folder.join(name);
    assert!(program.exists(), "{} is missing: `cargo build -p {name}`", program.display());
    program
}
