//! Reboots that plugins request, from the request to the command.
//!
//! The request is in the journal before the plugin gets its answer, so that a host
//! which is restarted meanwhile still carries it out. When it is due, the device's loop
//! lets the calls end and has [`Power::reboot`] run the command, once: the journal says
//! that the command has begun before it begins, because it may end this process. If the
//! machine does not go down, the host resumes its calls: nothing else in the field
//! would answer.
//!
//! One reboot is pending at a time, and none is cancelled. [`RebootLimits`] hold over
//! all plugins and over boots, so that no plugin keeps a machine from coming up.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use plugin::HostError;
use serde::{Deserialize, Serialize};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until};
use tracing::{error, info, warn};

use crate::config::{RebootCommand, RebootLimits};
use crate::journal::{Broken, Journal, Pages, RecordKind, Stop};
use boot::{Boot, Machine};
use history::{Moment, RebootHistory};

pub(crate) mod boot;
mod command;
mod history;

/// The keys of the two records.
const PENDING: &[u8] = b"pending";
const HISTORY: &[u8] = b"history";

/// Time that the machine has to stop this process after the command.
const REBOOT_WAIT: Duration = Duration::from_secs(300);

/// A reboot that was asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct RebootRequest {
    plugin: String,
    reason: String,
    /// By the clock on the wall, in milliseconds since 1970, and the wait that
    /// this was when it was asked for.
    at_ms: i64,
    wait_ms: u64,
    /// The boot to be ended.
    boot: Option<String>,
    /// `true` once the command may have run. Earlier versions of the host did not keep
    /// it.
    #[serde(default)]
    begun: bool,
}

pub(crate) struct Power {
    command: RebootCommand,
    limits: RebootLimits,
    clock: UptimeClock,
    /// The time for the machine to stop this process after the command.
    reboot_wait: Duration,
    journal: Arc<Journal>,
    shared: Arc<PendingReboot>,
}

struct PendingReboot {
    pending: Mutex<Option<(RebootRequest, Instant)>>,
    /// A reboot was asked for.
    wake: Notify,
}

/// The boot, and the time since.
#[derive(Clone)]
struct UptimeClock {
    machine: Machine,
    boot: Option<Boot>,
    /// Start of the host, since which the machine has been up in any case.
    started: Instant,
}

impl Power {
    /// Takes up the request in the journal, if it is of this boot and its command has
    /// not begun. If boots cannot be told apart, the boot may be the one that was
    /// requested.
    pub(crate) async fn open(
        (command, limits): (RebootCommand, RebootLimits),
        machine: Machine,
        boot: Option<Boot>,
        journal: Arc<Journal>,
    ) -> Power {
        let clock = UptimeClock { machine, boot, started: Instant::now() };
        let shared = Arc::new(PendingReboot { pending: Mutex::new(None), wake: Notify::new() });
        let reboot_wait = REBOOT_WAIT;
        let power = Power { command, limits, clock, reboot_wait, journal, shared };
        if let Some(request) = kept(&power.journal) {
            let same_boot = request.boot.is_some() && request.boot == power.clock.id();
            power.take_up(request, same_boot).await;
        }
        power
    }

    async fn take_up(&self, request: RebootRequest, same_boot: bool) {
        let RebootRequest { plugin, reason, .. } = &request;
        if same_boot && !request.begun {
            let left = request.at_ms - Timestamp::now().as_millisecond();
            // A clock that was set back makes no wait longer than was asked for.
            let left = u64::try_from(left).unwrap_or(0).min(request.wait_ms);
            let left = Duration::from_millis(left);
            warn!(plugin, ?left, "the reboot of the last run is still to come");
            *self.shared.lock() = Some((request, Instant::now() + left));
            return;
        }
        if same_boot {
            let command = self.command.command.join(" ");
            error!(
                plugin,
                reason, command, "the reboot command ended the host, and the machine is still up"
            );
        } else {
            info!(plugin, reason, "the machine has booted since the reboot was asked for");
        }
        self.forget(false).await;
    }

    /// Returns when a reboot is due.
    pub(crate) async fn due(&self) {
        loop {
            let woken = self.shared.wake.notified();
            let due = self.shared.lock().as_ref().map(|(_, due)| *due);
            tokio::select! {
                () = woken => {}
                () = sleep_until(due.unwrap_or_else(Instant::now)), if due.is_some() => return,
            }
        }
    }

    /// Checks whether the reboot is only simulated, so that no call has to end for it.
    pub(crate) fn is_dry_run(&self) -> bool {
        self.command.dry_run
    }

    /// Runs the command, or says that it would, and returns if the machine is not
    /// rebooted. The calls have ended by now; the connection is open.
    pub(crate) async fn reboot(&self) {
        let Some((request, _)) = self.shared.lock().clone() else { return };
        let RebootRequest { plugin, reason, .. } = &request;
        let RebootCommand { command, dry_run } = &self.command;
        let words = command.join(" ");
        if *dry_run {
            warn!(plugin, reason, command = words, "dry run: this would reboot the machine");
            self.forget(false).await;
            return;
        }
        // Everything else that must not be lost goes to the disk with the same commit.
        if let Err(error) = self.begin(&request).await {
            error!(plugin, command = words, "the machine is not rebooted: {error}");
            self.forget(false).await;
            return;
        }
        warn!(plugin, reason, command = words, "rebooting the machine");
        let ended = command::run(command).await;
        match &ended {
            Ok(()) => {
                sleep(self.reboot_wait).await;
                error!(plugin, command = words, "the machine did not reboot, the host continues");
            }
            Err(why) => {
                let hint = "see `reboot_command` under [host], and what the host's user may do";
                error!(plugin, command = words, hint, "the machine is not rebooted: {why}");
            }
        }
        self.forget(ended.is_err()).await;
    }

    /// Notes that the command runs now. If this host is started again in the same boot,
    /// the command has failed, and is not run again.
    async fn begin(&self, request: &RebootRequest) -> Result<(), HostError> {
        let request = RebootRequest { begun: true, ..request.clone() };
        let now = self.clock.now();
        let begin = move |pages: &Pages<'_>| {
            put(pages, PENDING, &request)?;
            let mut history = history(pages)?;
            history.add(now);
            Ok(put(pages, HISTORY, &history)?)
        };
        self.journal.write(begin).await
    }

    /// The request is over. `failed`: the command said that there is no reboot, so that
    /// it does not count as one.
    async fn forget(&self, failed: bool) {
        self.shared.lock().take();
        let remove = move |pages: &Pages<'_>| {
            if failed {
                let mut history = history(pages)?;
                history.take_back();
                put(pages, HISTORY, &history)?;
            }
            Ok(pages.remove(RecordKind::Reboot, PENDING)?)
        };
        if let Err(error) = self.journal.write(remove).await {
            error!("completed reboot still in the journal: {error}");
        }
    }
}

impl PendingReboot {
    fn lock(&self) -> MutexGuard<'_, Option<(RebootRequest, Instant)>> {
        self.pending.lock()
    }
}

impl UptimeClock {
    fn id(&self) -> Option<String> {
        self.boot.as_ref().map(|boot| boot.id.clone())
    }

    fn uptime(&self) -> Duration {
        self.machine.uptime().unwrap_or_else(|| self.started.elapsed())
    }

    fn now(&self) -> Moment {
        Moment {
            boot: self.id(),
            uptime_ms: millis(self.uptime()),
            at_ms: Timestamp::now().as_millisecond(),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

fn put(pages: &Pages<'_>, key: &[u8], record: &impl Serialize) -> Result<(), Broken> {
    let record = serde_json::to_vec(record).expect("the record is JSON");
    pages.put(RecordKind::Reboot, key, &record)
}

fn kept(journal: &Journal) -> Option<RebootRequest> {
    let record = journal.read(|view| view.get(RecordKind::Reboot, PENDING)).ok()??;
    serde_json::from_slice(&record).ok()
}

fn history(pages: &Pages<'_>) -> Result<RebootHistory, Broken> {
    let record = pages.get(RecordKind::Reboot, HISTORY)?;
    Ok(record.and_then(|record| serde_json::from_slice(&record).ok()).unwrap_or_default())
}

/// Checks a request for a reboot after this delay.
fn check(
    limits: RebootLimits,
    history: &RebootHistory,
    now: &Moment,
    delay: Duration,
) -> Result<(), HostError> {
    let RebootLimits { per_hour, min_uptime } = limits;
    let uptime = Duration::from_millis(now.uptime_ms);
    if uptime.saturating_add(delay) < min_uptime {
        let why = format!(
            "the machine has been up for {} s; `reboot_min_uptime` is {} s",
            uptime.as_secs(),
            min_uptime.as_secs_f64()
        );
        return Err(HostError::QuotaExceeded(why));
    }
    let reboots = history.within_hour(now);
    if reboots >= per_hour {
        let why = format!("{reboots} reboots within an hour; `reboots_per_hour` is {per_hour}");
        return Err(HostError::QuotaExceeded(why));
    }
    Ok(())
}

impl plugin::Power for Power {
    fn request_reboot<'a>(
        &'a self,
        plugin: &'a str,
        delay: Duration,
        reason: &'a str,
    ) -> BoxFuture<'a, Result<(), HostError>> {
        Box::pin(async move {
            let at = Timestamp::now().saturating_add(delay).unwrap_or(Timestamp::MAX);
            let now = self.clock.now();
            let request = RebootRequest {
                plugin: plugin.to_owned(),
                reason: reason.to_owned(),
                at_ms: at.as_millisecond(),
                wait_ms: millis(delay),
                boot: now.boot.clone(),
                begun: false,
            };
            let (limits, due) = (self.limits, Instant::now() + delay);
            let (shared, undoing) = (Arc::clone(&self.shared), Arc::clone(&self.shared));
            let ask = move |pages: &Pages<'_>| {
                if let Some((pending, _)) = &*shared.lock() {
                    let why = format!("a reboot is pending already, for `{}`", pending.plugin);
                    return Err(HostError::QuotaExceeded(why).into());
                }
                if let Err(refused) = check(limits, &history(pages)?, &now, delay) {
                    error!(
                        plugin = request.plugin,
                        reason = request.reason,
                        "reboot refused: {refused}"
                    );
                    return Err(Stop::No(refused));
                }
                put(pages, PENDING, &request)?;
                *shared.lock() = Some((request, due));
                Ok(())
            };
            let undo = move |()| drop(undoing.lock().take());
            self.journal.write_for(plugin, ask, undo).await?;
            self.shared.wake.notify_one();
            info!(plugin, ?delay, reason, "reboot asked for");
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests;
