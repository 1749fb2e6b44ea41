//! `behaviour setup`.

use std::path::PathBuf;
use std::process::ExitCode;

use behaviour::{BuildOptions, Language, setup};
use program::note;

use super::build::complain_of_build;
use super::say;

/// Bring what plugins in a language are built with.
///
/// Downloads the tools, and what they depend on, in one pinned version each, by
/// the ordinary client of their registry (pip or npm), into the cache directory.
/// For Rust, where it needs one, it is the compiler that Debian has that day.
/// Nothing is installed for the machine, and a second run finds them there. A
/// download that has not ended after 15 minutes is stopped;
/// BEHAVIOUR_STEP_LIMIT=60m allows more.
#[derive(clap::Args)]
pub(crate) struct Setup {
    /// rust, javascript, typescript, python, c, cpp, zig, go, assemblyscript or wat.
    #[arg(value_name = "LANGUAGE")]
    language: Language,
    /// The directory for fetched tools [default: behaviour in the user's cache directory].
    #[arg(long, value_name = "DIR", env = "BEHAVIOUR_CACHE_DIR")]
    cache_dir: Option<PathBuf>,
    /// Say nothing but where the tools are, or what is wrong.
    #[arg(long, short)]
    quiet: bool,
}

impl Setup {
    pub(crate) fn run(self) -> ExitCode {
        let Setup { language, cache_dir, quiet } = self;
        let progress = |line: &str| {
            if !quiet {
                note(format_args!("{line}"));
            }
        };
        match setup(
            language,
            &BuildOptions { cache_dir, progress: &progress, ..Default::default() },
        ) {
            Ok(place) => {
                say(&format!("{language}: {place}"));
                ExitCode::SUCCESS
            }
            Err(error) => {
                complain_of_build(&error);
                ExitCode::FAILURE
            }
        }
    }
}
