//! Why there is no component, and what to do about it.

use std::borrow::Cow;
use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;

use crate::language::Language;

/// Why a build ended without a component.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// Nothing at the given place that could be built.
    #[error("no plugin in `{}`: neither behaviour.toml nor a file such as {}", .0.display(), entries())]
    NoProject(PathBuf),
    /// `behaviour.toml` says something that cannot be.
    #[error("`{}`: {why}", .file.display())]
    Described {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The file to begin with is not there.
    #[error("no file to build a plugin in {language} from: `{}`", .entry.display())]
    NoEntry {
        /// The file.
        entry: PathBuf,
        /// The project's language.
        language: Language,
    },
    /// A tool of the language is not on this machine.
    #[error("`{program}`, which a plugin in {language} is built with, is not here")]
    NoTool {
        /// The tool.
        program: &'static str,
        /// The language.
        language: Language,
    },
    /// No place to keep tools in.
    #[error("there is no place to keep tools: neither BEHAVIOUR_CACHE_DIR nor HOME is set")]
    NoCache,
    /// The project's WIT is not what it should be.
    #[error("the WIT in `{}`: {why}", .dir.display())]
    Wit {
        /// Its folder.
        dir: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A workspace holds crates but is none.
    #[error("`{}` is a workspace, not a crate", .0.display())]
    Workspace(PathBuf),
    /// The crate cannot become a core module.
    #[error("crate `{package}` has no cdylib to make a component of")]
    NoCdylib {
        /// The crate.
        package: String,
    },
    /// No compiler for WebAssembly, and none to be had.
    #[error("the active Rust has no target wasm32-unknown-unknown, and {why}")]
    NoCompiler {
        /// Why none could be fetched.
        why: String,
    },
    /// The author's code is not what its language allows.
    #[error("`{name}` does not compile: {}", first_error(.output))]
    NotCompiled {
        /// The plugin.
        name: String,
        /// All that the compiler said.
        output: String,
    },
    /// It compiles to something of another kind.
    #[error("`{name}` compiles, but exports no `device:behaviour/methods`")]
    NotAPlugin {
        /// The plugin.
        name: String,
    },
    /// The core module does not keep to the world that it names.
    #[error("`{name}` compiles, but not to a plugin")]
    NoComponent {
        /// The plugin.
        name: String,
        /// What is wrong with it.
        source: plugin::EncodeError,
    },
    /// A command that the build needs is not on this machine.
    #[error("`{command}` does not start")]
    NotStarted {
        /// The command.
        command: String,
        /// Why.
        source: io::Error,
    },
    /// A command that the build needs ended badly.
    #[error("`{command}` ended with {status}: {}", last_line(.output))]
    Command {
        /// The command.
        command: String,
        /// How it ended.
        status: ExitStatus,
        /// The last lines it said.
        output: String,
        /// A file with all that it said, where that is more.
        log: Option<PathBuf>,
    },
    /// A command that the build needs did not end.
    #[error("{doing}: `{command}` had not ended after {limit:?} and was stopped")]
    TooLong {
        /// What it was for.
        doing: String,
        /// The command.
        command: String,
        /// How long it might take.
        limit: Duration,
        /// What it had said.
        output: String,
    },
    /// How long a command may take is not said as it should be.
    #[error("{key}: {why}")]
    Limit {
        /// The variable.
        key: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A file could not be read or written.
    #[error("`{}`", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

impl BuildError {
    /// What would help, where one action does.
    #[must_use]
    pub fn hint(&self) -> Option<Cow<'static, str>> {
        let hint = match self {
            BuildError::NoProject(_) => "make one: behaviour new NAME --lang LANGUAGE",
            BuildError::NoEntry { .. } => "name another with `entry` in behaviour.toml",
            BuildError::Workspace(_) => "name the folder of a guest crate: behaviour build DIR",
            BuildError::NoTool { language, .. } => {
                return Some(format!("bring it: behaviour setup {language}").into());
            }
            BuildError::NoCdylib { .. } => {
                "add `crate-type = [\"cdylib\"]` under [lib] in its Cargo.toml"
            }
            BuildError::NoCompiler { .. } => "run `rustup target add wasm32-unknown-unknown`",
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
                return Some(format!("all that it said is in `{}`", log.display()).into());
            }
            BuildError::TooLong { .. } => {
                "see what holds it up, the network perhaps, or allow it more: BEHAVIOUR_STEP_LIMIT=60m"
            }
            BuildError::Command { output, .. } if output.contains("No module named pip") => {
                "install pip (Debian: apt install python3-pip)"
            }
            _ => return None,
        };
        Some(hint.into())
    }

    /// What the failed command said, for people: many lines.
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

/// What a compiler says of the first thing that is wrong. Each has its own way
/// to begin; most name the file first. Python comes to the point at the end.
fn first_error(output: &str) -> &str {
    if output.starts_with("Traceback") {
        return last_line(output);
    }
    // A script that asks the host while it is built: where it was says nothing.
    if let Some(at) = output.find("unknown import: `device:") {
        return output[at..].lines().next().unwrap_or_default();
    }
    let is_error = |line: &&str| {
        let marked = ["[ERROR]", " error", "Error:"].iter().any(|mark| line.contains(mark));
        line.starts_with("error") || marked
    };
    let lines = || output.lines().map(str::trim);
    lines().find(is_error).unwrap_or_else(|| last_line(output))
}

fn last_line(output: &str) -> &str {
    output.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing").trim()
}

fn entries() -> String {
    Language::ALL.map(|language| format!("`{}`", language.entry())).join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_that_says_what_is_wrong_is_found_in_what_each_compiler_says() {
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
