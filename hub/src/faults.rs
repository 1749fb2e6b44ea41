//! Faults on demand: what networks and hubs do to devices, at a chosen point.
//!
//! [`Faults::set`] names the [`Step`] of the protocol, the [`Effect`], the
//! device, the count and the lifetime; every fault ends by itself. At each step
//! the hub asks [`Faults::handling`] for the handling of the packet and logs
//! every fault that happens.
//!
//! This module performs nothing itself: sessions drop their own connections.
//! `docs/hub.md` is the guide.

mod control;
mod fault;
mod handling;
mod injection;

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use protocol::id::DeviceId;
use tokio::sync::watch;
use tokio::time::Instant;
use tracing::warn;

pub(crate) use control::{ControlRequest, FaultJson};
use fault::DEFAULT_LIFETIME;
pub use fault::{Effect, Fault, FaultError, Forget, Refused, Step};
pub(crate) use handling::{ConnectionFate, Handling, Rejection};
pub(crate) use injection::Injection;

/// Path of the REST API at which faults are set, listed and cleared. Azure IoT
/// Hub has no such path.
pub(crate) const CONTROL_PATH: &str = "/$faults";

/// Limit of faults that are set at once.
const MAX_FAULTS: usize = 256;

/// Faults of one hub.
#[derive(Debug)]
pub struct Faults {
    active: Mutex<ActiveFaults>,
    /// Number of active faults and expired tokens. Without any, a step takes no lock.
    count: AtomicUsize,
    happened: watch::Sender<u64>,
    /// End of the latest outage.
    outage: watch::Sender<Option<Instant>>,
}

#[derive(Debug, Default)]
struct ActiveFaults {
    faults: Vec<ActiveFault>,
    /// Devices whose tokens up to this expiry, in Unix seconds, are refused, and
    /// the end of that.
    expired: HashMap<DeviceId, (u64, Instant)>,
    /// Devices whose fault injection is performed: the hash of the message, which is
    /// expected once more until then.
    injected: HashMap<DeviceId, (u64, Instant)>,
}

#[derive(Debug)]
struct ActiveFault {
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
    /// Sets a fault. Of several faults of one step, the one that was set first
    /// happens first.
    pub fn set(&self, fault: Fault) -> Result<(), FaultError> {
        fault.check()?;
        let mut active = self.active.lock();
        active.remove_old();
        if active.faults.len() >= MAX_FAULTS {
            return Err(FaultError::TooMany);
        }
        warn!(?fault, "fault set");
        let until = Instant::now() + fault.lasting;
        active.faults.push(ActiveFault { fault, until });
        self.update_count(&active);
        Ok(())
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

    /// Returns the faults that have not happened, or not as often as they will.
    #[must_use]
    pub fn waiting(&self) -> Vec<Fault> {
        let mut active = self.active.lock();
        active.remove_old();
        self.update_count(&active);
        active.faults.iter().map(|active| active.fault.clone()).collect()
    }

    /// Returns the handling of a packet or request at this step. Counts as one
    /// step of the faults that wait for it.
    pub(crate) fn handling(&self, step: Step, device: Option<&DeviceId>) -> Handling {
        self.take(step, device).map_or(Handling::REGULAR, Effect::handling)
    }

    /// Takes the fault that happens at this step of this device, if any.
    fn take(&self, step: Step, device: Option<&DeviceId>) -> Option<Effect> {
        if self.count.load(Ordering::Acquire) == 0 {
            return None;
        }
        let mut active = self.active.lock();
        active.remove_old();
        let index = active.faults.iter().position(|ActiveFault { fault, .. }| {
            let concerned = fault.device.is_none() || fault.device.as_ref() == device;
            fault.step == step && concerned
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

    /// Refuses the device's tokens that expire no later than this, for a minute.
    pub(crate) fn expire(&self, device: &DeviceId, expiry_unix: u64) {
        let mut active = self.active.lock();
        warn!(%device, "fault happened: its token has expired early");
        active.expired.insert(device.clone(), (expiry_unix, Instant::now() + DEFAULT_LIFETIME));
        self.update_count(&active);
        drop(active);
        self.happened.send_modify(|count| *count += 1);
    }

    /// Returns whether a fault has let this token expire. A newer token ends
    /// that fault.
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

    /// Returns whether a device repeats the message of a fault injection, and ends
    /// the wait for it. Otherwise waits for the repetition of this one.
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

    /// Begins an outage: ends every connection and turns new ones away for
    /// `down`. `None` begins one whose length is not known yet.
    pub(crate) fn begin_outage(&self, down: Option<Duration>) {
        match down {
            None => warn!("fault happened: the hub behaves as if it restarted"),
            Some(_) => self.happened.send_modify(|count| *count += 1),
        }
        self.outage.send_replace(Some(Instant::now() + down.unwrap_or(DEFAULT_LIFETIME)));
    }

    /// Returns notifications of outages for a new connection; `None` during an
    /// outage.
    pub(crate) fn outages(&self) -> Option<watch::Receiver<Option<Instant>>> {
        let outages = self.outage.subscribe();
        let away = outages.borrow().is_some_and(|until| until > Instant::now());
        (!away).then_some(outages)
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
