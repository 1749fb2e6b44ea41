//! Reboots that plugins request, from the request to the command.
//!
//! The request is in the journal before the plugin gets its answer, so that a host
//! which is restarted meanwhile still carries it out. When it is due, the device's loop
//! lets the calls end and has [`Power::reboot`] run the command. If the machine does
//! not go down, the host resumes its calls: nothing else in the field would answer.
//!
//! One reboot is pending at a time, and none is cancelled.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use jiff::Timestamp;
use parking_lot::{Mutex, MutexGuard};
use plugin::HostError;
use serde::{Deserialize, Serialize};
use tokio::process::Command;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{error, info, warn};

use crate::config::RebootCommand;
use crate::journal::{Journal, Pages, RecordKind};
use crate::lent::power::boot::Boot;

pub(crate) mod boot;

/// The key of the one record.
const PENDING: &[u8] = b"pending";

/// Time that the command may take; it only has to request the reboot.
const COMMAND_WAIT: Duration = Duration::from_secs(60);

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
}

pub(crate) struct Power {
    command: RebootCommand,
    boot: Option<Boot>,
    journal: Arc<Journal>,
    shared: Arc<PendingReboot>,
}

struct PendingReboot {
    pending: Mutex<Option<(RebootRequest, Instant)>>,
    /// A reboot was asked for.
    wake: Notify,
}

impl Power {
    /// Starts with the request in the journal, if it is of this boot. If boots cannot
    /// be told apart, the boot may be the one that was requested.
    pub(crate) fn new(command: RebootCommand, boot: Option<Boot>, journal: Arc<Journal>) -> Power {
        let mut pending = None;
        let of_this_boot =
            |kept: &RebootRequest| kept.boot.is_some() && kept.boot == id(boot.as_ref());
        if let Some(request) = kept(&journal).filter(of_this_boot) {
            let left = request.at_ms - Timestamp::now().as_millisecond();
            // A clock that was set back makes no wait longer than was asked for.
            let left = u64::try_from(left).unwrap_or(0).min(request.wait_ms);
            let left = Duration::from_millis(left);
            warn!(plugin = request.plugin, ?left, "the reboot of the last run is still to come");
            pending = Some((request, Instant::now() + left));
        }
        let shared = Arc::new(PendingReboot { pending: Mutex::new(pending), wake: Notify::new() });
        Power { command, boot, journal, shared }
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
        let Some((RebootRequest { plugin, reason, .. }, _)) = self.shared.lock().clone() else {
            return;
        };
        let RebootCommand { command, dry_run } = &self.command;
        let command = command.join(" ");
        if *dry_run {
            warn!(plugin, reason, command, "dry run: this would reboot the machine");
            self.forget().await;
            return;
        }
        if let Err(error) = self.journal.flush().await {
            error!(plugin, "not everything is on disk before the reboot: {error}");
        }
        warn!(plugin, reason, command, "rebooting the machine");
        match self.run().await {
            Ok(()) => {
                sleep(REBOOT_WAIT).await;
                error!(plugin, command, "the machine did not reboot, the host continues");
            }
            Err(why) => {
                let hint = "see `reboot_command` under [host], and what the host's user may do";
                error!(plugin, command, hint, "the machine is not rebooted: {why}");
            }
        }
        self.forget().await;
    }

    async fn run(&self) -> Result<(), String> {
        let (program, arguments) = self.command.command.split_first().ok_or("no command")?;
        let mut command = Command::new(program);
        command.args(arguments).kill_on_drop(true);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let ended = timeout(COMMAND_WAIT, command.output()).await;
        let output = ended
            .map_err(|_| format!("the command is not done after {COMMAND_WAIT:?}"))?
            .map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr);
        let said: String = said.trim().chars().take(200).flat_map(char::escape_debug).collect();
        Err(format!("{}: {said}", output.status))
    }

    /// The request is over.
    async fn forget(&self) {
        self.shared.lock().take();
        let remove = |pages: &Pages<'_>| Ok(pages.remove(RecordKind::Reboot, PENDING)?);
        if let Err(error) = self.journal.write(remove).await {
            error!("completed reboot still in the journal, it may be repeated: {error}");
        }
    }
}

impl PendingReboot {
    fn lock(&self) -> MutexGuard<'_, Option<(RebootRequest, Instant)>> {
        self.pending.lock()
    }
}

fn id(boot: Option<&Boot>) -> Option<String> {
    boot.map(|boot| boot.id.clone())
}

fn kept(journal: &Journal) -> Option<RebootRequest> {
    let record = journal.read(|view| view.get(RecordKind::Reboot, PENDING)).ok()??;
    serde_json::from_slice(&record).ok()
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
            let request = RebootRequest {
                plugin: plugin.to_owned(),
                reason: reason.to_owned(),
                at_ms: at.as_millisecond(),
                wait_ms: u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
                boot: id(self.boot.as_ref()),
            };
            let due = Instant::now() + delay;
            let (shared, undoing) = (Arc::clone(&self.shared), Arc::clone(&self.shared));
            let ask = move |pages: &Pages<'_>| {
                if let Some((pending, _)) = &*shared.lock() {
                    let why = format!("a reboot is pending already, for `{}`", pending.plugin);
                    return Err(HostError::QuotaExceeded(why).into());
                }
                let record = serde_json::to_vec(&request).expect("a request is JSON");
                pages.put(RecordKind::Reboot, PENDING, &record)?;
                *shared.lock() = Some((request, due));
                Ok(())
            };
            self.journal.write_or(ask, move |()| drop(undoing.lock().take())).await?;
            self.shared.wake.notify_one();
            info!(plugin, ?delay, reason, "reboot asked for");
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests;
