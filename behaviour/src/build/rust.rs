//! Rust, compiled to a core module by cargo.
//!
//! The guest has a separate target directory, so that the build never waits for the
//! lock of a cargo that runs this program. The build neither calls rustup nor installs
//! anything.

use std::path::PathBuf;

use super::compiler::{Compiler, TARGET};
use super::guest::Guest;
use super::{BuildError, Progress, step};

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
