//! The program's commands. Each has its own module.

mod build;
mod call;
mod check;
mod compile;
mod component;
mod error;
mod event_line;
mod fetch;
mod image;
mod inspect;
mod keygen;
mod new;
mod paint;
mod progress;
mod publish;
mod setup;
mod sign;
mod test;
mod values;
mod verify;
mod watch;

use std::io::Write;
use std::process::ExitCode;

use clap::Subcommand;
use program::Completions;

#[derive(Subcommand)]
pub(crate) enum Command {
    New(new::New),
    Setup(setup::Setup),
    Build(build::Build),
    Call(Box<call::Call>),
    Check(check::Check),
    Compile(compile::Compile),
    Test(test::Test),
    Watch(watch::Watch),
    Publish(publish::Publish),
    Fetch(fetch::Fetch),
    Inspect(inspect::Inspect),
    Keygen(keygen::Keygen),
    Sign(sign::Sign),
    Verify(verify::Verify),
    Completions(Completions),
}

impl Command {
    /// Runs the command and returns its exit code. Reports an error on standard error.
    pub(crate) fn execute(self) -> ExitCode {
        let outcome = match self {
            Command::New(new) => new.run(),
            Command::Setup(setup) => setup.run(),
            Command::Build(build) => build.run(),
            Command::Call(call) => call.run(),
            Command::Check(check) => check.run(),
            Command::Compile(compile) => compile.run(),
            Command::Test(test) => test.run(),
            Command::Watch(watch) => watch.run(),
            Command::Publish(publish) => publish.run(),
            Command::Fetch(fetch) => fetch.run(),
            Command::Inspect(inspect) => inspect.run(),
            Command::Keygen(keygen) => keygen.run(),
            Command::Sign(sign) => sign.run(),
            Command::Verify(verify) => verify.run(),
            Command::Completions(completions) => {
                completions.print("behaviour");
                Ok(ExitCode::SUCCESS)
            }
        };
        outcome.unwrap_or_else(|error| error.report())
    }
}

/// Prints a line to standard output. Ignores errors, since a reader such as `head` may
/// have closed the pipe.
fn print_line(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}
