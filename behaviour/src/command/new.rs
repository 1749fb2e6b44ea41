//! `behaviour new`.

use std::path::PathBuf;
use std::process::ExitCode;

use behaviour::{Language, create};
use program::note;

use super::{complain, say};

/// Write a small plugin to begin with.
///
/// It builds and passes its own cases at once, and has the WIT that it needs
/// in it. A folder that is there already is not touched.
#[derive(clap::Args)]
pub(crate) struct New {
    /// The plugin's name, which its folder gets: lower-case words with hyphens.
    name: PathBuf,
    /// rust, javascript, typescript, python, c, cpp, zig, go, assemblyscript or wat.
    #[arg(long, value_name = "LANGUAGE")]
    lang: Language,
}

impl New {
    pub(crate) fn run(self) -> ExitCode {
        let New { name, lang } = self;
        match create(&name, lang) {
            Ok(files) => {
                let dir = name.display();
                note(format_args!("{} files in {dir}. What to do next:", files.len()));
                say(&format!("cd {dir}\nbehaviour setup {lang}\nbehaviour build\nbehaviour test"));
                ExitCode::SUCCESS
            }
            Err(error) => {
                complain(&error, error.hint());
                ExitCode::FAILURE
            }
        }
    }
}
