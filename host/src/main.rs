//! `behaviour-host`: answers the direct methods of an IoT Hub device with plugins.
#![allow(clippy::print_stdout, reason = "this is a command-line program")]

#[cfg(unix)]
mod plugins_command;
mod simulate_command;

use std::fmt;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
#[cfg(unix)]
use behaviour_host::control::AskError;
use behaviour_host::{Config, ConfigError, FleetError, StartError};
use clap::{Args, Parser, Subcommand};
use program::Signals;
use protocol::connection_string::{ConnectionStringError, DeviceConnectionString};

/// Completes when the program was told to stop.
type Stopped = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

const IDENTITY: &str = "IOTHUB_DEVICE_CONNECTION_STRING";

/// Answers the direct methods of an Azure IoT Hub device with WebAssembly plugins.
///
/// The device's connection string is a secret: it is read from the environment
/// variable IOTHUB_DEVICE_CONNECTION_STRING, or from the file that
/// `connection_string_file` under [hub] names, and is never an argument.
#[derive(Parser)]
#[command(name = "behaviour-host", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Connect to the hub and answer methods until Ctrl-C or SIGTERM
    Run(Run),
    /// Be many devices at once, to test the load of a hub
    Simulate(simulate_command::Simulate),
    /// Check the configuration and load its plugins, without a connection
    Check(Common),
    /// See and steer the plugins of the host that runs with this configuration
    #[cfg(unix)]
    Plugins(plugins_command::Plugins),
}

#[derive(Args)]
struct Run {
    #[command(flatten)]
    common: Common,
    /// What to log: error, warn, info, debug, trace, or a tracing filter
    #[arg(long, default_value = "info", env = "BEHAVIOUR_LOG", value_name = "FILTER")]
    log: String,
    /// Log as JSON lines
    #[arg(long)]
    json_logs: bool,
}

#[derive(Args)]
struct Common {
    /// The configuration
    #[arg(long, default_value = "host.toml", value_name = "FILE")]
    config: PathBuf,
    /// Certificates to trust beside the system's, where host.toml names none
    #[arg(long, env = "IOTHUB_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

fn main() -> ExitCode {
    behaviour_host::share_heap();
    let outcome = match Arguments::parse().command {
        Command::Run(run) => start(run),
        Command::Simulate(arguments) => simulate_command::simulate(arguments),
        Command::Check(common) => check(&common),
        #[cfg(unix)]
        Command::Plugins(plugins) => operate(plugins),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            program::complain(&error, hint(&error).as_deref());
            exit_code(&error)
        }
    }
}

fn start(Run { common, log, json_logs }: Run) -> anyhow::Result<()> {
    program::log(&log, json_logs)?;
    let config = read(&common)?;
    let identity = identity(&config)?;
    until_signal(|stopped| behaviour_host::run(config, identity, stopped))
}

/// Runs what stops at the first Ctrl-C or SIGTERM, and gives up at the second.
fn until_signal<T, F>(work: impl FnOnce(Stopped) -> F) -> anyhow::Result<T>
where
    T: Send + 'static,
    F: Future<Output = Result<T, StartError>> + Send + 'static,
{
    let runtime = tokio::runtime::Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(async {
        let (stop, stopped) = tokio::sync::oneshot::channel();
        // In a task, beside those that it talks to: from this thread, each method
        // would be handed from one thread to another and back.
        let work = tokio::spawn(work(Box::pin(async { drop(stopped.await) })));
        let signals = async move {
            let mut signals = Signals::new()?;
            signals.next().await;
            stop.send(()).ok();
            signals.next().await;
            anyhow::bail!("stopped by a second signal, before the drain was over")
        };
        tokio::select! {
            outcome = work => Ok(outcome.context("the host has a fault")??),
            ended = signals => ended,
        }
    })
}

fn check(common: &Common) -> anyhow::Result<()> {
    let config = read(common)?;
    for (name, imports) in behaviour_host::check(&config)? {
        let section = &config.plugins[&name];
        let mut methods: Vec<_> = section.methods.iter().map(ToString::to_string).collect();
        methods.extend(section.any_method.then(|| "all others".to_owned()));
        println!("{name}: {}", section.file.display());
        println!("  methods: {}", methods.join(", "));
        println!(
            "  imports: {}",
            if imports.is_empty() { "none".into() } else { imports.join(", ") }
        );
    }
    println!("{}: all right", common.config.display());
    Ok(())
}

#[cfg(unix)]
fn operate(plugins: plugins_command::Plugins) -> anyhow::Result<()> {
    println!("{}", plugins_command::operate(plugins)?);
    Ok(())
}

/// As those of `behaviour-service`: 1 other, 2 usage, 3 no host runs, 4 no such
/// plugin.
fn exit_code(error: &anyhow::Error) -> ExitCode {
    #[cfg(unix)]
    match error.downcast_ref::<AskError>() {
        Some(AskError::NoHost) => return ExitCode::from(3),
        _ if error.is::<plugins_command::UnknownPlugin>() => return ExitCode::from(4),
        _ => {}
    }
    #[cfg(not(unix))]
    let _ = error;
    ExitCode::FAILURE
}

fn read(common: &Common) -> anyhow::Result<Config> {
    let path = &common.config;
    let mut config = Config::read(path).map_err(|error| match error {
        ConfigError::Read { .. } => anyhow::Error::new(error),
        error => anyhow::Error::new(error).context(InFile(path.clone())),
    })?;
    if config.hub.ca_file.is_none() {
        config.hub.ca_file.clone_from(&common.ca_file);
    }
    Ok(config)
}

/// The secret: from the environment, else from its file.
fn identity(config: &Config) -> anyhow::Result<DeviceConnectionString> {
    let (text, from) = match (std::env::var(IDENTITY), &config.hub.connection_string_file) {
        (Ok(text), _) => (text, IDENTITY.to_owned()),
        (Err(_), Some(path)) => {
            let text = std::fs::read_to_string(path)
                .with_context(|| format!("connection string file {}", path.display()))?;
            (text, path.display().to_string())
        }
        (Err(_), None) => return Err(NoIdentity.into()),
    };
    text.trim().parse().context(from)
}

fn hint(error: &anyhow::Error) -> Option<String> {
    if let Some(error) = error.downcast_ref::<StartError>() {
        return error.hint();
    }
    if let Some(error) = error.downcast_ref::<FleetError>() {
        return Some(simulate_command::hint(error));
    }
    #[cfg(unix)]
    if let Some(error) = error.downcast_ref::<AskError>() {
        return Some(error.hint().to_owned());
    }
    if error.is::<ConnectionStringError>() {
        return Some("copy it whole: behaviour-hub and the Azure portal show it".into());
    }
    match error.downcast_ref::<ConfigError>() {
        Some(ConfigError::Read { .. }) => {
            return Some("name the file with --config; host.example.toml shows all keys".into());
        }
        Some(_) => return Some("host.example.toml shows all keys".into()),
        None => {}
    }
    error.downcast_ref::<NoIdentity>().map(|_| {
        format!(
            "set {IDENTITY}, or `connection_string_file` under [hub]; behaviour-hub and the Azure \
             portal show the device's connection string"
        )
    })
}

#[derive(Debug)]
struct NoIdentity;

impl std::error::Error for NoIdentity {}

impl fmt::Display for NoIdentity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the device has no connection string")
    }
}

/// The name of a file before what is wrong in it.
#[derive(Debug)]
struct InFile(PathBuf);

impl fmt::Display for InFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.display().fmt(f)
    }
}
