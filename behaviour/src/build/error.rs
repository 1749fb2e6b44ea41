//! Errors of a build, with hints for the author.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use crate::language::Language;

/// The reason why a build produced no component.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// No plugin in the given folder.
    #[error("no plugin in `{}`: it contains neither behaviour.toml nor one of {}", .0.display(), entries())]
    NoProject(PathBuf),
    /// An invalid `behaviour.toml`.
    #[error("`{}`: {reason}", .file.display())]
    ProjectFile {
        /// The file.
        file: PathBuf,
        /// The reason, in one line.
        reason: String,
    },
    /// A folder whose name is the plugin's name, but invalid as one.
    #[error("folder `{}` gives the plugin its name: {reason}", .dir.display())]
    FolderName {
        /// The folder.
        dir: PathBuf,
        /// The reason, in one line.
        reason: String,
    },
    /// A missing entry file.
    #[error("`{}` not found; it is the entry file of a plugin in {language}", .entry.display())]
    NoEntry {
        /// The file.
        entry: PathBuf,
        /// The project's language.
        language: Language,
    },
    /// A missing tool of the language.
    #[error("`{program}` not found; plugins in {language} need it")]
    NoTool {
        /// The tool.
        program: &'static str,
        /// The language.
        language: Language,
    },
    /// A package that the distribution does not have.
    #[error("package `{package}` not found: {reason}")]
    NoPackage {
        /// The package.
        package: &'static str,
        /// The reason.
        reason: String,
    },
    /// No directory for tools.
    #[error("no directory for tools: neither BEHAVIOUR_CACHE_DIR nor HOME is set")]
    NoCache,
    /// Invalid WIT in the project.
    #[error("WIT in `{}`: {reason}", .dir.display())]
    Wit {
        /// The folder.
        dir: PathBuf,
        /// The reason, in one line.
        reason: String,
    },
    /// A workspace instead of a crate.
    #[error("`{}` is a workspace, not a crate", .0.display())]
    Workspace(PathBuf),
    /// A crate that is not compiled to a core module.
    #[error("crate `{package}` has no library of type `cdylib`")]
    NoCdylib {
        /// The crate.
        package: String,
    },
    /// No compiler for WebAssembly, neither active nor fetched.
    #[error("the active Rust has no target wasm32-unknown-unknown, and {reason}")]
    NoCompiler {
        /// The reason why no compiler was fetched.
        reason: String,
    },
    /// Code of the author that does not compile.
    #[error("`{name}` does not compile: {}", first_error(.output))]
    NotCompiled {
        /// The plugin.
        name: String,
        /// The compiler's complete output.
        output: String,
    },
    /// A module that is not a plugin.
    #[error("`{name}` compiles, but exports no `device:behaviour/methods`")]
    NotAPlugin {
        /// The plugin.
        name: String,
    },
    /// A core module that does not match its world.
    #[error("`{name}` compiles, but does not match its world")]
    NoComponent {
        /// The plugin.
        name: String,
        /// The mismatch.
        source: plugin::EncodeError,
    },
    /// A command that cannot be started.
    #[error("cannot start `{command}`")]
    NotStarted {
        /// The command.
        command: String,
        /// The cause.
        source: io::Error,
    },
    /// A command that ended with an exit code other than 0.
    #[error("`{command}` ended with {status}: {}", last_line(.output))]
    Command {
        /// The command.
        command: String,
        /// The exit status.
        status: ExitStatus,
        /// The last lines of its output.
        output: String,
        /// A file with the complete output, if it has more lines.
        log: Option<PathBuf>,
    },
    /// A command that exceeded its time limit.
    #[error("{step}: `{command}` did not end within {limit:?} and was stopped")]
    TooLong {
        /// The step of the build.
        step: String,
        /// The command.
        command: String,
        /// The time limit.
        limit: Duration,
        /// Its output until then.
        output: String,
    },
    /// An invalid time limit of a command.
    #[error("{key}")]
    Limit {
        /// The variable.
        key: &'static str,
        /// The reason.
        source: program::duration::DurationError,
    },
    /// A file that cannot be read or written.
    #[error("`{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
}

impl BuildError {
    /// Returns a suggested action in one line, if there is one.
    #[must_use]
    pub fn hint(&self) -> Option<Cow<'static, str>> {
        let hint = match self {
            BuildError::NoProject(_) => "create one: behaviour new NAME --lang LANGUAGE",
            BuildError::FolderName { .. } => "set `name` in behaviour.toml, or rename the folder",
            BuildError::NoEntry { .. } => "name another with `entry` in behaviour.toml",
            BuildError::Workspace(_) => "name the folder of a guest crate: behaviour build DIR",
            BuildError::NoTool { language, .. } => {
                return Some(format!("fetch it: behaviour setup {language}").into());
            }
            BuildError::NoPackage { package, .. } => {
                return Some(format!("install `{package}`, and put it on the PATH").into());
            }
            BuildError::NoCdylib { .. } => {
                "add `crate-type = [\"cdylib\"]` under [lib] in its Cargo.toml"
            }
            BuildError::NoCompiler { .. } => "run `rustup target add wasm32-unknown-unknown`",
            BuildError::NoComponent { source, .. } if foreign(source).is_some() => {
                let name = foreign(source)?;
                return Some(
                    format!("avoid `{name}`: no host provides this import of module `env`").into(),
                );
            }
            BuildError::NoComponent { source, .. } if !lacks_methods(source) => {
                "write imports and exports with the names and types of `wit/`; \
                 docs/reference/wit-text.md has all of them"
            }
            BuildError::NotAPlugin { .. } | BuildError::NoComponent { .. } => {
                "export `invoke` of the interface `methods`, as docs/plugins.md shows for each language"
            }
            BuildError::NotStarted { command, .. } => match command.split(' ').next()? {
                "cargo" | "rustc" => "install Rust, or put its `cargo` and `rustc` on the PATH",
                "python3" => "install Python 3 with pip (Debian: apt install python3-pip)",
                "npm" | "node" => "install Node.js with npm (Debian: apt install npm)",
                _ => return None,
            },
            BuildError::Command { log: Some(log), .. } => {
                return Some(format!("its whole output is in `{}`", log.display()).into());
            }
            BuildError::TooLong { .. } => {
                "check the network, or allow more time: BEHAVIOUR_STEP_LIMIT=60m"
            }
            BuildError::Command { output, .. } if output.contains("No module named pip") => {
                "install pip (Debian: apt install python3-pip)"
            }
            _ => return None,
        };
        Some(hint.into())
    }

    /// Returns the complete output of the failed command, which may have many lines.
    #[must_use]
    pub fn output(&self) -> Option<&str> {
        match self {
            BuildError::NotCompiled { output, .. }
            | BuildError::Command { output, .. }
            | BuildError::TooLong { output, .. } => Some(output),
            _ => None,
        }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> BuildError {
        let path = path.to_owned();
        move |source| BuildError::Io { path, source }
    }
}

/// Returns the name of an import of module `env` that no host provides. Compilers use this
/// module for functions of a browser and for functions that are declared but not defined.
fn foreign(error: &plugin::EncodeError) -> Option<String> {
    let text = program::chain(error).to_string();
    let (_, behind) = text.split_once("import `env::")?;
    behind.split_once('`').map(|(name, _)| name.to_owned())
}

/// Returns `true` if a module has no function for `methods`, or one of another name.
fn lacks_methods(error: &plugin::EncodeError) -> bool {
    let missing = "failed to find export of interface `device:behaviour/methods@";
    program::chain(error).to_string().contains(missing)
}

/// Returns the line of a compiler's output with the first error. Most compilers
/// name the file first. Python names the error last.
fn first_error(output: &str) -> &str {
    if output.starts_with("Traceback") {
        return last_line(output);
    }
    // A script calls the host during the build. The backtrace does not help the author.
    if let Some(at) = output.find("unknown import: `device:") {
        return output[at..].lines().next().unwrap_or_default();
    }
    let is_error = |line: &&str| {
        let marked = ["[ERROR]", " error", "Error:"].iter().any(|marker| line.contains(marker));
        line.starts_with("error") || marked
    };
    let lines = || output.lines().map(str::trim);
    lines().find(is_error).unwrap_or_else(|| last_line(output))
}

fn last_line(output: &str) -> &str {
    output.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no output").trim()
}

fn entries() -> String {
    Language::ALL.map(|language| format!("`{}`", language.entry())).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_error_is_found_in_the_output_of_each_compiler() {
        for (output, first) in [
            ("warning: x\nerror[E0425]: no `x`\nerror: could not compile", "error[E0425]: no `x`"),
            ("✘ [ERROR] Unexpected \";\"\n\n    plugin.js:19:10:\n", "✘ [ERROR] Unexpected \";\""),
            (
                "plugin.ts(10,3): error TS2322: no\nplugin.ts(11,3): error TS1: no",
                "plugin.ts(10,3): error TS2322: no",
            ),
            (
                "Traceback (most recent call last):\nAssertionError: Traceback\n\nCaused by:\n    NameError: no `x`\n",
                "NameError: no `x`",
            ),
            (
                "Error: at wasm backtrace:\n  1: <f>: unknown import: `device:a/b#c` has not been defined\nx",
                "unknown import: `device:a/b#c` has not been defined",
            ),
            ("# door\n./plugin.go:3:1: undefined: x", "./plugin.go:3:1: undefined: x"),
        ] {
            assert_eq!(first_error(output), first);
        }
    }
}
