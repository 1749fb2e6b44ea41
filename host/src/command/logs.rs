//! `behaviour-host logs`: shows the last log lines of a plugin.

use std::path::{Path, PathBuf};

use behaviour_host::control::{AskError, ControlAnswer, ControlRequest, ask, ask_for_lines};
use clap::Args;
use program::{candidates, note, say};

use super::error::{CommandError, CommandErrorKind};
use super::names;

const LONG: &str = "\
Show the last log lines of a plugin of a running host.

The host keeps up to 500 lines and 128 KiB of text per plugin in memory, of all levels, whatever the log filter is. With --follow, \
new lines are shown as they are written, until Ctrl-C, or until the plugin leaves the host or the host stops.";

const EXAMPLES: &str = "\
Examples:
  behaviour-host logs fan
  behaviour-host logs fan --follow --lines 0
  behaviour-host logs fan --json | jq -r .message

Exit codes:
  0  done
  1  the running host refused, or closed the connection
  2  the command line is wrong
  3  no host is running with this configuration, or it has stopped
  4  the host has no such plugin, or none any more";

#[derive(Args)]
#[command(long_about = LONG, after_help = EXAMPLES)]
pub(crate) struct LogsArguments {
    /// Name of the plugin in host.toml
    #[arg(value_name = "NAME", add = candidates(names::plugins))]
    plugin: String,
    /// Show new lines as they are written
    #[arg(long, short)]
    follow: bool,
    /// Number of earlier lines
    #[arg(long, short = 'n', value_name = "N", default_value_t = 100)]
    lines: u32,
    /// Print each line as a JSON object
    #[arg(long)]
    json: bool,
    /// Configuration file of the host
    #[arg(long, default_value = "host.toml", value_name = "FILE")]
    config: PathBuf,
}

pub(super) fn logs(arguments: LogsArguments) -> Result<(), CommandError> {
    let LogsArguments { plugin, follow, lines, json, config } = arguments;
    let mut outcome = Ok(());
    let mut ended = false;
    ask_for_lines(&config, &ControlRequest::Logs { plugin, lines, follow }, |answer| {
        let kind = match answer {
            ControlAnswer::LogLine(line) => {
                match json {
                    true => say(line.to_json()),
                    false => say(line.to_text()),
                }
                return true;
            }
            ControlAnswer::MissedLines(_) => {
                note(answer.to_text());
                return true;
            }
            ControlAnswer::Done(_) => {
                ended = true;
                return false;
            }
            ControlAnswer::UnknownPlugin(_) => CommandErrorKind::UnknownPlugin,
            _ => CommandErrorKind::Other,
        };
        outcome = Err(CommandError::new(kind, answer.to_text()));
        false
    })?;
    match follow && outcome.is_ok() && !ended {
        true => Err(end_of_connection(&config)),
        false => outcome,
    }
}

/// Returns the error after the host has closed the connection.
fn end_of_connection(config: &Path) -> CommandError {
    match ask(config, &ControlRequest::Status {}) {
        Err(AskError::NoHost { .. }) => {
            CommandError::new(CommandErrorKind::NoHost, "the host has stopped")
        }
        // The output did not take the lines in time, or the host was restarted meanwhile.
        _ => CommandError::new(CommandErrorKind::Other, "the host has closed the connection"),
    }
}
