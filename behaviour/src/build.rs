//! From a guest crate to a component, in three steps: a compiler for
//! WebAssembly is found, cargo makes a core module, and the module is wrapped.
//!
//! The guest is compiled in a target directory of its own, so that it never
//! waits for the lock of a cargo that may be running around us. Nothing here
//! calls rustup, and nothing is installed.

mod apt;
mod cache;
mod compiler;
mod debian;
mod error;
mod guest;
mod step;

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use compiler::{Compiler, TARGET};
pub use error::BuildError;
use guest::Guest;

/// Where a build says what it is doing: one line of text at a time.
pub type Progress<'a> = &'a (dyn Fn(&str) + Sync);

/// What a caller may choose about a build. The default is what most want.
pub struct BuildOptions<'a> {
    /// The component's file; else `components/NAME.wasm` in the target directory.
    pub out: Option<PathBuf>,
    /// Where compiled files go; else where cargo would put them.
    pub target_dir: Option<PathBuf>,
    /// Where a compiler is kept that had to be fetched; else `BEHAVIOUR_CACHE_DIR`,
    /// else `behaviour` in the user's cache directory.
    pub cache_dir: Option<PathBuf>,
    /// Told what takes time, and how long already.
    pub progress: Progress<'a>,
}

impl Default for BuildOptions<'_> {
    fn default() -> Self {
        BuildOptions { out: None, target_dir: None, cache_dir: None, progress: &|_| {} }
    }
}

/// A finished component.
#[derive(Debug)]
pub struct Built {
    /// The crate it was made of.
    pub package: String,
    /// Its file.
    pub path: PathBuf,
    /// Its size.
    pub bytes: usize,
}

/// Builds the guest crate in `dir`. Blocks: from seconds to, where a compiler
/// must be fetched first, minutes.
pub fn build(dir: &Path, options: &BuildOptions<'_>) -> Result<Built, BuildError> {
    let guest = Guest::find(dir, options.target_dir.as_deref())?;
    let compiler = compiler::find(&guest.dir, options)?;

    let module = compile(&guest, &compiler, options.progress)?;
    let module = fs::read(&module).map_err(BuildError::io(&module))?;
    if !names_the_world(&module) {
        return Err(BuildError::NotAPlugin { package: guest.package });
    }
    let component = plugin::encode(&module)
        .map_err(|source| BuildError::NoComponent { package: guest.package.clone(), source })?;

    let path = match &options.out {
        Some(path) => path.clone(),
        None => guest.target_dir.join("components").join(&guest.package).with_extension("wasm"),
    };
    write_whole(&path, &component)?;
    Ok(Built { package: guest.package, path, bytes: component.len() })
}

/// Has cargo make the core module, and gives its path.
fn compile(
    guest: &Guest,
    compiler: &Compiler,
    progress: Progress<'_>,
) -> Result<PathBuf, BuildError> {
    let target_dir = guest.target_dir.join("behaviour");
    let mut cargo = step::cargo(&guest.dir);
    cargo.args(["build", "--quiet", "--release", "--lib", "--target", TARGET]);
    cargo.arg("--manifest-path").arg(&guest.manifest);
    cargo.arg("--target-dir").arg(&target_dir);
    // The profile comes with the command: what is good for a plugin (small, and
    // nothing to unwind into) is not for the rest of the guest's workspace.
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
    // The linker's default stack is 1 MiB, most of a small plugin's memory. An
    // argument adds to the flags of the guest's own configuration, where a
    // variable would replace them. Of its values, JSON's strings are TOML's too.
    let mut flags = vec!["-Clink-arg=-zstack-size=65536".to_owned()];
    flags.extend(step::registry_unnamed());
    flags.extend(compiler.flag());
    let flags = serde_json::to_string(&flags).expect("texts are JSON");
    cargo.arg("--config").arg(format!("target.{TARGET}.rustflags={flags}"));
    compiler.lend_to(&mut cargo);

    let ended = step::run(&mut cargo, &format!("compiling {}", guest.package), progress)?;
    if !ended.status.success() {
        return Err(BuildError::NotCompiled {
            package: guest.package.clone(),
            output: ended.stderr,
        });
    }
    ended.stderr.lines().for_each(progress); // warnings
    Ok(target_dir.join(TARGET).join("release").join(&guest.library).with_extension("wasm"))
}

/// Whether a module was meant to be a plugin. One that was not would become a
/// component as well: a valid one, without anything to call.
fn names_the_world(module: &[u8]) -> bool {
    let export = b"device:behaviour/methods@";
    module.windows(export.len()).any(|bytes| bytes == export)
}

/// Writes a file whole or not at all: a host may be reading it, another build
/// may be writing it.
fn write_whole(path: &Path, bytes: &[u8]) -> Result<(), BuildError> {
    static COUNTER: AtomicU32 = AtomicU32::new(0);
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder).map_err(BuildError::io(folder))?;
    }
    let count = COUNTER.fetch_add(1, Ordering::Relaxed);
    let partial = path.with_extension(format!("{}-{count}.partial", std::process::id()));
    fs::write(&partial, bytes).map_err(BuildError::io(&partial))?;
    fs::rename(&partial, path).map_err(BuildError::io(path))
}
