//! C and C++, by the compiler that comes with Zig: clang with a libc for WASI.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use super::files::entries;
use super::{BuildError, Workshop, glue, zig};
use crate::language::Language;

/// Compiles the file to begin with, and those beside it, with the glue.
pub(crate) fn module(workshop: &Workshop<'_>) -> Result<Vec<u8>, BuildError> {
    let project = workshop.project;
    let generated = glue::write(workshop)?.folder;

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
    clang.arg("-I").arg(&generated);
    clang.args(sources(&project.entry));
    clang.args(entries(&generated).iter().filter(|path| is(path, &["c", "cpp", "o"])));
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
