//! The command `behaviour new`.

use std::path::PathBuf;
use std::process::ExitCode;

use behaviour::{Language, create};
use program::note;

use super::error::CommandError;
use super::{print_line, values};

const EXAMPLES: &str = "\
Examples:
  behaviour new front-door --lang rust
  behaviour new plugins/greet --lang typescript";

/// Create a starter plugin.
///
/// The plugin builds and passes its own cases without changes, and contains the WIT
/// that it needs. An existing folder is an error and is left unchanged.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct New {
    /// The plugin's name and the name of its new folder: lower-case words with hyphens.
    name: PathBuf,
    /// The language of its sources.
    #[arg(long, value_name = "LANGUAGE", value_parser = values::language(), ignore_case = true)]
    lang: Language,
}

impl New {
    pub(super) fn run(self) -> Result<ExitCode, CommandError> {
        let New { name, lang } = self;
        let files = create(&name, lang)?;
        let dir = name.display();
        note(format_args!("{} files in {dir}. Next steps:", files.len()));
        print_line(&format!("cd {dir}\nbehaviour setup {lang}\nbehaviour build\nbehaviour test"));
        Ok(ExitCode::SUCCESS)
    }
}
