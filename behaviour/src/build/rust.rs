//! Rust, compiled to a core module by cargo.
//!
//! The guest has a separate target directory, so that the build never waits for the
//! lock of a cargo that runs this program. The build neither calls rustup nor installs
//! anything.

pub(super) mod compiler;
pub(super) mod guest;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use program::FileStamp;

use super::files::find_program;
use super::{BuildError, Progress, step};
use compiler::{Compiler, TARGET};
use guest::Guest;

/// Returns the identity of the compiler: the one on the `PATH`, and the user's choice of a
/// toolchain. Debian's compiler never changes in its cache.
pub(crate) fn tools() -> String {
    let rustc = find_program("rustc");
    let stamp = rustc.as_deref().and_then(FileStamp::at);
    format!("{rustc:?} {stamp:?} {:?}", env::var_os("RUSTUP_TOOLCHAIN"))
}

/// Returns the sources that a core module was compiled from, which cargo lists beside it.
pub(crate) fn sources(module: &Path) -> Vec<PathBuf> {
    let list = fs::read_to_string(module.with_extension("d")).unwrap_or_default();
    let sources = list.split_once(": ").map_or("", |(_, sources)| sources.trim_end());
    // A space in a path is escaped.
    let sources = sources.replace("\\ ", "\0");
    sources.split(' ').filter(|it| !it.is_empty()).map(|it| it.replace('\0', " ").into()).collect()
}

/// Compiles the core module, and returns its path.
pub(crate) fn compile(
    guest: &Guest,
    compiler: &Compiler,
    progress: Progress<'_>,
) -> Result<PathBuf, BuildError> {
    let target_dir = guest.target_dir.join("behaviour");
    let mut cargo = step::cargo(&guest.dir);
    cargo.args(["build", "--quiet", "--release", "--lib", "--target", TARGET]);
    cargo.arg("--manifest-path").arg(&guest.manifest);
    cargo.arg("--target-dir").arg(&target_dir);
    // A plugin's profile (small, without unwinding) must not apply to the rest of the guest's
    // workspace, so variables set it for this command only.
    for (key, value) in [
        ("OPT_LEVEL", "s"),
        ("LTO", "true"),
        ("CODEGEN_UNITS", "1"),
        ("PANIC", "abort"),
        ("STRIP", "true"),
        ("DEBUG", "false"),
    ] {
        cargo.env(format!("CARGO_PROFILE_RELEASE_{key}"), value);
    }
    // The linker's default stack is 1 MiB, most of a small plugin's memory. An argument
    // extends the flags in the guest's own configuration; a variable would replace them. JSON
    // strings are valid TOML.
    let mut flags = vec!["-Clink-arg=-zstack-size=65536".to_owned()];
    flags.extend(step::remap_cargo_home());
    flags.extend(compiler.flag());
    let flags = serde_json::to_string(&flags).expect("strings are valid JSON");
    cargo.arg("--config").arg(format!("target.{TARGET}.rustflags={flags}"));
    compiler.configure(&mut cargo);

    let ended = step::run(&mut cargo, &format!("compiling {}", guest.package), progress)?;
    if !ended.status.success() {
        return Err(BuildError::NotCompiled { name: guest.package.clone(), output: ended.stderr });
    }
    ended.stderr.lines().for_each(progress); // warnings
    Ok(target_dir.join(TARGET).join("release").join(&guest.library).with_extension("wasm"))
}
