//! `behaviour-host run`.

use std::time::Duration;

use anyhow::Context as _;
use behaviour_host::{Config, RunError};
use clap::Args;
use program::{LogFilter, Signals, text};
use tracing::error;

use super::configuration::{ConfigurationArguments, read};
use super::error::CommandError;
use super::source::{CONNECTION_STRING, identity};

/// Future that completes when the program must stop.
type Stopped = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// Limit on open files and sockets. It far exceeds the needs of plugins at their limits, and is
/// the same in the systemd unit.
const OPEN_FILES: u64 = 4096;

/// Time limit for blocking threads at exit.
const BLOCKING_THREADS_TIMEOUT: Duration = Duration::from_secs(1);

/// Log targets: `plugin`, and the crates that log.
pub(super) const LOG_TARGETS: &[&str] = &[
    "plugin",
    "behaviour_host",
    "behaviour_plugin",
    "behaviour_program",
    "cranelift_codegen",
    "cranelift_frontend",
    "cryptoki",
    "h2",
    "hyper_util",
    "jiff",
    "jiff_core",
    "jni",
    "mio",
    "notify",
    "pulley_interpreter",
    "regalloc2",
    "reqwest",
    "rumqttc",
    "rustls",
    "rustls_platform_verifier",
    "tracing_subscriber",
    "wasmtime",
    "wasmtime_environ",
    "wasmtime_internal_cranelift",
    "wasmtime_internal_unwinder",
    "wasmtime_wasi",
    "wasmtime_wasi_http",
    "wasmtime_wasi_io",
    "wit_component",
    "wit_parser",
];

const EXAMPLES: &str = "\
Examples:
  behaviour-host run
  behaviour-host run --config /etc/behaviour/host.toml --json-logs
  behaviour-host run --log info,behaviour_host=debug";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RunArguments {
    #[command(flatten)]
    common: ConfigurationArguments,
    /// Log filter: error, warn, info, debug, trace, or a filter of tracing
    #[arg(long, default_value = "info", env = "BEHAVIOUR_LOG", value_name = "FILTER")]
    log: LogFilter,
    /// Log as JSON lines
    #[arg(long)]
    json_logs: bool,
}

pub(super) fn run(
    RunArguments { common, log, json_logs }: RunArguments,
) -> Result<(), CommandError> {
    let _log = program::log(&log, json_logs, LOG_TARGETS)?;
    hide_memory();
    program::allow_open_files(OPEN_FILES);
    let config = match read(&common) {
        Ok(config) => config,
        Err(error) => last_good(&common, error)?,
    };
    let identity = identity(&config)?;
    until_signal(|stopped| behaviour_host::run(config, identity, stopped))
}

/// Returns the last working configuration if the file is invalid.
fn last_good(common: &ConfigurationArguments, error: CommandError) -> Result<Config, CommandError> {
    let identity = text::variable(CONNECTION_STRING).ok().flatten();
    let identity = identity.and_then(|text| text.trim().parse().ok());
    match behaviour_host::last_good(&common.config, identity.as_ref()) {
        Some(config) => {
            let file = common.config.display();
            error!(%file, "configuration refused, the last working one is in force: {error}");
            Ok(common.with_ca_file(config))
        }
        None => Err(error),
    }
}

/// Excludes the memory of this process, which contains keys, from core dumps, and hides it from
/// other programs of the same user.
pub(super) fn hide_memory() {
    #[cfg(target_os = "linux")]
    {
        use rustix::process::{DumpableBehavior, set_dumpable_behavior};
        if let Err(error) = set_dumpable_behavior(DumpableBehavior::NotDumpable) {
            tracing::warn!("other programs of this user can read the host's memory: {error}");
        }
    }
}

/// Runs a future to completion. The first Ctrl-C or SIGTERM asks it to stop; the second
/// ends it immediately.
pub(super) fn until_signal<T, F>(work: impl FnOnce(Stopped) -> F) -> Result<T, CommandError>
where
    T: Send + 'static,
    F: Future<Output = Result<T, RunError>> + Send + 'static,
{
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    let outcome = runtime.block_on(async {
        let (stop, stopped) = tokio::sync::oneshot::channel();
        // Spawned so that it runs on a worker thread, like the tasks that it communicates with.
        // Otherwise every method would switch threads twice.
        let work = tokio::spawn(work(Box::pin(async { drop(stopped.await) })));
        let signals = async move {
            let mut signals = Signals::new()?;
            signals.next().await;
            stop.send(()).ok();
            signals.skip_repetitions().await;
            signals.next().await;
            anyhow::bail!("stopped by a second signal before draining was complete")
        };
        tokio::select! {
            outcome = work => Ok(outcome.context("the host has a fault")??),
            ended = signals => Ok(ended?),
        }
    });
    // A thread that hangs on a dead disk or file server must not delay the exit.
    runtime.shutdown_timeout(BLOCKING_THREADS_TIMEOUT);
    outcome
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use rustix::process::{DumpableBehavior, dumpable_behavior};

    #[test]
    fn the_memory_of_a_host_is_excluded_from_core_dumps() {
        super::hide_memory();
        assert_eq!(dumpable_behavior().unwrap(), DumpableBehavior::NotDumpable);
    }
}
