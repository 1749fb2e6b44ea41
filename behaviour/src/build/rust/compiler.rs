//! The Rust compiler for WebAssembly: the active one if it has the target, otherwise
//! Debian's.

mod debian;

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::build::files::{entries, find_program};
use crate::build::{BuildError, BuildOptions, cache_dir, step};

/// The compilation target of a guest. It has no operating system, so a component imports
/// only the interfaces of its world.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// The compiler that cargo uses for WebAssembly.
pub(crate) enum Compiler {
    /// The active Rust.
    Active,
    /// A fetched compiler and its linker. `fetch_id` identifies its standard library.
    Fetched { rustc: PathBuf, linker: PathBuf, fetch_id: String },
}

impl Compiler {
    /// Sets the environment variables that make cargo use the compiler.
    pub(crate) fn configure(&self, cargo: &mut Command) {
        if let Compiler::Fetched { rustc, linker, .. } = self {
            cargo.env("RUSTC", rustc);
            cargo.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker);
        }
    }

    /// Returns a compiler flag that differs between fetches. Cargo distinguishes compilers
    /// only by version. Without the flag, cargo would mix crates compiled against the
    /// standard libraries of two fetches, and the build would fail until the target
    /// directory is emptied.
    pub(crate) fn flag(&self) -> Option<String> {
        match self {
            Compiler::Active => None,
            Compiler::Fetched { fetch_id, .. } => Some(format!("-Cmetadata={fetch_id}")),
        }
    }
}

/// Finds the compiler for the guest in `dir`.
pub(crate) fn find(dir: &Path, options: &BuildOptions<'_>) -> Result<Compiler, BuildError> {
    if active_has_target(dir)? {
        return Ok(Compiler::Active);
    }
    let Some(cache) = cache_dir(options)? else {
        let reason = "there is no directory for a fetched compiler: \
                      neither BEHAVIOUR_CACHE_DIR nor HOME is set";
        return Err(BuildError::NoCompiler { reason: reason.into() });
    };
    let linker = active_linker(dir)?;
    let fetched = debian::compiler(&cache, dir, linker.is_none(), options.progress)?;
    let linker = linker.or_else(|| fetched.linker()).ok_or_else(|| BuildError::NoCompiler {
        reason: "there is no linker for a fetched compiler: neither rust-lld nor wasm-ld".into(),
    })?;
    Ok(Compiler::Fetched { rustc: fetched.rustc(), linker, fetch_id: fetched.fetch_id()? })
}

fn active_has_target(dir: &Path) -> Result<bool, BuildError> {
    let mut rustc = step::command("rustc", dir);
    rustc.args(["--print", "target-libdir", "--target", TARGET]);
    // The command fails if the compiler does not support the target.
    let ended = step::run(&mut rustc, "", &|_| {})?;
    let libraries = Path::new(ended.stdout.trim());
    Ok(ended.status.success() && has_file(libraries, |name| name.starts_with("libstd-")))
}

/// Returns the WebAssembly linker of the active Rust or, if missing, of the system.
fn active_linker(dir: &Path) -> Result<Option<PathBuf>, BuildError> {
    let mut rustc = step::command("rustc", dir);
    let sysroot = step::run_checked(rustc.args(["--print", "sysroot"]), "", &|_| {})?;
    let hosts = entries(&Path::new(sysroot.trim()).join("lib").join("rustlib"));
    let mut shipped = hosts.into_iter().map(|host| host.join("bin").join("rust-lld"));
    let shipped = shipped.find(|linker| linker.is_file());
    Ok(shipped.or_else(|| find_program("wasm-ld")))
}

fn has_file(folder: &Path, is_it: impl Fn(&str) -> bool) -> bool {
    entries(folder).iter().filter_map(|path| path.file_name().and_then(OsStr::to_str)).any(is_it)
}
