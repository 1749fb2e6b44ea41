//! The command `behaviour setup`.

use std::path::PathBuf;
use std::process::ExitCode;

use behaviour::{BuildOptions, Language, setup};
use program::note;

use super::error::{CommandError, build_failed};
use super::{print_line, values};

const EXAMPLES: &str = "\
Examples:
  behaviour setup python
  behaviour setup go --cache-dir tools";

/// Fetch the tools that build plugins in a language.
///
/// Downloads the tools and their dependencies in pinned versions, with the ordinary
/// client of their registry (pip or npm), into the cache directory. If the active
/// Rust has no target wasm32-unknown-unknown, fetches Debian's current compiler.
/// Installs nothing on the machine. A second run downloads nothing. A download that
/// has not ended after 15 minutes is stopped; BEHAVIOUR_STEP_LIMIT=60m raises the
/// limit.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Setup {
    /// The language.
    #[arg(value_name = "LANGUAGE", value_parser = values::language(), ignore_case = true)]
    language: Language,
    /// The directory for fetched tools [default: behaviour in the user's cache directory].
    #[arg(long, value_name = "DIR", env = "BEHAVIOUR_CACHE_DIR")]
    cache_dir: Option<PathBuf>,
    /// Print only the tools' folder, or the error.
    #[arg(long, short)]
    quiet: bool,
}

impl Setup {
    pub(super) fn run(self) -> Result<ExitCode, CommandError> {
        let Setup { language, cache_dir, quiet } = self;
        let progress = |line: &str| {
            if !quiet {
                note(format_args!("{line}"));
            }
        };
        let options = BuildOptions { cache_dir, progress: &progress, ..Default::default() };
        let location = setup(language, &options).map_err(build_failed)?;
        print_line(&format!("{language}: {location}"));
        Ok(ExitCode::SUCCESS)
    }
}
