//! Completions of command lines in shells.
//!
//! The script of a shell runs the program with the variable `COMPLETE`, so completions can
//! depend on the machine: names of plugins, ids of devices.

use std::env;
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use clap::{Args, Command};
use clap_complete::aot::Shell;
use clap_complete::engine::{ArgValueCandidates, CompletionCandidate};
use clap_complete::env::{CompleteEnv, Shells};

use super::print;
use crate::note;

/// The variable with the name of the shell that asks for completions.
const VARIABLE: &str = "COMPLETE";

/// Time limit for the values of an argument. A user waits for them with a half-typed command.
const LIMIT: Duration = Duration::from_secs(1);

/// Print the script that completes this program's commands in a shell
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell
    shell: Shell,
}

impl Completions {
    /// Prints the script for a program.
    pub fn print(&self, program: &str) {
        print(&self.script(program));
    }

    pub(super) fn script(&self, program: &str) -> String {
        let mut script = Vec::new();
        let shells = Shells::builtins();
        let shell = shells.completer(&self.shell.to_string());
        let shell = shell.expect("every shell of the static engine has a dynamic one");
        let written = shell.write_registration(VARIABLE, program, program, program, &mut script);
        written.expect("writing to a vector does not fail");
        String::from_utf8(script).expect("a script is text")
    }
}

/// Returns examples for the help text.
pub(super) fn examples(program: &str) -> String {
    format!(
        "Examples:
  {program} completions bash > ~/.local/share/bash-completion/completions/{program}
  {program} completions fish > ~/.config/fish/completions/{program}.fish
  echo 'source <({program} completions zsh)' >> ~/.zshrc
  {program} completions powershell >> $PROFILE"
    )
}

/// Returns the candidates for the values of an argument. They are empty if the function takes
/// longer than a second.
#[must_use]
pub fn candidates(values: fn() -> Vec<String>) -> ArgValueCandidates {
    ArgValueCandidates::new(move || {
        let (found, receiver) = mpsc::sync_channel(1);
        // The thread ends with the process, which prints the candidates and exits.
        thread::spawn(move || found.send(values()));
        let values = receiver.recv_timeout(LIMIT).unwrap_or_default();
        values.into_iter().map(CompletionCandidate::new).collect::<Vec<_>>()
    })
}

/// Prints completions if a shell asks for them, and returns the exit code.
pub(super) fn complete(definition: impl Fn() -> Command) -> Option<ExitCode> {
    let directory = env::current_dir().ok();
    let shell = CompleteEnv::with_factory(definition).var(VARIABLE);
    match shell.try_complete(env::args_os(), directory.as_deref()) {
        Ok(false) => None,
        Ok(true) => Some(ExitCode::SUCCESS),
        Err(error) => {
            note(error.to_string().trim_end());
            Some(ExitCode::FAILURE)
        }
    }
}
