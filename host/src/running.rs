//! From a configuration to a device at work: what all devices of a process share,
//! and what each has of its own.

use std::collections::BTreeMap;
use std::sync::Arc;

use plugin::{Lent, Level, LogLine, LogSink, Plugin, SystemClock};
use protocol::connection_string::DeviceConnectionString;

use crate::boot::Machine;
use crate::config::Config;
use crate::connection::{self, Connection, Dial};
use crate::counts::Counts;
use crate::device::Device;
use crate::kept::Kept;
use crate::not_kept::NotKept;
use crate::plugins;
use crate::router::Router;
use crate::start::StartError;
use crate::supervisor::Supervisor;
use crate::telemetry::Telemetry;
use crate::twin::Twin;

/// Finds out what can be wrong without a connection: loads every plugin, gives
/// their names and what each imports. Blocks.
pub fn check(config: &Config) -> Result<Vec<(String, Vec<String>)>, StartError> {
    let plugins = plugins::load(config)?;
    Ok(plugins.into_iter().map(|(name, plugin)| (name, plugin.imports().to_vec())).collect())
}

/// Runs the host until `stop` completes: then it takes no new calls, gives those
/// that run their grace, disconnects and returns. A connection that is lost, or
/// that does not come about, is tried again without end; only what is wrong
/// before the first try is an error.
pub async fn run(
    config: Config,
    identity: DeviceConnectionString,
    stop: impl Future<Output = ()>,
) -> Result<(), StartError> {
    run_on(&Machine::default(), config, identity, stop).await
}

/// The same on a machine that tells about its boots in files of its own.
pub async fn run_on(
    machine: &Machine,
    config: Config,
    identity: DeviceConnectionString,
    stop: impl Future<Output = ()>,
) -> Result<(), StartError> {
    let tls = connection::tls(&config.hub)?;
    let dial = Dial::new(identity, &config.hub, tls)?;
    let shared = Shared::load(config).await?;
    let kept = Kept::open(&shared.config.host, dial.identity(), machine).await?;
    let mut device = shared.device(dial, Some(kept));
    device.supervisor = Supervisor::of_environment();
    device.supervisor.ready();
    device.run(stop).await;
    Ok(())
}

/// What all devices of a process share: the engine with its compiled plugins,
/// and the numbers of what has happened.
pub(crate) struct Shared {
    config: Config,
    plugins: BTreeMap<String, Plugin>,
    pub(crate) counts: Arc<Counts>,
}

impl Shared {
    /// Loads the plugins, on a thread that may block.
    pub(crate) async fn load(config: Config) -> Result<Shared, StartError> {
        let loading = tokio::task::spawn_blocking(move || {
            let plugins = plugins::load(&config)?;
            Ok::<_, StartError>((config, plugins))
        });
        let (config, plugins) =
            loading.await.expect("loading does not panic and is not cancelled")?;
        Ok(Shared { config, plugins, counts: Arc::default() })
    }

    /// A device with a connection, a twin and calls of its own. It begins to
    /// connect. Without `kept` it keeps nothing over its end.
    pub(crate) fn device(&self, dial: Dial, kept: Option<Kept>) -> Device {
        let identity = dial.identity().clone();
        let id = identity.device.clone();
        let connection = Connection::open(dial);
        let journal = kept.as_ref().map(|kept| Arc::clone(&kept.journal));
        let twin = Arc::new(Twin::new(id.clone(), journal));
        let telemetry = Arc::new(Telemetry::new(identity, connection.outbox()));
        let lent = Lent {
            device_id: id.as_str().into(),
            clock: Arc::new(SystemClock),
            log: Arc::new(Log),
            twin: Arc::clone(&twin) as _,
            telemetry: Arc::clone(&telemetry) as _,
            state: match &kept {
                Some(kept) => Arc::clone(&kept.state) as _,
                None => Arc::new(NotKept),
            },
            jobs: match &kept {
                Some(kept) => Arc::clone(&kept.jobs) as _,
                None => Arc::new(NotKept),
            },
            power: match &kept {
                Some(kept) => Arc::clone(&kept.power) as _,
                None => Arc::new(NotKept),
            },
        };
        let router = Arc::new(Router::new(&self.config, &self.plugins, lent));
        let (grace, counts) = (self.config.host.grace, Arc::clone(&self.counts));
        let supervisor = Supervisor::none();
        Device { id, connection, router, twin, telemetry, grace, counts, supervisor, kept }
    }
}

/// Lines of plugins as events of the target `plugin`.
struct Log;

impl LogSink for Log {
    fn write(&self, line: &LogLine<'_>) {
        let LogLine { plugin, method, call, level, message, fields } = *line;
        macro_rules! say {
            ($level:ident) => {
                if fields.is_empty() {
                    tracing::$level!(target: "plugin", plugin, method, call, "{message}")
                } else {
                    tracing::$level!(target: "plugin", plugin, method, call, ?fields, "{message}")
                }
            };
        }
        match level {
            Level::Trace => say!(trace),
            Level::Debug => say!(debug),
            Level::Info => say!(info),
            Level::Warn => say!(warn),
            Level::Error => say!(error),
        }
    }
}
