//! A complete program based on this crate: waits for a given time, or until Ctrl-C.
//!
//! ```text
//! cargo run -p behaviour-program --example wait -- 1m 30s
//! ```
//!
//! A malformed duration ends it with exit code 3, an error line and a hint line. Ctrl-C ends
//! it with exit code 4.
#![allow(clippy::print_stdout, reason = "this is a command-line program")]

use std::env;
use std::process::ExitCode;

use behaviour_program::duration::{self, DurationError};
use behaviour_program::{Classify, CommandError, ExitKind, Signals};

/// The kinds of failure of this program.
#[derive(Debug, Clone, Copy, Default)]
enum FailureKind {
    #[default]
    Other,
    Malformed,
    Interrupted,
}

impl ExitKind for FailureKind {
    fn exit_code(self) -> u8 {
        match self {
            FailureKind::Other => 1,
            FailureKind::Malformed => 3,
            FailureKind::Interrupted => 4,
        }
    }

    fn name(self) -> &'static str {
        match self {
            FailureKind::Other => "other",
            FailureKind::Malformed => "malformed",
            FailureKind::Interrupted => "interrupted",
        }
    }
}

impl Classify<DurationError> for FailureKind {
    fn classify(_: &DurationError) -> FailureKind {
        FailureKind::Malformed
    }

    fn hint(_: &DurationError) -> Option<String> {
        Some(format!("name the time to wait: {}", duration::EXAMPLES))
    }
}

impl Classify<anyhow::Error> for FailureKind {}

#[tokio::main]
async fn main() -> ExitCode {
    match wait().await {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => error.report(),
    }
}

async fn wait() -> Result<(), CommandError<FailureKind>> {
    let words: Vec<String> = env::args().skip(1).collect();
    let time = duration::parse(&words.join(" "))?;
    let mut signals = Signals::new()?;
    println!("waiting for {}", duration::display(time));
    tokio::select! {
        () = tokio::time::sleep(time) => Ok(()),
        () = signals.next() => Err(CommandError::new(FailureKind::Interrupted, "interrupted")),
    }
}
