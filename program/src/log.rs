//! Events of `tracing` on standard error.

use std::io::{IsTerminal as _, stderr};

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

/// Logs to standard error from now on: for people, or as JSON lines.
///
/// `filter` is a level or a filter of `tracing`. May be called once in a process.
///
/// # Errors
///
/// If the filter is malformed. The message names the option `--log`.
pub fn log(filter: &str, json: bool) -> anyhow::Result<()> {
    let filter: EnvFilter =
        filter.parse().with_context(|| format!("--log: `{filter}` is not a filter"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(stderr);
    if json {
        builder.json().flatten_event(true).init();
    } else {
        builder.with_ansi(stderr().is_terminal()).init();
    }
    Ok(())
}
