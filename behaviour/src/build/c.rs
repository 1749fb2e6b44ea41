//! C and C++, with the compiler in Zig: clang with a libc for WASI.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::files::entries;
use super::{BuildContext, BuildError, glue, zig};
use crate::language::Language;

/// The WASI function that a module imports if it writes to a stream.
const WRITES: &[u8] = b"fd_write";

/// A source file that makes standard output unbuffered, like standard error. Nothing flushes
/// it after a call, and a trap would discard buffered output.
const STDOUT: &str = "\
#include <stdio.h>

__attribute__((constructor(101))) static void unbuffer_stdout(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
}
";

/// Compiles the entry file, the other source files in its folder, and the glue.
pub(crate) fn module(context: &BuildContext<'_>) -> Result<Vec<u8>, BuildError> {
    let generated = glue::write(context)?.folder;
    let module = linked(context, &generated, None)?;
    // `stdout.c` refers to standard output and so makes a module import WASI. It is linked
    // only if the module writes to a stream in any case. The second run is fast, since Zig
    // caches compiled files.
    if !module.windows(WRITES.len()).any(|bytes| bytes == WRITES) {
        return Ok(module);
    }
    let stdout = context.work.join(match context.project.language {
        Language::Cpp => "stdout.cpp",
        _ => "stdout.c",
    });
    fs::write(&stdout, STDOUT).map_err(BuildError::io(&stdout))?;
    linked(context, &generated, Some(&stdout))
}

fn linked(
    context: &BuildContext<'_>,
    generated: &Path,
    stdout: Option<&Path>,
) -> Result<Vec<u8>, BuildError> {
    let project = context.project;
    let cpp = project.language == Language::Cpp;
    let core = context.work.join("core.wasm");
    let mut clang = zig::command(context)?;
    clang.arg(if cpp { "c++" } else { "cc" });
    clang.args(["--target=wasm32-wasi", "-mexec-model=reactor", "-Os", "-s", "-Wall"]);
    // Zig's default stack is 16 MiB, which each call would reserve.
    clang.arg("-Wl,-z,stack-size=65536");
    if cpp {
        clang.args(["-std=c++23", "-fno-exceptions", "-fno-rtti"]);
    }
    // Zig removes assertions from optimised code, so `NDEBUG` is undefined here. Their messages
    // contain the file's path, which must not reveal the author's home directory.
    clang.arg("-UNDEBUG").arg(format!("-fmacro-prefix-map={}/=", project.dir.display()));
    clang.arg("-I").arg(generated);
    clang.args(sources(&project.entry)).args(stdout);
    clang.args(entries(generated).iter().filter(|path| is(path, &["c", "cpp", "o"])));
    clang.arg("-o").arg(&core);
    context.compile(&mut clang)?;
    context.read(&core)
}

/// Returns the entry file and all files in its folder with the same extension.
fn sources(entry: &Path) -> Vec<PathBuf> {
    let kind = entry.extension().and_then(OsStr::to_str).unwrap_or_default();
    let folder = entry.parent().unwrap_or(Path::new("."));
    entries(folder).into_iter().filter(|path| is(path, &[kind])).collect()
}

fn is(path: &Path, kinds: &[&str]) -> bool {
    path.extension().and_then(OsStr::to_str).is_some_and(|kind| kinds.contains(&kind))
}
