//! Lua. The component contains the interpreter, which the C compiler in Zig compiles, and
//! the text of the plugin's modules.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use super::files::{entries, file_name};
use super::glue::{FOLDER, JSON_MODULE};
use super::toolchain::LUA;
use super::{BuildContext, BuildError, cache, glue, step, unwinding, zig};

/// The folder of Lua's sources in the toolchain.
const LUA_SOURCES: &str = "vendor/lua-src/lua-5.4.8";

/// Files of Lua that a plugin does not use: libraries that need an operating system, and the
/// list of all libraries.
const NOT_USED: [&str; 4] = ["linit.c", "liolib.c", "loadlib.c", "loslib.c"];

/// The library with the compiled interpreter and runtime.
const LIBRARY: &str = "lua.a";

/// The files of the runtime. Lua's sources include `setjmp.h`, which this target lacks.
const RUNTIME: [(&str, &str); 5] = [
    ("config.h", include_str!("lua/config.h")),
    ("runtime.c", include_str!("lua/runtime.c")),
    ("runtime.h", include_str!("lua/runtime.h")),
    ("setjmp.h", ""),
    ("unwind.c", include_str!("lua/unwind.c")),
];

const BOOT: &str = include_str!("lua/boot.lua");

/// The name of the program that checks the syntax of Lua files.
const CHECKER: &str = "lua-check";

/// The source of that program.
const CHECK: &str = include_str!("lua/check.c");

/// A module of the plugin.
struct Source {
    /// The name for `require`.
    module: String,
    /// The path in the project.
    file: String,
    text: String,
}

/// Compiles the interpreter with the plugin's modules.
pub(crate) fn module(context: &BuildContext<'_>) -> Result<Vec<u8>, BuildError> {
    glue::write(context)?;
    let sources = sources(context)?;
    let runtime = runtime(context)?;
    let mut check = step::command(runtime.join(CHECKER), &context.project.dir);
    let own = sources.iter().filter(|source| source.module != JSON_MODULE.0);
    check.args(own.map(|source| &source.file));
    context.step("checking", &mut check)?;

    let folder = context.work.join("lua");
    fs::create_dir_all(&folder).map_err(BuildError::io(&folder))?;
    write(&folder, "sources.c", &embedded(&sources))?;
    let texts: Vec<String> = sources.into_iter().map(|source| source.text).collect();
    write(&folder, "bindings.c", &glue::lua_bindings(context, &texts)?)?;

    let core = context.work.join("core.wasm");
    let mut clang = zig::command(context)?;
    clang.args(["cc", "--target=wasm32-wasi", "-Os", "-mexec-model=reactor", "-s"]);
    // Lua's own limit on nested calls is 200, with up to a kilobyte for each.
    clang.arg("-Wl,-z,stack-size=262144").arg("-I").arg(&runtime);
    clang.arg("-I").arg(context.toolchain_folder(&LUA)?.join(LUA_SOURCES));
    clang.args(["sources.c", "bindings.c"].map(|name| folder.join(name)));
    clang.arg(runtime.join(LIBRARY));
    clang.arg("-o").arg(&core);
    context.compile(&mut clang)?;
    let module = context.read(&core)?;
    // If the module is invalid, the encoder reports the reason.
    Ok(unwinding::with_checks(&module).unwrap_or(module))
}

/// Returns the folder with the compiled interpreter, runtime and syntax checker, which all
/// projects share.
fn runtime(context: &BuildContext<'_>) -> Result<PathBuf, BuildError> {
    let cache = context.cache.as_ref().ok_or(BuildError::NoCache)?;
    let lua = context.toolchain_folder(&LUA)?.join(LUA_SOURCES);
    let texts = RUNTIME.iter().map(|(_, text)| *text).chain([BOOT, CHECK]);
    let digest = texts.fold(Sha256::new(), |digest, text| digest.chain_update(text)).finalize();
    let id: String = digest.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    cache::folder(cache, &format!("lua-runtime-{id}"), context.progress, |folder| {
        RUNTIME.iter().try_for_each(|(name, text)| write(folder, name, text))?;
        write(folder, "boot.inc", &octets(BOOT))?;
        let mut clang = zig::command(context)?;
        clang.current_dir(folder).args(["build-lib", "-static", "-target", "wasm32-wasi"]);
        clang.args(["-OReleaseSmall", "-fstrip", "-lc", "-I", ".", "-I"]).arg(&lua);
        clang.args(["-cflags", "-fno-strict-aliasing", "-include", "config.h", "--"]);
        clang.args(RUNTIME.iter().map(|(name, _)| name).filter(|name| name.ends_with(".c")));
        let used = |path: &&PathBuf| is(path, "c") && !NOT_USED.contains(&&*file_name(path));
        clang.args(entries(&lua).iter().filter(used));
        clang.arg(format!("-femit-bin={LIBRARY}"));
        step::run_checked(&mut clang, "compiling the interpreter of Lua (once)", context.progress)?;
        build_checker(context, &lua, folder)
    })
}

fn write(folder: &Path, name: &str, text: &str) -> Result<(), BuildError> {
    let file = folder.join(name);
    fs::write(&file, text).map_err(BuildError::io(&file))
}

/// Compiles the program that checks the syntax of files for this machine.
fn build_checker(context: &BuildContext<'_>, lua: &Path, folder: &Path) -> Result<(), BuildError> {
    write(folder, "check.c", CHECK)?;
    let mut zig = zig::command(context)?;
    zig.current_dir(folder).args(["cc", "-O1", "-s", "-I"]).arg(lua).arg("check.c");
    // The names of the libraries for scripts end with `lib.c`.
    let used = |path: &&PathBuf| {
        let name = file_name(path);
        is(path, "c") && (!name.ends_with("lib.c") || name == "lauxlib.c") && name != "linit.c"
    };
    zig.args(entries(lua).iter().filter(used));
    zig.args(["-lm", "-o", CHECKER]);
    let step = "compiling the syntax checker of Lua (once)";
    step::run_checked(&mut zig, step, context.progress)?;
    Ok(())
}

/// Returns the plugin's modules, with that of the entry file first.
fn sources(context: &BuildContext<'_>) -> Result<Vec<Source>, BuildError> {
    let project = context.project;
    let folder = project.entry.parent().unwrap_or(&project.dir);
    let mut paths = vec![project.entry.clone()];
    let others = lua_files(folder, &context.target_dir);
    paths.extend(others.into_iter().filter(|path| *path != project.entry));
    let read = |path: &PathBuf| {
        let text = program::text::read(path).map_err(BuildError::io(path))?;
        let relative = |base: &Path| path.strip_prefix(base).unwrap_or(path).to_string_lossy();
        let module = relative(folder).replace('/', ".");
        let module = module.strip_suffix(".lua").unwrap_or(&module);
        let module = module.strip_suffix(".init").unwrap_or(module).to_owned();
        Ok(Source { module, file: relative(&project.dir).into_owned(), text })
    };
    let mut sources = paths.iter().map(read).collect::<Result<Vec<_>, BuildError>>()?;
    let (module, text) = JSON_MODULE;
    if sources.iter().any(|source| source.text.contains(module)) {
        let file = "behaviour/json.lua".into();
        sources.push(Source { module: module.into(), file, text: text.into() });
    }
    Ok(sources)
}

/// Returns the Lua files below a folder, except hidden and generated ones.
fn lua_files(folder: &Path, target_dir: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in entries(folder) {
        let name = file_name(&path);
        if name.starts_with('.') || name == FOLDER || name == "target" || path == target_dir {
            continue;
        }
        if path.is_dir() && !path.is_symlink() {
            found.extend(lua_files(&path, target_dir));
        } else if path.extension().is_some_and(|extension| extension == "lua") {
            found.push(path);
        }
    }
    found
}

/// Returns C code with the text of each module.
fn embedded(sources: &[Source]) -> String {
    let mut texts = String::from("#include \"runtime.h\"\n\n");
    let mut table = String::new();
    for (at, Source { module, file, text }) in sources.iter().enumerate() {
        let octets = octets(text);
        let length = text.len();
        let _ = writeln!(texts, "static const char text{at}[] = {{{octets}, 0}};");
        let _ =
            writeln!(table, "    {{{}, {}, text{at}, {length}}},", quoted(module), quoted(file));
    }
    format!(
        "{texts}\nconst Source behaviour_sources[] = {{\n{table}    {{NULL, NULL, NULL, 0}},\n}};\n"
    )
}

/// Returns the bytes of a text as numbers. An empty text is one space, since C has no empty
/// lists.
fn octets(text: &str) -> String {
    let text = if text.is_empty() { " " } else { text };
    let numbers: Vec<String> = text.bytes().map(|octet| octet.cast_signed().to_string()).collect();
    numbers.join(",")
}

fn quoted(text: &str) -> String {
    serde_json::to_string(text).expect("a string is valid JSON")
}

fn is(path: &Path, kind: &str) -> bool {
    path.extension().is_some_and(|extension| extension == kind)
}
