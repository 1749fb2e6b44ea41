//! `behaviour-host simulate`.

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::Duration;

use behaviour_host::{Figures, Fleet};
use clap::Args;
use program::{LogFilter, LogWriter, say};
use tokio::time::Instant;

use super::configuration::{ConfigurationArguments, read};
use super::error::CommandError;
use super::run::{LOG_TARGETS, hide_memory, until_signal};
use super::source::group_key;

/// Interval between printed lines if standard error is not a terminal.
const LINE_INTERVAL: Duration = Duration::from_secs(10);

const EXAMPLES: &str = "\
Examples:
  behaviour-service devices create --prefix sim- --count 1000 > identities
  behaviour-host simulate --identities identities
  behaviour-host simulate --identities identities --devices 100 --rate 10
  behaviour-host simulate --config group.toml --devices 1000
  behaviour-host simulate --identities identities --json | jq .methods";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct SimulateArguments {
    #[command(flatten)]
    common: ConfigurationArguments,
    /// File with one device connection string per line, as `behaviour-service devices create
    /// --count` prints them
    #[arg(long, value_name = "FILE")]
    identities: Option<PathBuf>,
    /// Without --identities: the devices of the enrollment group of [provisioning] have the
    /// registration ids PREFIX0001, PREFIX0002, ...
    #[arg(long, value_name = "PREFIX", default_value = "sim-", conflicts_with = "identities")]
    prefix: String,
    /// Number of devices that connect; all of the file by default
    #[arg(long, value_name = "N", required_unless_present = "identities", value_parser = clap::value_parser!(u32).range(1..))]
    devices: Option<u32>,
    /// Number of devices that connect per second
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,
    /// Log filter: error, warn, info, debug, trace, or a filter of tracing
    #[arg(long, default_value = "warn", env = "BEHAVIOUR_LOG", value_name = "FILTER")]
    log: LogFilter,
    /// Log as JSON lines
    #[arg(long)]
    json_logs: bool,
    /// Print the summary as one JSON object, and errors as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn simulate(arguments: SimulateArguments) -> Result<(), CommandError> {
    let SimulateArguments { common, identities, prefix, devices, rate, log, json_logs, json } =
        arguments;
    let log = program::log(&log, json_logs, LOG_TARGETS)?;
    hide_memory();
    let config = read(&common)?;
    let devices = devices.map(|devices| devices as usize);
    let fleet = match identities {
        Some(file) => Fleet::read(&file, devices)?,
        None => Fleet::of_group(&group_key(&config)?, &prefix, devices.unwrap_or(1))?,
    };
    program::allow_open_files(fleet.len() as u64 + 100);
    let mut progress = Progress::new(log.writer());
    let figures = until_signal(|stopped| {
        behaviour_host::simulate(config, fleet, rate, stopped, move |figures| {
            progress.show(figures);
        })
    })?;
    match json {
        true => say(figures.to_json().to_string()),
        false => say(figures.summary()),
    }
    Ok(())
}

/// Display of the figures: a line that is redrawn on a terminal, or else a new line every
/// [`LINE_INTERVAL`].
struct Progress {
    to: LogWriter,
    terminal: bool,
    printed: Option<Instant>,
}

impl Progress {
    fn new(to: LogWriter) -> Progress {
        Progress { to, terminal: std::io::stderr().is_terminal(), printed: None }
    }

    /// Shows the current figures.
    fn show(&mut self, figures: &Figures) {
        // Errors are ignored, because the simulation works without the display. The cursor
        // returns to the start of the line, so that a log line overwrites the figures.
        if self.terminal {
            let _ = write!(self.to, "\r\x1b[K{figures}\r");
        } else if self.printed.is_none_or(|at| at.elapsed() >= LINE_INTERVAL) {
            self.printed = Some(Instant::now());
            let _ = writeln!(self.to, "{figures}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        if self.terminal {
            let _ = write!(self.to, "\r\x1b[K");
        }
    }
}
