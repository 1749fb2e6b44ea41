//! Many devices in one process, to load-test a hub.
//!
//! The devices share the engine and the compiled plugins. Each has its own connection and
//! A plugin's limits apply to all devices together; `calls_at_once`, for example, limits the
//! calls of the whole fleet.
//!
//! The devices only answer methods. The load has to come from a service.

use std::sync::Arc;
use std::time::{Duration, Instant};

use protocol::connection_string::DeviceConnectionString;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use crate::config::Config;
use crate::connection::{self, Dial};
use crate::plugins::slot::Changes;
use crate::run::{Plugins, ProcessParts, RunError};
use crate::supervision::Supervisor;

mod figures;
mod fleet;

pub use figures::Figures;
pub use fleet::{Fleet, FleetError};

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
    let dial = |identity: DeviceConnectionString| {
        Dial::new(identity, &config.hub, Arc::clone(&tls)).map_err(RunError::from)
    };
    // All identities are checked before the first device connects.
    let dials = fleet.into_devices().map(dial).collect::<Result<Vec<_>, _>>()?;
    let supervisor = Supervisor::new(None);
    let shared = ProcessParts::load(config, Plugins::Now, supervisor.clone()).await?;

    let mut figures = Figures { devices: dials.len(), ..Figures::default() };
    let mut dials = dials.into_iter();
    let stopping = CancellationToken::new();
    let mut devices = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    let mut connect = interval(Duration::from_secs(1) / rate.max(1));
    let mut report_tick = interval(REPORT_EVERY);
    report_tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = &mut stop, if !stopping.is_cancelled() => stopping.cancel(),
            _ = connect.tick(), if dials.len() > 0 && !stopping.is_cancelled() => {
                let dial = dials.next().expect("the branch is enabled only if one is left");
                let device = shared.device(dial, None, &Changes::new(()));
                let stopped = stopping.clone();
                let device = async move { device.run(stopped.cancelled()).await };
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
