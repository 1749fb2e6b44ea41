//! `cargo run --release -p tutorial`: compiles the tutorial and runs it.
//!
//! The tutorial itself is the package `tutorial-play` in `play/`, which has about 280
//! dependencies. This program has none, so it starts immediately and shows the progress of the
//! compilation.
//!
//! The play has a separate profile without optimisation, because an optimised build takes three
//! times as long.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "this is a command-line program")]

mod compile;
mod progress;

use std::env;
use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::{Command, ExitCode};

/// Help text, which repeats the options of the play. The play is not compiled yet.
const HELP: &str = "\
The reboot tutorial on this machine: hub, host and service in one process

Compiles them first. Ends with exit code 0 when the service has seen the new reboot time.

Usage: tutorial [--delay <TIME>] [--profile <PROFILE>]

Options:
      --delay <TIME>       The time that the reboot takes, at most 280s [default: 20s]
      --profile <PROFILE>  Wire between device and hub: classic (MQTT 3.1.1), or mqtt5 (MQTT 5, preview)
                           [default: classic]
  -h, --help               Print help
  -V, --version            Print version
";

fn main() -> ExitCode {
    let arguments: Vec<OsString> = env::args_os().skip(1).collect();
    match Request::parse(&arguments) {
        Request::Help => print!("{HELP}"),
        Request::Version => println!("tutorial {}", env!("CARGO_PKG_VERSION")),
        Request::Refused(argument) => {
            eprintln!("error: unexpected argument `{}`", argument.display());
            eprintln!("hint: the options are `--delay TIME` and `--profile PROFILE`");
            return ExitCode::from(2);
        }
        Request::Play => match compile::play() {
            Ok(program) => {
                let error = Command::new(&program).args(arguments).exec();
                eprintln!("error: `{}` does not start: {error}", program.display());
                return ExitCode::FAILURE;
            }
            Err(error) => {
                eprintln!("error: {error}");
                return ExitCode::FAILURE;
            }
        },
    }
    ExitCode::SUCCESS
}

/// Parsed command line.
#[derive(Debug, PartialEq)]
enum Request {
    Help,
    Version,
    Play,
    Refused(OsString),
}

impl Request {
    /// Parses the arguments, so that a wrong option is reported before the long compilation.
    /// The play parses the values.
    fn parse(arguments: &[OsString]) -> Request {
        let mut rest = arguments.iter();
        while let Some(argument) = rest.next() {
            match argument.to_str() {
                Some("-h" | "--help") => return Request::Help,
                Some("-V" | "--version") => return Request::Version,
                Some("--delay" | "--profile") if rest.next().is_some() => {}
                Some(text) if text.starts_with("--delay=") || text.starts_with("--profile=") => {}
                _ => return Request::Refused(argument.clone()),
            }
        }
        Request::Play
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Request {
        let arguments: Vec<OsString> = line.split_whitespace().map(OsString::from).collect();
        Request::parse(&arguments)
    }

    #[test]
    fn a_wrong_option_is_refused_before_anything_is_compiled() {
        assert_eq!(parse(""), Request::Play);
        assert_eq!(parse("--delay 2s"), Request::Play);
        assert_eq!(parse("--delay=2s"), Request::Play);
        assert_eq!(parse("--delay 2s --help"), Request::Help);
        assert_eq!(parse("-V"), Request::Version);
        assert_eq!(parse("--delay"), Request::Refused("--delay".into()));
        assert_eq!(parse("--delai 2s"), Request::Refused("--delai".into()));
        assert_eq!(parse("2s"), Request::Refused("2s".into()));
    }
}
