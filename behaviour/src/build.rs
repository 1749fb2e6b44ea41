//! Builds of plugins: the language's own tools compile the sources to a core module
//! or a component, and a core module is wrapped as a component.
//!
//! Each language has a module named after it, and [`project`] determines the
//! language. The tools come from the cache, which [`setup`] fills, or from the `PATH`.
//! Nothing is installed on the machine, and the component's file is written atomically.

mod apt;
mod assemblyscript;
mod c;
mod cache;
mod d;
mod error;
mod files;
mod glue;
mod go;
mod last_build;
mod lua;
mod nim;
mod project;
mod python;
mod rust;
mod script;
mod step;
mod toolchain;
mod unwinding;
mod used_world;
mod wat;
mod zig;

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf, absolute};
use std::process::Command;

use crate::language::Language;
pub use error::BuildError;
use last_build::BuildInputs;
use project::Project;
use rust::compiler::{self, Compiler};
use rust::guest::Guest;
use step::StepOutput;
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
    /// `true` if nothing had changed since the last build, so that no tool ran.
    pub unchanged: bool,
}

/// Builds the plugin in `dir`, unless its inputs have the same contents as those of the last
/// build into the same target directory. Blocks for less than a second or, if the Rust
/// compiler must be fetched first, for several minutes.
pub fn build(dir: &Path, options: &BuildOptions<'_>) -> Result<BuiltComponent, BuildError> {
    let project = Project::find(dir)?;
    let (name, target_dir, component, unchanged) = match project.language {
        Language::Rust => {
            let guest = Guest::find(&project.dir, options.target_dir.as_deref())?;
            let work = guest.target_dir.join("behaviour").join(&guest.package);
            let inputs = BuildInputs::read(&work, &project.dir, &rust::tools());
            let (component, unchanged) = match inputs.last_component() {
                Some(component) => (component, true),
                None => (rust_component(&guest, inputs, options)?, false),
            };
            (guest.package, guest.target_dir, component, unchanged)
        }
        _ => {
            let context = BuildContext::open(&project, options)?;
            let inputs = BuildInputs::read(&context.work, &project.dir, &context.tools());
            let (component, unchanged) = match inputs.last_component() {
                Some(component) => (component, true),
                None => {
                    let component = context.component()?;
                    if context.inputs_are_known(&inputs) {
                        inputs.record(&component, context.tool_inputs.take())?;
                    }
                    (component, false)
                }
            };
            (project.name.clone(), context.target_dir, component, unchanged)
        }
    };
    let path = match &options.out {
        Some(path) => path.clone(),
        None => target_dir.join("components").join(format!("{name}.wasm")),
    };
    // A host that watches the file would load the same component again.
    if !unchanged || !fs::read(&path).is_ok_and(|present| present == component) {
        files::write_atomically(&path, &component)?;
    }
    Ok(BuiltComponent { name, path, bytes: component.len(), unchanged })
}

fn rust_component(
    guest: &Guest,
    inputs: BuildInputs,
    options: &BuildOptions<'_>,
) -> Result<Vec<u8>, BuildError> {
    let compiler = compiler::find(&guest.dir, options)?;
    let module = rust::compile(guest, &compiler, options.progress)?;
    let sources = rust::sources(&module);
    let module = fs::read(&module).map_err(BuildError::io(&module))?;
    check_world(&guest.package, &module)?;
    let component = plugin::encode(&module)
        .map_err(|source| BuildError::NoComponent { name: guest.package.clone(), source })?;
    inputs.record(&component, sources)?;
    Ok(component)
}

/// Fetches the tools that build plugins in this language, unless they are present,
/// and returns a line with their location. Blocks during the download.
pub fn setup(language: Language, options: &BuildOptions<'_>) -> Result<String, BuildError> {
    if language == Language::Rust {
        return match compiler::find(Path::new("."), options)? {
            Compiler::Active => Ok("the active Rust has the target".into()),
            Compiler::Fetched { rustc, .. } => Ok(rustc.display().to_string()),
        };
    }
    let toolchains = Toolchain::all(language);
    if toolchains.is_empty() {
        return Ok("no tools needed".into());
    }
    let cache = cache_dir(options)?.ok_or(BuildError::NoCache)?;
    let folders = toolchains.iter().map(|toolchain| {
        let folder = toolchain.fetch(&cache, options.progress)?;
        Ok(folder.display().to_string())
    });
    Ok(folders.collect::<Result<Vec<_>, BuildError>>()?.join(", "))
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
    /// The files that the tools have read, without intermediate files.
    tool_inputs: Cell<Vec<PathBuf>>,
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
        let (progress, tool_inputs) = (options.progress, Cell::default());
        Ok(BuildContext { project, target_dir, work, wit, cache, progress, tool_inputs })
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
            Language::Lua => lua::module(self)?,
            Language::Nim => nim::module(self)?,
            Language::D => d::module(self)?,
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
        let toolchains = Toolchain::all(language);
        let toolchain = toolchains.iter().find(|toolchain| toolchain.has(program));
        let toolchain = toolchain.expect("a language whose build uses a tool has its toolchain");
        toolchain.command(program, self.cache.as_deref(), language, &self.project.dir)
    }

    /// Returns the folder of a toolchain in the cache.
    fn toolchain_folder(&self, toolchain: &Toolchain) -> Result<PathBuf, BuildError> {
        toolchain.folder(self.cache.as_deref(), self.project.language)
    }

    /// Returns the identity of the tools and settings: the same files and the same identity
    /// give the same component.
    fn tools(&self) -> String {
        let Project { name, language, entry, world, .. } = self.project;
        let toolchains = Toolchain::all(*language).iter();
        let tools = toolchains.map(|it| it.identity(self.cache.as_deref(), *language));
        let tools = tools.collect::<Vec<_>>().join(" ");
        let (wit, entry) = (self.wit.display(), entry.display());
        format!("{name} {language} {entry} {world} {wit} {tools}")
    }

    /// Returns `true` if the build reads no files other than the project's and those that the
    /// tools have named.
    fn inputs_are_known(&self, inputs: &BuildInputs) -> bool {
        match self.project.language {
            Language::Rust
            | Language::JavaScript
            | Language::TypeScript
            | Language::Python
            | Language::Lua => true,
            Language::AssemblyScript if self.project.dir.join("node_modules").is_dir() => false,
            _ => !inputs.may_refer_outside(),
        }
    }

    /// Compiles the author's code by running `command`.
    fn compile(&self, command: &mut Command) -> Result<(), BuildError> {
        self.step("compiling", command)
    }

    /// Runs a compiler whose output contains a snapshot of memory.
    fn snapshot(&self, mut command: Command) -> Result<(), BuildError> {
        let step = format!("compiling {}", self.project.name);
        command.env("RUST_BACKTRACE", "0");
        self.finish(step::run_reproducibly(command, &step, self.progress)?)
    }

    /// Runs a tool; `doing` names the step in progress messages.
    fn step(&self, doing: &str, command: &mut Command) -> Result<(), BuildError> {
        // The backtrace of a compiler does not help the author.
        command.env("RUST_BACKTRACE", "0");
        let step = format!("{doing} {}", self.project.name);
        self.finish(step::run(command, &step, self.progress)?)
    }

    fn finish(&self, ended: StepOutput) -> Result<(), BuildError> {
        let name = &self.project.name;
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
