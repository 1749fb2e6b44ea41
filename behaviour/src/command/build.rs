//! `behaviour build`.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Instant;

use behaviour::{BuildError, BuildOptions, build};
use program::note;

use super::{complain, say};

/// Make a plugin's sources a component that a host can load.
///
/// Prints the component's path. The language is what behaviour.toml says, or
/// what the folder's files tell; `behaviour setup` brings its tools. Where the
/// active Rust has no target wasm32-unknown-unknown, Debian's own compiler is
/// fetched once and kept. A tool that has not ended after 15 minutes is stopped;
/// BEHAVIOUR_STEP_LIMIT=60m allows more.
#[derive(clap::Args)]
pub(crate) struct Build {
    /// The folder of the plugin.
    #[arg(default_value = ".")]
    dir: PathBuf,
    /// The component's file [default: components/NAME.wasm in the target directory].
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// The directory for fetched tools [default: behaviour in the user's cache directory].
    #[arg(long, value_name = "DIR", env = "BEHAVIOUR_CACHE_DIR")]
    cache_dir: Option<PathBuf>,
    /// Say nothing but the component's path, or what is wrong.
    #[arg(long, short)]
    quiet: bool,
}

impl Build {
    pub(crate) fn run(self) -> ExitCode {
        let Build { dir, out, cache_dir, quiet } = self;
        let progress = |line: &str| {
            if !quiet {
                note(format_args!("{line}"));
            }
        };
        let started = Instant::now();
        match build(&dir, &BuildOptions { out, cache_dir, progress: &progress, target_dir: None }) {
            Ok(built) => {
                let (kilobytes, took) = (built.bytes.div_ceil(1000), started.elapsed());
                progress(&format!("{}: {kilobytes} KB in {:.1} s", built.name, took.as_secs_f32()));
                say(&built.path.display().to_string());
                ExitCode::SUCCESS
            }
            Err(error) => {
                complain_of_build(&error);
                ExitCode::FAILURE
            }
        }
    }
}

/// Prints the output of the failed command, and then the error.
pub(crate) fn complain_of_build(error: &BuildError) {
    if let Some(output) = error.output().filter(|output| !output.is_empty()) {
        note(format_args!("{}", output.trim_end()));
    }
    complain(error, error.hint().as_deref());
}
