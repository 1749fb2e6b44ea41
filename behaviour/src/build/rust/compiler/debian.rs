//! Debian's own Rust compiler, fetched into a folder, with a standard library for
//! WebAssembly built from Debian's sources.
//!
//! Compiler and sources must have the same version. Debian packages both for its web
//! browsers, as `rustc-web` and `rust-web-src`. rustup is not used, because it needs a server
//! of its own, and a network may allow only the distribution's archives. This module needs no
//! root privileges and installs nothing on the system.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use super::TARGET;
use crate::build::apt::{Archives, Package};
use crate::build::files::{entries, file_name, find_program, write_script};
use crate::build::{BuildError, Progress, cache, step};

/// The folder with the unpacked packages, laid out as a root file system.
const UNPACKED: &str = "unpacked";

/// A complete compiler, represented by its folder.
pub(crate) struct DebianCompiler(PathBuf);

impl DebianCompiler {
    pub(crate) fn rustc(&self) -> PathBuf {
        self.0.join("rustc")
    }

    /// Returns an id that differs between fetches: the time of the fetch in nanoseconds.
    pub(crate) fn fetch_id(&self) -> Result<String, BuildError> {
        let rustc = self.rustc();
        let written = fs::metadata(&rustc).and_then(|file| file.modified());
        let written = written.map_err(BuildError::io(&rustc))?;
        let since = written.duration_since(UNIX_EPOCH).unwrap_or_default();
        Ok(since.as_nanos().to_string())
    }

    /// Returns the linker that was fetched with the compiler, if any.
    pub(crate) fn linker(&self) -> Option<PathBuf> {
        let programs = entries(&self.0.join(UNPACKED).join("usr/bin"));
        programs.into_iter().find(|path| file_name(path).starts_with("wasm-ld"))
    }
}

/// Returns the compiler in `cache`, and fetches it first if it is missing. `with_linker` includes
/// a linker. The standard library is built with the cargo that is active in `dir`.
pub(crate) fn compiler(
    cache: &Path,
    dir: &Path,
    with_linker: bool,
    progress: Progress<'_>,
) -> Result<DebianCompiler, BuildError> {
    let linker = if with_linker { "-lld" } else { "" };
    let name = format!("debian-rust-{}{linker}", std::env::consts::ARCH);
    let fetched = cache::folder(cache, &name, progress, |home| {
        fetch(home, with_linker, progress)?;
        build_std(home, dir, progress)
    })?;
    Ok(DebianCompiler(fetched))
}

fn fetch(home: &Path, with_linker: bool, progress: Progress<'_>) -> Result<(), BuildError> {
    for program in ["apt-get", "dpkg"] {
        if find_program(program).is_none() {
            let reason = format!("fetching Debian's compiler needs `{program}`, which is missing");
            return Err(BuildError::NoCompiler { reason });
        }
    }

    let work = home.join("work");
    let archives = Archives::open(&work, progress)?;
    let packages = packages(&archives, with_linker)?;
    let megabytes = packages.iter().map(|package| package.bytes).sum::<u64>() / 1_000_000;
    let step_name = format!("fetching Debian's Rust compiler ({megabytes} MB, once)");
    archives.unpack(&packages, &step_name, &home.join(UNPACKED))?;
    fs::remove_dir_all(&work).map_err(BuildError::io(&work))?;
    write_rustc(home)
}

/// Returns the packages of the compiler, of its sources and of the libraries that it is linked
/// with. `with_linker` adds the linker.
fn packages(archives: &Archives<'_>, with_linker: bool) -> Result<Vec<Package>, BuildError> {
    let compiler = ["rustc-web", "rust-web-src", "libstd-rust-web-dev"].map(str::to_owned);
    let mut packages = archives.show(&compiler)?;
    // The package names contain versions, which change when the archive is updated.
    let is_runtime = |name: &&String| {
        name.strip_prefix("libstd-rust-web-").is_some_and(|rest| rest.starts_with(char::is_numeric))
    };
    let runtime = packages.iter().flat_map(|package| &package.depends).find(is_runtime).cloned();
    let (3, Some(runtime)) = (packages.len(), runtime) else {
        let reason = match &archives.message {
            Some(message) => format!("the distribution's archives have no `rustc-web`: {message}"),
            None => "the distribution's archives have no `rustc-web`".into(),
        };
        return Err(BuildError::NoCompiler { reason });
    };

    let mut names = vec![runtime.clone()];
    if with_linker {
        // The linker has the version of the compiler's LLVM: `lld-19` for `libllvm19`.
        let runtime = archives.show(&[runtime])?;
        let versions = runtime
            .iter()
            .flat_map(|package| &package.depends)
            .filter_map(|name| name.strip_prefix("libllvm"));
        names.extend(versions.map(|version| format!("lld-{version}")));
    }
    packages.extend(archives.with_dependencies(names)?);
    Ok(packages)
}

/// Writes the script `rustc`, which sets the library path and runs the compiler.
fn write_rustc(home: &Path) -> Result<(), BuildError> {
    let root = home.join(UNPACKED);
    let mut folders = vec![root.join("usr/lib")];
    for lib in [root.join("usr/lib"), root.join("lib")] {
        for folder in entries(&lib) {
            let name = file_name(&folder);
            if name.contains("-linux-") {
                folders.push(folder);
            } else if name.starts_with("llvm-") {
                folders.push(folder.join("lib"));
            }
        }
    }
    let relative_to_script = |folder: &PathBuf| {
        let path = folder.strip_prefix(home).expect("all folders are below `home`");
        format!("$here/{}", path.display())
    };
    let folders: Vec<String> = folders.iter().map(relative_to_script).collect();
    let script = format!(
        "#!/bin/sh\nhere=$(dirname \"$(readlink -f \"$0\")\")\n\
         LD_LIBRARY_PATH=\"{}\"\nexport LD_LIBRARY_PATH\n\
         exec \"$here/{UNPACKED}/usr/bin/rustc\" \"$@\"\n",
        folders.join(":")
    );
    write_script(&home.join("rustc"), &script)
}

/// Compiles the standard library into the compiler's folder, so that the compiler
/// supports the target like an installed one.
fn build_std(home: &Path, dir: &Path, progress: Progress<'_>) -> Result<(), BuildError> {
    let work = home.join("std");
    let source = work.join("src");
    fs::create_dir_all(&source).map_err(BuildError::io(&source))?;
    let write = |path: PathBuf, text: &str| fs::write(&path, text).map_err(BuildError::io(&path));
    write(source.join("lib.rs"), "#![no_std]\n")?;
    write(
        work.join("Cargo.toml"),
        "[package]\nname = \"empty\"\nversion = \"0.0.0\"\nedition = \"2021\"\n[workspace]\n\
         [profile.release]\npanic = \"abort\"\nopt-level = \"s\"\n",
    )?;

    let mut cargo = step::cargo(dir);
    cargo.args(["build", "--quiet", "--release", "--target", TARGET]);
    cargo.arg("-Zbuild-std=std,panic_abort");
    // The default features include backtraces, which this target does not support. Without
    // these features, the build has 5 fewer crates and takes a fifth less time.
    cargo.arg("-Zbuild-std-features=");
    cargo.arg("--manifest-path").arg(work.join("Cargo.toml"));
    cargo.arg("--target-dir").arg(work.join("target"));
    cargo.env("RUSTC", home.join("rustc"));
    // Debian's compiler is stable; building a standard library needs nightly features.
    cargo.env("RUSTC_BOOTSTRAP", "1");
    // Guests can be linked with `lto` only if the standard library contains bitcode.
    let mut flags = vec!["-Cembed-bitcode=yes".to_owned()];
    let sources = home.join(UNPACKED).join("usr/lib/rustlib/src");
    flags.push(format!("--remap-path-prefix={}=", sources.display()));
    flags.extend(step::remap_cargo_home());
    cargo.env("CARGO_ENCODED_RUSTFLAGS", flags.join("\x1f"));
    step::run_checked(
        &mut cargo,
        "compiling the standard library for WebAssembly (once)",
        progress,
    )?;

    let mut rustc = step::command(home.join("rustc"), home);
    rustc.args(["--print", "target-libdir", "--target", TARGET]);
    let libraries = PathBuf::from(step::run_checked(&mut rustc, "", progress)?.trim());
    fs::create_dir_all(&libraries).map_err(BuildError::io(&libraries))?;
    for path in entries(&work.join("target").join(TARGET).join("release/deps")) {
        let name = file_name(&path);
        if name.ends_with(".rlib") && !name.starts_with("libempty") {
            fs::copy(&path, libraries.join(name)).map_err(BuildError::io(&path))?;
        }
    }
    // The sources, a third of a gigabyte, are no longer needed.
    for unused in [work, home.join(UNPACKED).join("usr/src")] {
        fs::remove_dir_all(&unused).map_err(BuildError::io(&unused))?;
    }
    Ok(())
}
