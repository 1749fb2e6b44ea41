//! Compilation of `tutorial/play` by cargo, with a count of the compiled crates.

use std::collections::BTreeSet;
use std::env;
use std::fmt;
use std::io::{self, BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::progress::Progress;

const STEP: &str = "step 1 of 3: compiling all parts";

/// Interval at which the elapsed time is updated while a crate is being compiled.
const TICK: Duration = Duration::from_secs(1);

/// Capacity of the queue of cargo's messages.
const MAX_MESSAGES: usize = 64;

/// Reason why the play was not compiled.
#[derive(Debug)]
pub(crate) enum CompileError {
    /// Failure to start `cargo`.
    NotStarted(io::Error),
    /// Failed compilation. Cargo has printed the errors.
    Failed(ExitStatus),
    /// Compilation without an executable in cargo's messages.
    NoProgram,
}

impl fmt::Display for CompileError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CompileError::NotStarted(error) => write!(f, "`cargo` does not start: {error}"),
            CompileError::Failed(status) => {
                write!(f, "the tutorial does not compile: `cargo build` ended with {status}")
            }
            CompileError::NoProgram => write!(f, "`cargo build` named no program"),
        }
    }
}

/// Compiles the play and returns the path of its executable.
pub(crate) fn play() -> Result<PathBuf, CompileError> {
    let mut progress = Progress::start(STEP);
    progress.set_total(count_crates());
    let mut cargo = cargo(&[
        "build",
        "--profile=tutorial",
        "--quiet",
        "--message-format=json-render-diagnostics",
    ]);
    if let Some(target) = target_dir() {
        cargo.arg("--target-dir").arg(target);
    }
    // Cargo itself prints warnings and errors to standard error.
    let mut child = cargo.stdout(Stdio::piped()).spawn().map_err(CompileError::NotStarted)?;
    let output = child.stdout.take().expect("standard output is piped");
    let (sender, messages) = mpsc::sync_channel(MAX_MESSAGES);
    thread::spawn(move || {
        for line in BufReader::new(output).lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });

    let mut done = BTreeSet::new();
    let mut program = None;
    loop {
        match messages.recv_timeout(TICK) {
            Ok(line) => {
                if let Some(artifact) = Artifact::parse(&line) {
                    done.insert(artifact.package);
                    program = artifact.executable.or(program);
                }
            }
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
        progress.show(done.len());
    }
    let status = child.wait().map_err(CompileError::NotStarted)?;
    if !status.success() {
        return Err(CompileError::Failed(status));
    }
    progress.end(done.len());
    program.ok_or(CompileError::NoProgram)
}

/// Returns the number of crates in the play, or 0 if it is unknown. Cargo downloads missing
/// sources and shows the progress on standard error.
fn count_crates() -> usize {
    let tree = ["tree", "--edges", "normal,build", "--prefix", "none", "--format", "{p}"];
    let Ok(output) = cargo(&tree).stderr(Stdio::inherit()).output() else { return 0 };
    let tree = String::from_utf8_lossy(&output.stdout);
    // `cargo tree` marks repeated crates with `(*)`.
    let crates: BTreeSet<&str> = tree.lines().map(|line| line.trim_end_matches(" (*)")).collect();
    crates.len()
}

/// Returns a command for the cargo that started this program, with the folder of the play.
fn cargo(arguments: &[&str]) -> Command {
    let play = Path::new(env!("CARGO_MANIFEST_DIR")).join("play");
    let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(arguments).arg("--manifest-path").arg(play.join("Cargo.toml"));
    // cargo finds its configuration, and rustup its toolchain, by the working directory.
    cargo.current_dir(play).stdin(Stdio::null());
    // cargo sets these variables for the program that it runs. Passing them on would make build
    // scripts run again in the next ordinary build.
    for (name, _) in env::vars_os() {
        let about_us = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_", "CARGO_CRATE_"];
        if name.to_str().is_some_and(|name| about_us.iter().any(|start| name.starts_with(start))) {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// Returns the target directory that contains this program. `--target-dir` may have changed it.
fn target_dir() -> Option<PathBuf> {
    let program = env::current_exe().ok()?;
    Some(program.parent()?.parent()?.to_owned())
}

/// A `compiler-artifact` message of cargo.
#[derive(Debug, PartialEq)]
struct Artifact {
    package: String,
    executable: Option<PathBuf>,
}

impl Artifact {
    /// Parses one line of cargo's messages. Two strings suffice, so no JSON parser is used.
    /// They contain escapes only if a path has quotation marks or control characters.
    fn parse(line: &str) -> Option<Artifact> {
        if text(line, "reason")? != "compiler-artifact" || line.contains("[\"custom-build\"]") {
            return None;
        }
        let package = text(line, "package_id")?.to_owned();
        Some(Artifact { package, executable: text(line, "executable").map(PathBuf::from) })
    }
}

/// Returns the value of a string field in a JSON object on one line.
fn text<'a>(line: &'a str, field: &str) -> Option<&'a str> {
    let (_, value) = line.split_once(&format!("\"{field}\":\""))?;
    value.split_once('"').map(|(text, _)| text)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIBRARY: &str = r#"{"reason":"compiler-artifact","package_id":"registry+https://github.com/rust-lang/crates.io-index#libc@0.2.191","target":{"kind":["lib"],"name":"libc"},"executable":null,"fresh":true}"#;
    const SCRIPT: &str = r#"{"reason":"compiler-artifact","package_id":"registry+https://github.com/rust-lang/crates.io-index#libc@0.2.191","target":{"kind":["custom-build"],"name":"build-script-build"},"executable":null,"fresh":true}"#;
    const PROGRAM: &str = r#"{"reason":"compiler-artifact","package_id":"path+file:///w/tutorial/play#tutorial-play@0.1.0","target":{"kind":["bin"],"name":"tutorial-play"},"executable":"/w/target/debug/tutorial-play","fresh":false}"#;
    const OTHER: &str = r#"{"reason":"build-finished","success":true}"#;

    #[test]
    fn a_compiled_library_is_counted_but_its_build_script_is_not() {
        let library = Artifact::parse(LIBRARY).unwrap();
        assert!(library.package.ends_with("#libc@0.2.191"));
        assert_eq!(library.executable, None);
        assert_eq!(Artifact::parse(SCRIPT), None);
        assert_eq!(Artifact::parse(OTHER), None);
        assert_eq!(Artifact::parse("warning: not JSON"), None);
    }

    #[test]
    fn the_executable_is_taken_from_cargos_messages() {
        let program = Artifact::parse(PROGRAM).unwrap().executable;
        assert_eq!(program, Some(PathBuf::from("/w/target/debug/tutorial-play")));
    }
}
