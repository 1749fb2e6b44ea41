//! The command `behaviour new`.

use std::path::PathBuf;
use std::process::ExitCode;

use behaviour::{Language, Starter, create_from};
use clap::ValueEnum;
use program::note;

use super::error::CommandError;
use super::{print_line, values};

const EXAMPLES: &str = "\
Examples:
  behaviour new front-door --lang rust
  behaviour new plugins/greet --lang typescript
  behaviour new weather --lang c --with http";

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
    /// A capability that the plugin uses.
    #[arg(long, value_name = "CAPABILITY")]
    with: Option<With>,
}

/// A capability that the starter uses.
#[derive(Clone, Copy, ValueEnum)]
enum With {
    /// HTTP requests.
    Http,
}

impl New {
    pub(super) fn run(self) -> Result<ExitCode, CommandError> {
        let New { name, lang, with } = self;
        let starter = match with {
            Some(With::Http) => Starter::Http,
            None => Starter::Plain,
        };
        let files = create_from(&name, lang, starter)?;
        let dir = name.display();
        note(format_args!("{} files in {dir}. Next steps:", files.len()));
        print_line(&format!("cd {dir}\nbehaviour setup {lang}\nbehaviour build\nbehaviour test"));
        if let Some(With::Http) = with {
            let name = name.file_name().unwrap_or_default().display();
            note(format_args!(
                "\nOn a device, host.toml grants the requests:\n\n\
                 [plugins.{name}]\nfile = \"{name}.wasm\"\nmethods = [\"fetch\"]\n\
                 capabilities = [\"http\"]\n\n\
                 [plugins.{name}.http]\nhosts = [\"api.example.com\"]   # HTTPS only; \
                 \"http://localhost:8080\" allows plain HTTP"
            ));
        }
        Ok(ExitCode::SUCCESS)
    }
}
