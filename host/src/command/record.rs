//! `behaviour-host record`: records calls of a running host as test cases.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use behaviour_host::control::{ControlAnswer, ControlRequest, ask_for_lines};
use behaviour_host::{MAX_RECORDED_CALLS, RecordedCall};
use clap::Args;
use program::{candidates, note, say};
use protocol::id::MethodName;

use super::error::{CommandError, CommandErrorKind};
use super::names;

const LONG: &str = "\
Record the next calls of a running host as test cases.

A case contains everything that the plugin could read before the call (payload, configuration, twin, state, time), the answer or \
the failure, and all effects of the call. `behaviour test` replays it in virtual time. Values whose names or texts look secret \
are left out and listed on one line. The file is readable only by its owner.

A recording ends with its last call, with this command, or after --timeout. The host records nothing at other times.";

const EXAMPLES: &str = "\
Examples:
  behaviour-host record rebootDevice --out cases/reboot.json
  behaviour-host record --plugin fan --count 5 --out cases/fan.json
  behaviour-host record setFan --out cases/fan.json --redact /payload/owner --redact /expect/answer/session

Exit codes:
  0  all calls are recorded
  1  fewer calls than requested are recorded, or a file cannot be written
  2  the command line is wrong
  3  no host is running with this configuration
  4  the host has no such plugin";

#[derive(Args)]
#[command(long_about = LONG, after_help = EXAMPLES)]
pub(crate) struct RecordArguments {
    /// Method to record [default: all methods and jobs of the plugin]
    #[arg(required_unless_present = "plugin")]
    method: Option<MethodName>,
    /// Name of the plugin in host.toml [default: the plugin that serves the method]
    #[arg(long, value_name = "NAME", add = candidates(names::plugins))]
    plugin: Option<String>,
    /// File to create. With --count, FILE-1.json, FILE-2.json and so on
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// Number of calls, up to 100
    #[arg(
        long,
        value_name = "N",
        default_value_t = 1,
        value_parser = clap::value_parser!(u32).range(1..=i64::from(MAX_RECORDED_CALLS))
    )]
    count: u32,
    /// Leave out the value at this JSON pointer into the case, such as /payload/owner
    #[arg(long, value_name = "POINTER", value_parser = pointer)]
    redact: Vec<String>,
    /// Maximum wait for the calls: 30s, 1h
    #[arg(long, value_name = "DURATION", default_value = "10m", value_parser = program::duration::parse)]
    timeout: Duration,
    /// Configuration file of the host
    #[arg(long, default_value = "host.toml", value_name = "FILE")]
    config: PathBuf,
}

/// Reason why a recording is incomplete.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RecordError {
    /// A file that cannot be created or written.
    #[error("{}", .0.display())]
    File(PathBuf, #[source] io::Error),
    /// A recording that ended early.
    #[error("{recorded} of {requested} calls recorded: {reason}")]
    Ended { recorded: u32, requested: u32, reason: String },
    /// A call whose case is too large.
    #[error("call of `{0}` not recorded: its case is too large")]
    TooLarge(String),
}

impl program::Classify<RecordError> for CommandErrorKind {
    fn hint(error: &RecordError) -> Option<String> {
        match error {
            RecordError::File(_, error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Some("name a file that does not exist; recordings are never overwritten".to_owned())
            }
            RecordError::Ended { recorded: 0, .. } => {
                Some("call the method while the recording runs, or raise --timeout".to_owned())
            }
            _ => None,
        }
    }
}

pub(super) fn record(arguments: RecordArguments) -> Result<(), CommandError> {
    // Checked before the recording, because the calls may be hard to repeat.
    for number in 1..=arguments.count {
        let file = arguments.file(number);
        if file.symlink_metadata().is_ok() {
            let error = io::ErrorKind::AlreadyExists.into();
            return Err(RecordError::File(file, error).into());
        }
    }
    let request = ControlRequest::Record {
        method: arguments.method.clone(),
        plugin: arguments.plugin.clone(),
        calls: arguments.count,
        seconds: arguments.timeout.as_secs().max(1),
        redact: arguments.redact.clone(),
    };
    let (mut recorded, mut end) = (0, Ok("the host has closed the connection".to_owned()));
    ask_for_lines(&arguments.config, &request, |answer| {
        let kind = match answer {
            ControlAnswer::Recording(_) => {
                note(format_args!("{}; Ctrl-C ends the recording", answer.to_text()));
                return true;
            }
            ControlAnswer::Recorded(call) => {
                let summary = ControlAnswer::Recorded(call.clone()).to_text();
                match write(&arguments.file(recorded + 1), &call, &summary) {
                    Ok(()) => recorded += 1,
                    Err(error) => end = Err(error.into()),
                }
                return end.is_ok() && recorded < arguments.count;
            }
            ControlAnswer::UnknownPlugin(_) => CommandErrorKind::UnknownPlugin,
            ControlAnswer::Done(reason) => {
                end = Ok(reason);
                return false;
            }
            _ => CommandErrorKind::Other,
        };
        end = Err(CommandError::new(kind, answer.to_text()));
        false
    })?;
    let (reason, requested) = (end?, arguments.count);
    if recorded < requested {
        return Err(RecordError::Ended { recorded, requested, reason }.into());
    }
    Ok(())
}

impl RecordArguments {
    /// Returns the file of a call, counted from 1.
    fn file(&self, number: u32) -> PathBuf {
        if self.count == 1 {
            return self.out.clone();
        }
        let stem = self.out.file_stem().unwrap_or_default().to_string_lossy();
        self.out.with_file_name(format!("{stem}-{number}.json"))
    }
}

/// Writes a case to a new file, which only its owner can read, and prints the summary.
fn write(file: &Path, call: &RecordedCall, summary: &str) -> Result<(), RecordError> {
    let case = call.case.as_ref().ok_or_else(|| RecordError::TooLarge(call.name.clone()))?;
    let mut options = File::options();
    options.write(true).create_new(true).mode(0o600);
    let written = options.open(file).and_then(|mut file| {
        file.write_all(case.as_bytes())?;
        file.write_all(b"\n")
    });
    written.map_err(|error| RecordError::File(file.to_owned(), error))?;
    say(format!("{}: {summary}", file.display()));
    if !call.left_out.is_empty() {
        note(format_args!("left out: {}", json::escape(&call.left_out.join(", "))));
    }
    for line in &call.notes {
        note(format_args!("note: {}", json::escape(line)));
    }
    Ok(())
}

/// Parses a JSON pointer that is not empty.
fn pointer(text: &str) -> Result<String, String> {
    match text.strip_prefix('/') {
        Some(rest) if !rest.is_empty() => Ok(text.to_owned()),
        _ => Err("not a JSON pointer such as /payload/owner".to_owned()),
    }
}
