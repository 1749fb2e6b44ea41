//! Builds of plugins: the language's own tools compile the sources to a core module
//! or a component, and a core module is wrapped as a component.
//!
//! Each language has a module named after it, and [`project`] determines the
//! language. The tools come from the cache, which [`setup`] fills, or from the `PATH`.
//! Nothing is installed on the machine, and the component's file is written atomically.

mod assemblyscript;
mod c;
mod cache;
mod compiler;
mod error;
mod files;
mod glue;
mod go;
mod guest;
mod project;
mod python;
mod rust;
mod script;
mod step;
mod toolchain;
mod wat;
mod zig;

use std::fs;
use std::path::{Path, PathBuf, absolute};
use std::process::Command;

use crate::language::Language;
pub use error::BuildError;
use guest::Guest;
use project::Project;
use toolchain::Toolchain;

/// A callback for progress messages, each of one line.
pub type Progress<'a> = &'a (dyn Fn(&str) + Sync);

/// Options of a build; the default suits most callers.
pub struct BuildOptions<'a> {
    /// The component's file; by default `components/NAME.wasm` in the target directory.
    pub out: Option<PathBuf>,
    /// The directory for compiled files; by default `target` in the project's folder,
    /// or cargo's target directory.
    pub target_dir: Option<PathBuf>,
    /// The directory for fetched tools; by default `BEHAVIOUR_CACHE_DIR`, or else
    /// `behaviour` in the user's cache directory.
    pub cache_dir: Option<PathBuf>,
    /// The callback that reports each long step, and reminders while it runs.
    pub progress: Progress<'a>,
}

impl Default for BuildOptions<'_> {
    fn default() -> Self {
        BuildOptions { out: None, target_dir: None, cache_dir: None, progress: &|_| {} }
    }
}

/// A finished component.
#[derive(Debug)]
pub struct BuiltComponent {
    /// The name of the project.
    pub name: String,
    /// The component's file.
    pub path: PathBuf,
    /// The size of the component, in bytes.
    pub bytes: usize,
}

/// Builds the plugin in `dir`. Blocks for less than a second or, if the Rust compiler
/// must be fetched first, for several minutes.
pub fn build(dir: &Path, options: &BuildOptions<'_>) -> Result<BuiltComponent, BuildError> {
    let project = Project::find(dir)?;
    let (name, target_dir, component) = match project.language {
        Language::Rust => {
            let guest = Guest::find(&project.dir, options.target_dir.as_deref())?;
            let compiler = compiler::find(&guest.dir, options)?;
            let module = rust::compile(&guest, &compiler, options.progress)?;
            let module = fs::read(&module).map_err(BuildError::io(&module))?;
            check_world(&guest.package, &module)?;
            let component = plugin::encode(&module).map_err(|source| BuildError::NoComponent {
                name: guest.package.clone(),
                source,
            })?;
            (guest.package, guest.target_dir, component)
        }
        _ => {
            let context = BuildContext::open(&project, options)?;
            let component = context.component()?;
            (project.name.clone(), context.target_dir, component)
        }
    };
    let path = match &options.out {
        Some(path) => path.clone(),
        None => target_dir.join("components").join(format!("{name}.wasm")),
    };
    files::write_atomically(&path, &component)?;
    Ok(BuiltComponent { name, path, bytes: component.len() })
}

/// Fetches the tools that build plugins in this language, unless they are present,
/// and returns a line with their location. Blocks during the download.
pub fn setup(language: Language, options: &BuildOptions<'_>) -> Result<String, BuildError> {
    match (language, Toolchain::of(language)) {
        (Language::Rust, _) => match compiler::find(Path::new("."), options)? {
            compiler::Compiler::Active => Ok("the active Rust has the target".into()),
            compiler::Compiler::Fetched { rustc, .. } => Ok(rustc.display().to_string()),
        },
        (_, None) => Ok("no tools needed".into()),
        (_, Some(toolchain)) => {
            let cache = cache_dir(options)?.ok_or(BuildError::NoCache)?;
            let folder = toolchain.fetch(&cache, options.progress)?;
            Ok(folder.display().to_string())
        }
    }
}

/// The project, paths and options of a build.
struct BuildContext<'a> {
    project: &'a Project,
    target_dir: PathBuf,
    /// The folder for intermediate files.
    work: PathBuf,
    /// The project's WIT, or the default world's.
    wit: PathBuf,
    cache: Option<PathBuf>,
    progress: Progress<'a>,
}

impl<'a> BuildContext<'a> {
    fn open(
        project: &'a Project,
        options: &BuildOptions<'a>,
    ) -> Result<BuildContext<'a>, BuildError> {
        let target_dir = match &options.target_dir {
            Some(chosen) => absolute(chosen).map_err(BuildError::io(chosen))?,
            None => project.dir.join("target"),
        };
        let work = target_dir.join("behaviour").join(&project.name);
        fs::create_dir_all(&work).map_err(BuildError::io(&work))?;
        let wit = project.wit(&work)?;
        let cache = cache_dir(options)?;
        Ok(BuildContext { project, target_dir, work, wit, cache, progress: options.progress })
    }

    fn component(&self) -> Result<Vec<u8>, BuildError> {
        let name = &self.project.name;
        let module = match self.project.language {
            Language::Rust => unreachable!("`build` compiles Rust with cargo"),
            Language::JavaScript | Language::TypeScript => script::component(self)?,
            Language::Python => python::component(self)?,
            Language::C | Language::Cpp => c::module(self)?,
            Language::Zig => zig::module(self)?,
            Language::Go => go::module(self)?,
            Language::AssemblyScript => assemblyscript::module(self)?,
            Language::Wat => wat::module(self)?,
        };
        check_world(name, &module)?;
        // The version in the header is 1 for a core module and differs for a component.
        if module.get(4..8) != Some(&[1, 0, 0, 0]) {
            return Ok(module);
        }
        plugin::encode_for(&module, &self.wit, &self.project.world)
            .map_err(|source| BuildError::NoComponent { name: name.clone(), source })
    }

    /// Returns a program of this language's tools, to run in the project's folder.
    fn tool(&self, program: &'static str) -> Result<Command, BuildError> {
        let language = self.project.language;
        let toolchain =
            Toolchain::of(language).expect("a language whose build uses a tool has a toolchain");
        toolchain.command(program, self.cache.as_deref(), language, &self.project.dir)
    }

    /// Compiles the author's code by running `command`.
    fn compile(&self, command: &mut Command) -> Result<(), BuildError> {
        self.step("compiling", command)
    }

    /// Runs a tool; `doing` names the step in progress messages.
    fn step(&self, doing: &str, command: &mut Command) -> Result<(), BuildError> {
        let name = &self.project.name;
        // The backtrace of a compiler does not help the author.
        command.env("RUST_BACKTRACE", "0");
        let ended = step::run(command, &format!("{doing} {name}"), self.progress)?;
        // Some compilers write errors to standard output.
        let output = [ended.stderr.trim_end(), ended.stdout.trim_end()].join("\n");
        if !ended.status.success() {
            let output = output.trim().to_owned();
            return Err(BuildError::NotCompiled { name: name.clone(), output });
        }
        // Standard error contains warnings. Standard output contains only statistics.
        ended.stderr.lines().filter(|line| !line.is_empty()).for_each(self.progress);
        Ok(())
    }

    fn read(&self, path: &Path) -> Result<Vec<u8>, BuildError> {
        fs::read(path).map_err(BuildError::io(path))
    }
}

/// Returns the directory for fetched tools, or `None` if no variable determines it.
fn cache_dir(options: &BuildOptions<'_>) -> Result<Option<PathBuf>, BuildError> {
    let chosen = options.cache_dir.clone().or_else(cache::default_dir);
    chosen.map(|dir| absolute(&dir).map_err(BuildError::io(&dir))).transpose()
}

/// Checks that a module exports `methods`. Without this check, any other module would
/// become a valid component with no function to call.
fn check_world(name: &str, module: &[u8]) -> Result<(), BuildError> {
    let export = b"device:behaviour/methods@";
    if module.windows(export.len()).any(|bytes| bytes == export) {
        return Ok(());
    }
    Err(BuildError::NotAPlugin { name: name.to_owned() })
}
