//! Many devices in one process, to load-test a hub.
//!
//! The devices share the engine and the compiled plugins. Each has its own connection and
//! twin. A plugin's limits apply to all devices together; `calls_at_once`, for example, limits the
//! calls of the whole fleet.
//!
//! The devices of an enrollment group register with the Device Provisioning Service first.
//! Their assignments are kept in memory only.
//!
//! The devices only answer methods. The load has to come from a service.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::error;

use crate::config::Config;
use crate::connection::{self, Dial, OptionsError, Provisioning};
use crate::identity::Identity;
use crate::plugins::slot::Changes;
use crate::run::{Plugins, ProcessParts, RunError};
use crate::supervision::Supervisor;

mod desired;
mod figures;
mod fleet;
mod installer;

pub use figures::Figures;
pub use fleet::{Fleet, FleetError};

/// Number of registrations at the same time. Most of the time of a registration is the wait
/// before its poll, which costs nothing.
const MAX_REGISTRATIONS: usize = 256;

/// Interval between two reports of figures.
const REPORT_EVERY: Duration = Duration::from_millis(500);

/// Runs a fleet until `stop` completes, then drains all devices and returns the final figures.
/// `rate` is the number of new connections per second. `report` receives the current figures
/// twice a second.
pub async fn simulate(
    config: Config,
    fleet: Fleet,
    rate: u32,
    stop: impl Future<Output = ()>,
    mut report: impl FnMut(&Figures),
) -> Result<Figures, RunError> {
    let begun = Instant::now();
    let tls = connection::tls(&config.hub)?;
    let turns = Arc::new(Semaphore::new(MAX_REGISTRATIONS));
    let way = |identity: Identity| -> Result<FleetWay, OptionsError> {
        let tls = Arc::clone(&tls);
        Ok(match (identity, &config.provisioning) {
            (Identity::ConnectionString(_), Some(_)) => return Err(OptionsError::TwoIdentities),
            (Identity::ConnectionString(identity), None) => {
                FleetWay::Known(Box::new(Dial::new(identity, &config.hub, tls)?))
            }
            (Identity::Registration(_), None) => return Err(OptionsError::NoProvisioning),
            (Identity::Registration(registration), Some(section)) => {
                let new = Provisioning::new(registration, section, &config.hub, tls, None)?;
                FleetWay::Assigned(Arc::new(new.in_turns(Arc::clone(&turns))))
            }
        })
    };
    // All identities are checked before the first device connects.
    let ways = fleet.into_devices().map(way).collect::<Result<Vec<_>, _>>()?;
    let supervisor = Supervisor::new(None);
    let shared = ProcessParts::load(config, Plugins::Now, supervisor.clone()).await?;
    let shared = Arc::new(shared);
    let plugins = desired::DesiredPlugins::new(&shared.config, shared.loader.clone()).await?;
    let plugins = plugins.map(Arc::new);

    let mut figures = Figures { devices: ways.len(), ..Figures::default() };
    let mut ways = ways.into_iter();
    let stopping = CancellationToken::new();
    let mut devices = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    let mut connect = interval(Duration::from_secs(1) / rate.max(1));
    let mut report_tick = interval(REPORT_EVERY);
    report_tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = &mut stop, if !stopping.is_cancelled() => stopping.cancel(),
            _ = connect.tick(), if ways.len() > 0 && !stopping.is_cancelled() => {
                let way = ways.next().expect("the branch is enabled only if one is left");
                let device =
                    run_device(way, Arc::clone(&shared), plugins.clone(), stopping.clone());
                devices.spawn(supervisor.watch("device", device));
            }
            ended = supervisor.ended() => return Err(ended.into()),
            _ = report_tick.tick() => {
                figures.update(&shared.counts, begun.elapsed());
                report(&figures);
            }
            ended = devices.join_next(), if stopping.is_cancelled() => {
                if ended.is_none() {
                    break;
                }
            }
        }
    }
    figures.update(&shared.counts, begun.elapsed());
    Ok(figures)
}

/// The way of a device to its hub.
enum FleetWay {
    Known(Box<Dial>),
    Assigned(Arc<Provisioning>),
}

/// Runs a device until the fleet stops.
async fn run_device(
    way: FleetWay,
    shared: Arc<ProcessParts>,
    plugins: Option<Arc<desired::DesiredPlugins>>,
    stopping: CancellationToken,
) {
    let dial = match way {
        FleetWay::Known(dial) => *dial,
        FleetWay::Assigned(provisioning) => {
            let assignment = tokio::select! {
                assignment = provisioning.until_registered() => assignment,
                () = stopping.cancelled() => return,
            };
            match Dial::assigned(&provisioning, &assignment) {
                Ok(dial) => dial,
                Err(error) => {
                    error!(device = %assignment.device, "device left out: {error}");
                    return stopping.cancelled().await;
                }
            }
        }
    };
    let changes = Changes::new(());
    let device = shared.device(dial, None, &changes, None);
    let _tasks = plugins.map(|plugins| plugins.follow(&device, &changes, &shared.supervisor));
    device.run(stopping.cancelled()).await;
}
