//! Nim, which becomes C. The C compiler in Zig compiles that to a module.

use std::fs;
use std::path::PathBuf;

use serde::Deserialize;

use super::glue::NIM_ROOT;
use super::{BuildContext, BuildError, files, glue, step, zig};

/// Options of the compiler. The memory manager and exceptions need no operating system.
/// Neither the author's configuration nor packages of this machine affect a build.
const OPTIONS: [&str; 21] = [
    "compileToC",
    "--skipUserCfg",
    "--skipParentCfg",
    "--skipProjCfg",
    "--noNimblePath",
    "--cpu:wasm32",
    "--os:any",
    "--cc:clang",
    "--threads:off",
    "--mm:arc",
    "--exceptions:goto",
    "--define:useMalloc",
    "--define:noSignalHandler",
    "--noMain:on",
    "--define:release",
    "--opt:size",
    // An error has the author's files and lines. Full paths would reveal a home directory.
    "--stackTrace:on",
    "--lineTrace:on",
    "--excessiveStackTrace:off",
    "--hints:off",
    "--forceBuild:on",
];

/// The part of the compiler's list of C files that a build needs.
#[derive(Deserialize)]
struct Manifest {
    /// Each file with a command that would compile it.
    compile: Vec<(PathBuf, String)>,
}

/// The part of the compiler's description of itself that a build needs.
#[derive(Deserialize)]
struct Description {
    libpath: PathBuf,
}

/// Compiles the entry file, its imports and the glue.
pub(crate) fn module(context: &BuildContext<'_>) -> Result<Vec<u8>, BuildError> {
    let generated = glue::write(context)?.folder;
    let folder = context.work.join("nim");
    files::remove_folder(&folder)?;
    let mut nim = context.tool("nim")?;
    nim.args(OPTIONS).arg("--compileOnly").arg(format!("--nimcache:{}", folder.display()));
    context.compile(nim.arg(generated.join(NIM_ROOT)))?;

    let manifest = folder.join(NIM_ROOT).with_extension("json");
    let text = fs::read(&manifest).map_err(BuildError::io(&manifest))?;
    let manifest: Manifest = parsed(&manifest, &text)?;
    let core = context.work.join("core.wasm");
    let mut clang = zig::command(context)?;
    clang.args(["cc", "--target=wasm32-wasi", "-mexec-model=reactor", "-Os", "-s", "-w"]);
    // Zig's default stack is 16 MiB, which each call would reserve.
    clang.args(["-fno-strict-aliasing", "-Wl,-z,stack-size=131072", "-I"]);
    // The names of the files depend on the folders, but their order does not.
    clang.arg(libraries(context)?).args(manifest.compile.iter().map(|(file, _)| file));
    context.compile(clang.arg("-o").arg(&core))?;
    context.read(&core)
}

/// Returns the folder of Nim's own modules, which has the header for all C files.
fn libraries(context: &BuildContext<'_>) -> Result<PathBuf, BuildError> {
    let mut nim = context.tool("nim")?;
    nim.args(["dump", "--dump.format:json", "--hints:off", "-"]);
    let text = step::run_checked(&mut nim, "", context.progress)?;
    let description: Description = parsed("nim dump".as_ref(), text.as_bytes())?;
    Ok(description.libpath)
}

fn parsed<'a, T: Deserialize<'a>>(
    source: &std::path::Path,
    text: &'a [u8],
) -> Result<T, BuildError> {
    serde_json::from_slice(text).map_err(|error| BuildError::io(source)(error.into()))
}
