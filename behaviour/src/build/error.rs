//! Why there is no component, and what to do about it.

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

/// Why a build ended without a component.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BuildError {
    /// No guest at the given place.
    #[error("no Cargo.toml in `{}`", .0.display())]
    NoCrate(PathBuf),
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
    /// The guest is not valid Rust.
    #[error("crate `{package}` does not compile: {}", first_error(.output))]
    NotCompiled {
        /// The crate.
        package: String,
        /// All that the compiler said.
        output: String,
    },
    /// The crate is a library of some other kind.
    #[error("crate `{package}` compiles, but exports no `device:behaviour/methods`")]
    NotAPlugin {
        /// The crate.
        package: String,
    },
    /// The core module does not keep to the world that it names.
    #[error("crate `{package}` compiles, but not to a plugin")]
    NoComponent {
        /// The crate.
        package: String,
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
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            BuildError::NoCrate(_) | BuildError::Workspace(_) => {
                Some("name the folder of a guest crate: behaviour build DIR")
            }
            BuildError::NoCdylib { .. } => {
                Some("add `crate-type = [\"cdylib\"]` under [lib] in its Cargo.toml")
            }
            BuildError::NoCompiler { .. } => Some("run `rustup target add wasm32-unknown-unknown`"),
            BuildError::NotAPlugin { .. } | BuildError::NoComponent { .. } => {
                Some("generate bindings for the world `behaviour` and `export!` its methods")
            }
            BuildError::NotStarted { command, .. }
                if command.starts_with("cargo") || command.starts_with("rustc") =>
            {
                Some("install Rust, or put its `cargo` and `rustc` on the PATH")
            }
            _ => None,
        }
    }

    /// What the failed command said, for people: many lines.
    #[must_use]
    pub fn output(&self) -> Option<&str> {
        match self {
            BuildError::NotCompiled { output, .. } | BuildError::Command { output, .. } => {
                Some(output)
            }
            _ => None,
        }
    }

    pub(crate) fn io(path: &Path) -> impl FnOnce(io::Error) -> BuildError {
        let path = path.to_owned();
        move |source| BuildError::Io { path, source }
    }
}

fn first_error(output: &str) -> &str {
    let line = output.lines().find(|line| line.starts_with("error"));
    line.unwrap_or_else(|| last_line(output))
}

fn last_line(output: &str) -> &str {
    output.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing").trim()
}
