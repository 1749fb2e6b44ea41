//! Reboots that plugins request, from the request to the command.
//!
//! A request is persisted before the plugin's call returns, so that it survives a restart of
//! the host. When it is due, the device loop drains the calls, and [`Power::reboot`] runs the
//! command once. The start of the command is persisted first, because the command can end this
//! process. If the machine does not reboot, the host accepts calls again, because the device
//! would otherwise not answer until somebody restarts it.
//!
//! At most one reboot is pending at a time, and it cannot be cancelled. [`RebootLimits`] apply
//! to all plugins together and across boots, so that no plugin can keep a machine in a loop of
//! reboots.

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
use crate::journal::{ChangeError, DiskError, Journal, Pages, RecordKind};
use boot::{Boot, Machine};
use history::{Moment, RebootHistory};

pub(crate) mod boot;
mod command;
mod history;

/// The key of the record of the pending request.
const PENDING: &[u8] = b"pending";

/// The key of the record of the last reboots.
const HISTORY: &[u8] = b"history";

/// The time limit for the machine to stop this process after the command.
const REBOOT_WAIT: Duration = Duration::from_secs(300);

/// A reboot that a plugin requested.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct RebootRequest {
    plugin: String,
    reason: String,
    /// The due time by the wall clock, in milliseconds since the Unix epoch.
    at_ms: i64,
    /// The delay from the request to the due time, in milliseconds.
    wait_ms: u64,
    /// The boot in which the reboot was requested. `None` if boots cannot be distinguished.
    boot: Option<String>,
    /// `true` once the command may have run. Missing in records of earlier versions.
    #[serde(default)]
    begun: bool,
}

/// The reboots of the machine.
pub(crate) struct Power {
    command: RebootCommand,
    limits: RebootLimits,
    clock: UptimeClock,
    /// The time limit for the machine to stop this process after the command.
    reboot_wait: Duration,
    journal: Arc<Journal>,
    shared: Arc<PendingReboot>,
}

/// The pending request, which is shared with the thread of the journal.
struct PendingReboot {
    /// The request and its due time.
    pending: Mutex<Option<(RebootRequest, Instant)>>,
    /// Notified of a new request.
    wake: Notify,
}

/// The clock of the current boot.
#[derive(Clone)]
struct UptimeClock {
    machine: Machine,
    boot: Option<Boot>,
    /// The start of the host, for a lower bound of the uptime.
    started: Instant,
}

impl Power {
    /// Restores the request in the journal if it was made in this boot and its command has not
    /// started. If boots cannot be distinguished, the request is dropped, because the current
    /// boot may be the requested one.
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
        if let Some(request) = persisted_request(&power.journal) {
            let same_boot = request.boot.is_some() && request.boot == power.clock.id();
            power.restore(request, same_boot).await;
        }
        power
    }

    /// Restores a request of this boot, or drops it and logs its outcome.
    async fn restore(&self, request: RebootRequest, same_boot: bool) {
        let RebootRequest { plugin, reason, .. } = &request;
        if same_boot && !request.begun {
            let left = request.at_ms - Timestamp::now().as_millisecond();
            // A wall clock that was set back must not make the wait longer than requested.
            let left = u64::try_from(left).unwrap_or(0).min(request.wait_ms);
            let left = Duration::from_millis(left);
            warn!(plugin, ?left, "a reboot requested in the last run is still pending");
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
            info!(plugin, reason, "the machine has booted since the reboot was requested");
        }
        self.forget(false).await;
    }

    /// Waits until a reboot is due.
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

    /// Returns `true` if reboots are only simulated, so that no call has to end for them.
    pub(crate) fn is_dry_run(&self) -> bool {
        self.command.dry_run
    }

    /// Runs the command, or logs it in a dry run. Returns if the machine does not reboot. The
    /// caller drains the calls first, and leaves the connection open.
    pub(crate) async fn reboot(&self) {
        let Some((request, _)) = self.shared.lock().clone() else { return };
        let RebootRequest { plugin, reason, .. } = &request;
        let RebootCommand { command, dry_run } = &self.command;
        let command_line = command.join(" ");
        if *dry_run {
            warn!(plugin, reason, command = command_line, "dry run: this would reboot the machine");
            self.forget(false).await;
            return;
        }
        // The same commit persists all other records that are not yet on disk.
        if let Err(error) = self.begin(&request).await {
            error!(plugin, command = command_line, "the machine is not rebooted: {error}");
            self.forget(false).await;
            return;
        }
        warn!(plugin, reason, command = command_line, "rebooting the machine");
        let ended = command::run(command).await;
        match &ended {
            Ok(()) => {
                sleep(self.reboot_wait).await;
                error!(
                    plugin,
                    command = command_line,
                    "the machine did not reboot, the host continues"
                );
            }
            Err(reason) => {
                let hint = "see `reboot_command` under [host], and what the host's user may do";
                error!(
                    plugin,
                    command = command_line,
                    hint,
                    "the machine is not rebooted: {reason}"
                );
            }
        }
        self.forget(ended.is_err()).await;
    }

    /// Persists the start of the command. If the host is restarted in the same boot, the command
    /// has failed and does not run again.
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

    /// Removes the request. `failed` is `true` if the command returned an error. The request then
    /// does not count as a reboot.
    async fn forget(&self, failed: bool) {
        self.shared.lock().take();
        let remove = move |pages: &Pages<'_>| {
            if failed {
                let mut history = history(pages)?;
                history.undo_last();
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
    /// Returns the id of the current boot.
    fn id(&self) -> Option<String> {
        self.boot.as_ref().map(|boot| boot.id.clone())
    }

    /// Returns the time since the boot.
    fn uptime(&self) -> Duration {
        self.machine.uptime().unwrap_or_else(|| self.started.elapsed())
    }

    /// Returns the current time by all clocks.
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

/// Adds a record to a transaction.
fn put(pages: &Pages<'_>, key: &[u8], record: &impl Serialize) -> Result<(), DiskError> {
    let record = serde_json::to_vec(record).expect("the record is JSON");
    pages.put(RecordKind::Reboot, key, &record)
}

/// Returns the request in the journal. Returns `None` if there is none or it is corrupt.
fn persisted_request(journal: &Journal) -> Option<RebootRequest> {
    let record = journal.read(|view| view.get(RecordKind::Reboot, PENDING)).ok()??;
    serde_json::from_slice(&record).ok()
}

/// Returns the last reboots. Returns an empty history if its record is missing or corrupt.
fn history(pages: &Pages<'_>) -> Result<RebootHistory, DiskError> {
    let record = pages.get(RecordKind::Reboot, HISTORY)?;
    Ok(record.and_then(|record| serde_json::from_slice(&record).ok()).unwrap_or_default())
}

/// Checks a request for a reboot after `delay` against the limits.
fn check(
    limits: RebootLimits,
    history: &RebootHistory,
    now: &Moment,
    delay: Duration,
) -> Result<(), HostError> {
    let RebootLimits { per_hour, min_uptime } = limits;
    let uptime = Duration::from_millis(now.uptime_ms);
    if uptime.saturating_add(delay) < min_uptime {
        let reason = format!(
            "the machine has been up for {} s; `reboot_min_uptime` is {} s",
            uptime.as_secs(),
            min_uptime.as_secs_f64()
        );
        return Err(HostError::QuotaExceeded(reason));
    }
    let reboots = history.within_hour(now);
    if reboots >= per_hour {
        let reason = format!("{reboots} reboots within an hour; `reboots_per_hour` is {per_hour}");
        return Err(HostError::QuotaExceeded(reason));
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
            let accept = move |pages: &Pages<'_>| {
                if let Some((pending, _)) = &*shared.lock() {
                    let error = format!("a reboot is pending already, for `{}`", pending.plugin);
                    return Err(HostError::QuotaExceeded(error).into());
                }
                if let Err(refused) = check(limits, &history(pages)?, &now, delay) {
                    error!(
                        plugin = request.plugin,
                        reason = request.reason,
                        "reboot refused: {refused}"
                    );
                    return Err(ChangeError::Refused(refused));
                }
                put(pages, PENDING, &request)?;
                *shared.lock() = Some((request, due));
                Ok(())
            };
            let undo = move |()| drop(undoing.lock().take());
            self.journal.write_for(plugin, accept, undo).await?;
            self.shared.wake.notify_one();
            info!(plugin, ?delay, reason, "reboot requested");
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests;
