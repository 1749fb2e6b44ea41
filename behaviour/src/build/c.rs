//! C and C++, by the compiler that comes with Zig: clang with a libc for WASI.

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};

use super::files::entries;
use super::{BuildError, Workshop, glue, zig};
use crate::language::Language;

/// The import of a module that writes to a stream.
const WRITES: &[u8] = b"fd_write";

/// Lets standard output through at once, as standard error is: nobody flushes it at the
/// end of a call, and a trap is no end.
const STDOUT: &str = "\
#include <stdio.h>

__attribute__((constructor(101))) static void let_through(void) {
    setvbuf(stdout, NULL, _IONBF, 0);
}
";

/// Compiles the file to begin with, and those beside it, with the glue.
pub(crate) fn module(workshop: &Workshop<'_>) -> Result<Vec<u8>, BuildError> {
    let generated = glue::write(workshop)?.folder;
    let module = linked(workshop, &generated, None)?;
    // Only what writes has a standard output: naming it would bring WASI into the others.
    // What has been compiled is not compiled again.
    if !module.windows(WRITES.len()).any(|bytes| bytes == WRITES) {
        return Ok(module);
    }
    let stdout = workshop.work.join(match workshop.project.language {
        Language::Cpp => "stdout.cpp",
        _ => "stdout.c",
    });
    fs::write(&stdout, STDOUT).map_err(BuildError::io(&stdout))?;
    linked(workshop, &generated, Some(&stdout))
}

fn linked(
    workshop: &Workshop<'_>,
    generated: &Path,
    stdout: Option<&Path>,
) -> Result<Vec<u8>, BuildError> {
    let project = workshop.project;
    let cpp = project.language == Language::Cpp;
    let core = workshop.work.join("core.wasm");
    let mut clang = zig::command(workshop)?;
    clang.arg(if cpp { "c++" } else { "cc" });
    clang.args(["--target=wasm32-wasi", "-mexec-model=reactor", "-Os", "-s", "-Wall"]);
    // Zig would reserve 16 MiB, for each call anew.
    clang.arg("-Wl,-z,stack-size=65536");
    if cpp {
        clang.args(["-std=c++23", "-fno-exceptions", "-fno-rtti"]);
    }
    // Zig leaves assertions out where it optimises. They name the file, which is not to say
    // where the author's home is.
    clang.arg("-UNDEBUG").arg(format!("-fmacro-prefix-map={}/=", project.dir.display()));
    clang.arg("-I").arg(generated);
    clang.args(sources(&project.entry)).args(stdout);
    clang.args(entries(generated).iter().filter(|path| is(path, &["c", "cpp", "o"])));
    clang.arg("-o").arg(&core);
    workshop.compile(&mut clang)?;
    workshop.read(&core)
}

/// The file to begin with, and all beside it of its kind.
fn sources(entry: &Path) -> Vec<PathBuf> {
    let kind = entry.extension().and_then(OsStr::to_str).unwrap_or_default();
    let folder = entry.parent().unwrap_or(Path::new("."));
    entries(folder).into_iter().filter(|path| is(path, &[kind])).collect()
}

fn is(path: &Path, kinds: &[&str]) -> bool {
    path.extension().and_then(OsStr::to_str).is_some_and(|kind| kinds.contains(&kind))
}
