//! What every program does at its edges: it logs, waits for signals, shows that it
//! waits, complains.

#![allow(clippy::print_stderr, reason = "complaints go to people")]

#[cfg(feature = "progress")]
mod progress;

use std::io::IsTerminal as _;

#[cfg(feature = "progress")]
pub use progress::Progress;

use anyhow::Context as _;
use tracing_subscriber::EnvFilter;

/// Logs to standard error from now on: for people, or as JSON lines. `filter` is
/// a level or a filter of `tracing`.
pub fn log(filter: &str, json: bool) -> anyhow::Result<()> {
    let filter: EnvFilter =
        filter.parse().with_context(|| format!("--log: `{filter}` is not a filter"))?;
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    if json {
        builder.json().flatten_event(true).init();
    } else {
        builder.with_ansi(std::io::stderr().is_terminal()).init();
    }
    Ok(())
}

/// Raises this process's ceiling of open files, sockets among them, so that it
/// has room for `wanted`, as far as the system lets it. Many systems begin with
/// 1024, and allow more to who asks.
pub fn allow_open_files(wanted: u64) {
    #[cfg(unix)]
    {
        use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
        let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
        if current.is_some_and(|current| current < wanted) {
            let most = maximum.map_or(wanted, |maximum| wanted.min(maximum));
            // Where it is refused, what needs the files says so.
            let _ = setrlimit(Resource::Nofile, Rlimit { current: Some(most), maximum });
            if most < wanted {
                tracing::warn!(wanted, most, "too few open files allowed: raise `ulimit -n`");
            }
        }
    }
    #[cfg(not(unix))]
    let _ = wanted;
}

/// One line with the error and its causes, and one with the way out.
pub fn complain(error: &anyhow::Error, hint: Option<&str>) {
    eprintln!("error: {error:#}");
    if let Some(hint) = hint {
        eprintln!("hint: {hint}");
    }
}

/// Ctrl-C and SIGTERM.
#[derive(Debug)]
pub struct Signals {
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

impl Signals {
    /// From now on the signals are waited for, and no longer end the process.
    pub fn new() -> anyhow::Result<Signals> {
        #[cfg(unix)]
        let terminate = tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate())
            .context("cannot wait for signals")?;
        Ok(Signals {
            #[cfg(unix)]
            terminate,
        })
    }

    /// The next one.
    pub async fn next(&mut self) {
        #[cfg(unix)]
        tokio::select! {
            _ = tokio::signal::ctrl_c() => {}
            _ = self.terminate.recv() => {}
        }
        #[cfg(not(unix))]
        tokio::signal::ctrl_c().await.ok();
    }
}
