//! Calls that are reserved for a caller that asks before it calls.
//!
//! A reservation holds a permit of the plugin, so that no other call can take it. Dropping the
//! reservation returns the permit. [`Router::begin_reserved`] assigns the permit to a request id,
//! and the method with this id runs with it.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::Mutex;
use plugin::CallPermit;
use protocol::id::{MethodName, RequestId};
use tokio::time::Instant;

use super::Router;
use crate::plugins::slot::Disabled;
use protocol::remote_method::reserved;

/// The time for which a permit waits for its method. The method is already on its way through
/// the host, unless the connection ends at this moment.
const ARRIVAL_WAIT: Duration = Duration::from_secs(10);

/// A reserved call.
pub(crate) struct ReservedCall {
    /// The shortest time that the call needs, as declared or observed.
    pub(crate) min_time: Duration,
    /// The permit of the plugin. `None` while the plugin is being loaded: its calls wait for
    /// that, and are then admitted like any other.
    permit: Option<CallPermit>,
}

/// The reason why no call was reserved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unavailable {
    /// A plugin at its limit of calls or disabled, or a host that drains.
    Busy,
    /// A method that takes longer than the caller waits.
    TooSlow,
    /// No plugin for this method.
    Unknown,
}

/// The permits of methods that are about to arrive, by request id.
#[derive(Default)]
pub(super) struct Reservations(Mutex<HashMap<RequestId, (CallPermit, Instant)>>);

impl Reservations {
    fn insert(&self, rid: &RequestId, permit: CallPermit, now: Instant) {
        let mut permits = self.0.lock();
        permits.retain(|_, (_, until)| *until > now);
        permits.insert(rid.clone(), (permit, now + ARRIVAL_WAIT));
    }

    pub(super) fn take(&self, rid: &RequestId) -> Option<CallPermit> {
        let mut permits = self.0.lock();
        // Usually there are none, and the id need not be hashed.
        if permits.is_empty() {
            return None;
        }
        permits.remove(rid).map(|(permit, _)| permit)
    }
}

impl Router {
    /// Reserves a call of the plugin that serves the method, without calling it. The call must
    /// need less than `time`, if that is limited.
    pub(crate) fn reserve(
        &self,
        method: &MethodName,
        time: Option<Duration>,
    ) -> Result<ReservedCall, Unavailable> {
        if self.is_draining() {
            return Err(Unavailable::Busy);
        }
        if reserved(method).is_some() {
            return Ok(ReservedCall { min_time: Duration::ZERO, permit: None });
        }
        let table = self.table();
        let slot = table.serving(method).ok_or(Unavailable::Unknown)?;
        let now = Instant::now();
        let declared = table.min_time(slot.name(), method);
        let min_time = declared.max(slot.observed_time(method.as_str(), now));
        if time.is_some_and(|time| time <= min_time) {
            return Err(Unavailable::TooSlow);
        }
        let permit = match slot.begin(now) {
            Ok(begun) => Some(begun.version.loaded.plugin.reserve().ok_or(Unavailable::Busy)?),
            Err(Disabled::Starting | Disabled::Loading) => None,
            Err(_) => return Err(Unavailable::Busy),
        };
        Ok(ReservedCall { min_time, permit })
    }

    /// Assigns a reserved call to the method with this request id, which is about to arrive.
    pub(crate) fn begin_reserved(&self, rid: &RequestId, call: ReservedCall) {
        if let Some(permit) = call.permit {
            self.reservations.insert(rid, permit, Instant::now());
        }
    }
}
