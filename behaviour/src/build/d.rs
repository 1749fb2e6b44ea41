//! D without its runtime (`-betterC`). The glue in `gen/behaviour.d` replaces it, and the
//! linker and C library in Zig complete the module.

use super::glue::D_ROOT;
use super::{BuildContext, BuildError, glue, zig};

/// Compiles the entry file, its imports and the glue.
pub(crate) fn module(context: &BuildContext<'_>) -> Result<Vec<u8>, BuildError> {
    let generated = glue::write(context)?.folder;
    let project = context.project;
    let folder = project.entry.parent().unwrap_or(&project.dir);
    let object = context.work.join("plugin.o");
    let mut ldc = context.tool("ldc2")?;
    ldc.args(["-mtriple=wasm32-unknown-unknown-wasm", "-betterC", "-Oz", "-release", "-c"]);
    // The messages of failed checks name the author's files, without the home directory.
    ldc.args(["-boundscheck=on", "-enable-asserts", "-checkaction=C", "-i"]);
    ldc.arg(format!("-I={}", relative(folder, &project.dir)));
    ldc.arg(format!("-I={}", relative(&generated, &project.dir)));
    ldc.arg(format!("-of={}", object.display()));
    context.compile(ldc.arg(relative(&generated.join(D_ROOT), &project.dir)))?;

    let core = context.work.join("core.wasm");
    let mut clang = zig::command(context)?;
    clang.args(["cc", "--target=wasm32-wasi", "-mexec-model=reactor", "-s"]);
    // Zig's default stack is 16 MiB, which each call would reserve.
    clang.arg("-Wl,-z,stack-size=65536").arg(&object).arg("-o").arg(&core);
    context.compile(&mut clang)?;
    context.read(&core)
}

fn relative(path: &std::path::Path, base: &std::path::Path) -> String {
    let path = path.strip_prefix(base).unwrap_or(path).display().to_string();
    if path.is_empty() { ".".into() } else { path }
}
