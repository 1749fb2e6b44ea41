//! Fault injection, to test a device's handling of network and hub failures.
//!
//! [`Faults::set`] adds a fault, which consists of a [`Step`] of the protocol, an [`Effect`], a
//! device, a count and a lifetime. Every fault expires. At each step, the hub calls
//! [`Faults::handling`], which returns the handling of the packet and logs a fault that
//! happens.
//!
//! This module only selects faults; sessions and request handlers apply them. See
//! `docs/hub.md` for a guide.

mod control;
mod fault;
mod handling;
mod injection;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use protocol::id::DeviceId;
use serde::Serialize;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::warn;

pub(crate) use control::{ControlRequest, FaultJson};
use fault::DEFAULT_LIFETIME;
pub use fault::{Effect, Fault, FaultError, Forget, Refused, Step};
pub(crate) use handling::{ChainDefect, ConnectionFate, Handling, Rejection};
pub(crate) use injection::Injection;

/// Path of the REST API that sets, lists and clears faults. It does not exist in Azure IoT
/// Hub.
pub(crate) const CONTROL_PATH: &str = "/$faults";

/// Path of one fault.
pub(crate) const FAULT_PATH: &str = "/$faults/{id}";

/// Returns `true` if the path is that of all faults or of one.
pub(crate) fn is_control_path(path: &str) -> bool {
    path.strip_prefix(CONTROL_PATH).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

/// Maximum number of active faults.
const MAX_FAULTS: usize = 256;

/// Active faults of a hub.
#[derive(Debug)]
pub struct Faults {
    active: Mutex<ActiveFaults>,
    /// Number of active faults and expired tokens. At zero, a step takes no lock.
    count: AtomicUsize,
    happened: watch::Sender<u64>,
    /// End of the latest outage.
    outage: watch::Sender<Option<Instant>>,
}

/// Number of a fault that was set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FaultId(u64);

impl From<u64> for FaultId {
    fn from(number: u64) -> FaultId {
        FaultId(number)
    }
}

impl std::fmt::Display for FaultId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[derive(Debug, Default)]
struct ActiveFaults {
    faults: Vec<ActiveFault>,
    /// The last number of a fault.
    last: u64,
    /// Devices with refused tokens: the latest refused expiry, in Unix seconds, and the
    /// time until which such tokens are refused.
    expired: HashMap<DeviceId, (u64, Instant)>,
    /// Devices with a performed fault injection: the hash of its message, and the time
    /// until which the device is expected to repeat it.
    injected: HashMap<DeviceId, (u64, Instant)>,
}

#[derive(Debug)]
struct ActiveFault {
    id: FaultId,
    fault: Fault,
    until: Instant,
}

impl Default for Faults {
    fn default() -> Faults {
        Faults {
            active: Mutex::default(),
            count: AtomicUsize::new(0),
            happened: watch::Sender::new(0),
            outage: watch::Sender::new(None),
        }
    }
}

impl Faults {
    /// Sets a fault. Faults of the same step happen in the order in which they were set.
    pub fn set(&self, fault: Fault) -> Result<FaultId, FaultError> {
        fault.check()?;
        let mut active = self.active.lock();
        active.remove_old();
        if active.faults.len() >= MAX_FAULTS {
            return Err(FaultError::TooMany);
        }
        warn!(?fault, "fault set");
        let until = Instant::now() + fault.lasting;
        active.last += 1;
        let id = FaultId(active.last);
        active.faults.push(ActiveFault { id, fault, until });
        self.update_count(&active);
        Ok(id)
    }

    /// Removes a fault. Returns `false` if there is none with this number, since it has happened
    /// as often as requested, or has expired.
    pub fn remove(&self, id: FaultId) -> bool {
        let mut active = self.active.lock();
        active.remove_old();
        let before = active.faults.len();
        active.faults.retain(|active| active.id != id);
        self.update_count(&active);
        active.faults.len() < before
    }

    /// Removes all faults.
    pub fn clear(&self) {
        let mut active = self.active.lock();
        active.faults.clear();
        active.expired.clear();
        active.injected.clear();
        self.update_count(&active);
    }

    /// Returns the number of faults that have happened since the hub started.
    #[must_use]
    pub fn happened(&self) -> u64 {
        *self.happened.borrow()
    }

    /// Waits until this many faults have happened since the hub started.
    pub async fn until_happened(&self, times: u64) {
        let mut happened = self.happened.subscribe();
        // `self` holds the sender, so the channel cannot close.
        let _ = happened.wait_for(|count| *count >= times).await;
    }

    /// Returns the faults that have not yet happened as often as requested.
    #[must_use]
    pub fn waiting(&self) -> Vec<Fault> {
        self.numbered().into_iter().map(|(_, fault)| fault).collect()
    }

    /// Returns the same faults with their numbers.
    pub(crate) fn numbered(&self) -> Vec<(FaultId, Fault)> {
        let mut active = self.active.lock();
        active.remove_old();
        self.update_count(&active);
        active.faults.iter().map(|active| (active.id, active.fault.clone())).collect()
    }

    /// Returns the handling of a packet or request at this step. Each call counts as one step
    /// for the matching faults.
    pub(crate) fn handling(&self, step: Step, device: Option<&DeviceId>) -> Handling {
        self.take(step, device).map_or(Handling::REGULAR, Effect::handling)
    }

    /// Returns the effect of a fault at this step of the device, if one happens.
    fn take(&self, step: Step, device: Option<&DeviceId>) -> Option<Effect> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut active = self.active.lock();
        active.remove_old();
        let index = active.faults.iter().position(|ActiveFault { fault, .. }| {
            let affected = fault.device.is_none() || fault.device.as_ref() == device;
            fault.step == step && affected
        })?;
        let fault = &mut active.faults[index].fault;
        if fault.after > 0 {
            fault.after -= 1;
            return None;
        }
        fault.times -= 1;
        let effect = fault.effect;
        if fault.times == 0 {
            active.faults.remove(index);
        }
        self.update_count(&active);
        drop(active);
        let device = device.map_or("any", DeviceId::as_str);
        warn!(device, ?step, ?effect, "fault happened");
        self.happened.send_modify(|count| *count += 1);
        Some(effect)
    }

    /// Refuses the device's tokens that expire at `expiry_unix` or earlier, for a minute.
    pub(crate) fn expire(&self, device: &DeviceId, expiry_unix: u64) {
        let mut active = self.active.lock();
        warn!(%device, "fault happened: its token has expired early");
        active.expired.insert(device.clone(), (expiry_unix, Instant::now() + DEFAULT_LIFETIME));
        self.update_count(&active);
        drop(active);
        self.happened.send_modify(|count| *count += 1);
    }

    /// Returns `true` if a fault has made this token expire. A newer token ends the fault.
    pub(crate) fn has_expired(&self, device: &DeviceId, expiry_unix: u64) -> bool {
        if self.count.load(Ordering::Acquire) == 0 {
            return false;
        }
        let mut active = self.active.lock();
        let Some((until_expiry, _)) = active.expired.get(device) else { return false };
        let expired = expiry_unix <= *until_expiry;
        if !expired {
            active.expired.remove(device);
        }
        active.remove_old();
        self.update_count(&active);
        expired && active.expired.contains_key(device)
    }

    /// Returns `true` if the device repeats the message of a performed fault injection,
    /// and forgets the message. Otherwise remembers the message for `lifetime`.
    pub(crate) fn take_repeated(
        &self,
        device: &DeviceId,
        message_hash: u64,
        duplicate: bool,
        lifetime: Duration,
    ) -> bool {
        let mut active = self.active.lock();
        active.remove_old();
        let performed = active.injected.remove(device);
        if duplicate || performed.is_some_and(|(known, _)| known == message_hash) {
            return true;
        }
        active.injected.insert(device.clone(), (message_hash, Instant::now() + lifetime));
        false
    }

    /// Begins an outage, which ends every connection and refuses new ones for `down`; `None` if
    /// the duration is still unknown.
    pub(crate) fn begin_outage(&self, down: Option<Duration>) {
        match down {
            None => warn!("fault happened: the hub behaves as if it restarted"),
            Some(_) => self.happened.send_modify(|count| *count += 1),
        }
        self.outage.send_replace(Some(Instant::now() + down.unwrap_or(DEFAULT_LIFETIME)));
    }

    /// Returns a receiver of outages for a new connection. Returns `None` during an outage.
    pub(crate) fn outages(&self) -> Option<watch::Receiver<Option<Instant>>> {
        let outages = self.outage.subscribe();
        let down = outages.borrow().is_some_and(|until| until > Instant::now());
        (!down).then_some(outages)
    }

    fn update_count(&self, active: &ActiveFaults) {
        self.count.store(active.faults.len() + active.expired.len(), Ordering::Release);
    }
}

impl ActiveFaults {
    fn remove_old(&mut self) {
        let now = Instant::now();
        self.faults.retain(|active| active.until > now);
        self.expired.retain(|_, (_, until)| *until > now);
        self.injected.retain(|_, (_, until)| *until > now);
    }
}

#[cfg(test)]
mod tests;
