//! The parts that the command lines of all programs share.
//!
//! Each program defines its own options and commands with `clap`. This module adds
//! `--color`, the details of `--version`, completions, and usage errors as JSON.

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

use clap::builder::{EnumValueParser, Resettable};
use clap::{Arg, ArgMatches, ColorChoice, Command, CommandFactory, Parser};

use crate::command_error::error_json;
use crate::output::{self, Colours, Output};
use crate::{note, say};

pub use build_info::BuildInfo;
pub use completions::{Completions, candidates};

mod build_info;
mod completions;
mod tips;

/// The exit code of a wrong command line.
const USAGE: u8 = 2;

/// Parses the arguments of this process.
///
/// # Errors
///
/// Returns the exit code of a process that has nothing more to do: it has printed a help text,
/// the version, completions, or a usage error.
pub fn parse<T: Parser>(build: &BuildInfo) -> Result<T, ExitCode> {
    let definition = || definition::<T>(build);
    if let Some(code) = completions::complete(definition) {
        return Err(code);
    }
    let arguments: Vec<OsString> = env::args_os().collect();
    try_parse(definition(), &arguments).map_err(|error| report(&error, &arguments))
}

/// Returns the definition of a command line with the shared parts.
#[must_use]
pub fn definition<T: CommandFactory>(build: &BuildInfo) -> Command {
    let command = T::command();
    let name = command.get_name().to_owned();
    let color = Arg::new("color")
        .long("color")
        .value_name("WHEN")
        .value_parser(EnumValueParser::<ColorChoice>::new())
        .default_value("auto")
        .global(true)
        .help("Use colours: auto is on a terminal, unless NO_COLOR is set or TERM is dumb");
    let command = command.version(build.version).long_version(build.to_text()).arg(color);
    match command.find_subcommand("completions") {
        Some(_) => command.mut_subcommand("completions", |shells| {
            shells.after_help(completions::examples(&name))
        }),
        None => command,
    }
}

fn try_parse<T: Parser>(definition: Command, arguments: &[OsString]) -> Result<T, clap::Error> {
    let mut definition = definition.color(color_of(arguments));
    let matches = definition.clone().try_get_matches_from(arguments).map_err(|error| {
        // clap shows an option in the usage line as if it were required when its variable is
        // set. An error without the variables has the usual line.
        let again = without_variables(definition.clone()).try_get_matches_from(arguments);
        let mut error = again.err().filter(|_| error.use_stderr()).unwrap_or(error);
        tips::correct(&mut error, &definition, arguments);
        error
    })?;
    let colours = match matches.get_one::<ColorChoice>("color") {
        Some(ColorChoice::Always) => Colours::Always,
        Some(ColorChoice::Never) => Colours::Never,
        Some(ColorChoice::Auto) | None => Colours::Auto,
    };
    output::set(Output { colours, json: has_json(&matches) });
    T::from_arg_matches(&matches).map_err(|error| error.format(&mut definition))
}

fn without_variables(command: Command) -> Command {
    let command = command.mut_args(|argument| argument.env(Resettable::Reset));
    command.mut_subcommands(without_variables)
}

/// Returns the colours of help texts and usage errors, which are printed before the command
/// line is parsed.
fn color_of(arguments: &[OsString]) -> ColorChoice {
    let words: Vec<_> = options(arguments).collect();
    let mut values = words.iter().enumerate().rev().filter_map(|(index, word)| match *word {
        "--color" => words.get(index + 1).copied(),
        word => word.strip_prefix("--color="),
    });
    values.next().and_then(|value| value.parse().ok()).unwrap_or_default()
}

/// Returns the arguments before `--` that are text.
fn options(arguments: &[OsString]) -> impl Iterator<Item = &str> {
    arguments.iter().take_while(|word| *word != "--").filter_map(|word| word.to_str())
}

/// Returns `true` if the command or one of its parents has `--json`.
fn has_json(matches: &ArgMatches) -> bool {
    let here = matches.try_get_one::<bool>("json").ok().flatten().is_some_and(|json| *json);
    here || matches.subcommand().is_some_and(|(_, matches)| has_json(matches))
}

/// Prints a help text, the version or a usage error, and returns the exit code.
fn report(error: &clap::Error, arguments: &[OsString]) -> ExitCode {
    if !error.use_stderr() {
        // A closed standard output is not an error.
        let _ = error.print();
        return ExitCode::SUCCESS;
    }
    if options(arguments).any(|word| word == "--json") {
        let (message, hint) = summary(&error.render().to_string());
        note(error_json("usage", &message, hint.as_deref(), USAGE));
    } else {
        let _ = error.print();
    }
    ExitCode::from(USAGE)
}

/// Returns the message of a usage error on one line, and its tip.
fn summary(text: &str) -> (String, Option<String>) {
    let lines = text.lines().map(str::trim);
    let message: Vec<_> = lines.clone().take_while(|line| !line.is_empty()).collect();
    let message = message.join(" ");
    let message = message.strip_prefix("error: ").unwrap_or(&message).to_owned();
    let hint = lines.filter_map(|line| line.strip_prefix("tip: ")).next();
    (message, hint.map(str::to_owned))
}

/// Prints text whose last line ends.
fn print(text: &str) {
    say(text.trim_end());
}

#[cfg(test)]
mod tests {
    use clap::Subcommand;

    use super::*;

    const BUILD: BuildInfo =
        BuildInfo { version: "1.2.3", commit: None, contract: "0.1.0", wasmtime: None };

    #[derive(Debug, Parser)]
    #[command(name = "test")]
    struct Arguments {
        #[arg(long, env = "PATH", global = true)]
        file: Option<String>,
        #[arg(long, global = true)]
        json: bool,
        #[command(subcommand)]
        command: Commands,
    }

    #[derive(Debug, Subcommand)]
    enum Commands {
        Get { device: String, payload: Option<String> },
        Completions(Completions),
    }

    fn parse(line: &str) -> Result<Arguments, clap::Error> {
        let arguments: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        try_parse(definition::<Arguments>(&BUILD), &arguments)
    }

    #[test]
    fn the_usage_line_of_an_error_has_no_option_whose_variable_is_set() {
        let error = parse("test get").unwrap_err().to_string();
        assert!(error.contains("Usage: test get <DEVICE> [PAYLOAD]\n"), "{error}");
        assert!(parse("test get d1").unwrap().file.is_some());
        // A long value is on a line of its own.
        let help = parse("test get --help").unwrap_err().to_string();
        assert!(help.contains("[env:") && help.contains("PATH="), "{help}");
    }

    #[test]
    fn an_unknown_option_has_a_tip_only_if_there_is_a_way() {
        let tip = |line: &str| summary(&parse(line).unwrap_err().to_string()).1;
        let without = "write the payload without '--payload'";
        assert_eq!(tip("test get d1 --payload 5").as_deref(), Some(without));
        assert_eq!(tip("test get d1 --payload=5").as_deref(), Some(without));
        let quoted = "a payload is JSON, where a string has its own quotes: '\"-abc\"'";
        assert_eq!(tip("test get d1 -abc").as_deref(), Some(quoted));
        assert_eq!(tip("test get d1 --other"), None);
        let similar = "a similar argument exists: '--json'";
        assert_eq!(tip("test get d1 --jsn").as_deref(), Some(similar));
    }

    #[test]
    fn a_usage_error_is_summarised_with_its_tip() {
        let error = parse("test gett d1").unwrap_err().to_string();
        let expected = (
            "unrecognized subcommand 'gett'".to_owned(),
            Some("a similar subcommand exists: 'get'".to_owned()),
        );
        assert_eq!(summary(&error), expected);
        let error = parse("test get").unwrap_err().to_string();
        let expected = "the following required arguments were not provided: <DEVICE>";
        assert_eq!(summary(&error), (expected.to_owned(), None));
    }

    #[test]
    fn colours_of_help_texts_are_chosen_before_the_command_line_is_parsed() {
        let of = |words: &[&str]| {
            color_of(&words.iter().map(OsString::from).collect::<Vec<_>>()).to_string()
        };
        assert_eq!(of(&["test", "--color", "never", "--help"]), "never");
        assert_eq!(of(&["test", "--color=always"]), "always");
        assert_eq!(of(&["test", "--", "--color=always"]), "auto");
        assert_eq!(of(&["test", "--color"]), "auto");
    }

    #[test]
    fn every_command_accepts_the_choice_of_colours() {
        parse("test get d1 --color never").unwrap();
        parse("test --color always get d1").unwrap();
        parse("test get d1 --color sometimes").unwrap_err();
    }

    #[test]
    fn the_long_version_has_the_parts_of_a_build() {
        let version = parse("test --version").unwrap_err().to_string();
        assert_eq!(version, "test 1.2.3\ncontract: device:behaviour@0.1.0\n");
        assert_eq!(parse("test -V").unwrap_err().to_string(), "test 1.2.3\n");
    }

    #[test]
    fn each_shell_has_a_script_of_completions() {
        for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
            let Commands::Completions(completions) =
                parse(&format!("test completions {shell}")).unwrap().command
            else {
                panic!("completions")
            };
            let script = completions.script("test");
            assert!(script.contains("COMPLETE") && script.contains("test"), "{script}");
        }
    }
}
