//! The command `behaviour completions`.

use std::process::ExitCode;

use clap::Command;
use clap_complete::{Shell, generate};

use super::print_line;

const EXAMPLES: &str = "\
Examples:
  behaviour completions bash > ~/.local/share/bash-completion/completions/behaviour
  behaviour completions zsh > ~/.zfunc/_behaviour
  behaviour completions fish > ~/.config/fish/completions/behaviour.fish
  behaviour completions powershell >> $PROFILE";

/// Print the script that completes this program's commands in a shell.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Completions {
    /// The shell.
    shell: Shell,
}

impl Completions {
    /// Prints the script. `program` is the parser of the complete command line.
    pub(super) fn run(self, mut program: Command) -> ExitCode {
        let (name, mut script) = (program.get_name().to_owned(), Vec::new());
        generate(self.shell, &mut program, name, &mut script);
        print_line(String::from_utf8_lossy(&script).trim_end());
        ExitCode::SUCCESS
    }
}
