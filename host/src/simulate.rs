//! Many devices in one process, for who tests the load of a hub.
//!
//! They share the engine and the compiled plugins; each has its own connection,
//! twin and calls, as if it were alone. The limits of a plugin hold for all of
//! them together: its calls at once are those of the whole fleet.
//!
//! It answers methods and invokes none: the load comes from a service.

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

/// Interval of the reports of figures.
const TELL_EVERY: Duration = Duration::from_millis(500);

/// Runs a fleet until `stop` completes, then drains all devices. `rate` is the number
/// of devices that connect in a second. `tell` receives the figures as they grow; the
/// last ones are returned.
pub async fn simulate(
    config: Config,
    fleet: Fleet,
    rate: u32,
    stop: impl Future<Output = ()>,
    mut tell: impl FnMut(&Figures),
) -> Result<Figures, RunError> {
    let begun = Instant::now();
    let tls = connection::tls(&config.hub)?;
    let dial = |identity: DeviceConnectionString| {
        Dial::new(identity, &config.hub, Arc::clone(&tls)).map_err(RunError::from)
    };
    // All at first, so that a bad one is known before any has connected.
    let dials = fleet.into_devices().map(dial).collect::<Result<Vec<_>, _>>()?;
    let supervisor = Supervisor::new(None);
    let shared = ProcessParts::load(config, Plugins::Now, supervisor.clone()).await?;

    let mut figures = Figures { devices: dials.len(), ..Figures::default() };
    let mut dials = dials.into_iter();
    let stopping = CancellationToken::new();
    let mut devices = JoinSet::new();
    let mut stop = std::pin::pin!(stop);
    let mut connect = interval(Duration::from_secs(1) / rate.max(1));
    let mut look = interval(TELL_EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            () = &mut stop, if !stopping.is_cancelled() => stopping.cancel(),
            _ = connect.tick(), if dials.len() > 0 && !stopping.is_cancelled() => {
                let dial = dials.next().expect("there is one, as was just seen");
                let device = shared.device(dial, None, &Changes::new(()));
                let stopped = stopping.clone();
                let device = async move { device.run(stopped.cancelled()).await };
                devices.spawn(supervisor.watch("device", device));
            }
            died = supervisor.ended() => return Err(died.into()),
            _ = look.tick() => {
                figures.update(&shared.counts, begun.elapsed());
                tell(&figures);
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
