//! The command `behaviour new`.

use std::path::PathBuf;
use std::process::ExitCode;

use behaviour::{Language, create};
use program::note;

use super::error::CommandError;
use super::print_line;

/// Create a starter plugin.
///
/// The plugin builds and passes its own cases without changes, and contains the WIT
/// that it needs. An existing folder is an error and is left unchanged.
#[derive(clap::Args)]
pub(crate) struct New {
    /// The plugin's name and the name of its new folder: lower-case words with hyphens.
    name: PathBuf,
    /// rust, javascript, typescript, python, c, cpp, zig, go, assemblyscript or wat.
    #[arg(long, value_name = "LANGUAGE")]
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
