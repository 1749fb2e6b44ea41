//! Answers to probes: whether a method can run, without running anything.

use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

use protocol::id::{MethodName, RequestId};
use protocol::mqtt5::Rejection;

/// The decision about probes.
pub(crate) trait Admission: Send + Sync {
    /// Reserves a call of the method that ends within `time`, or returns the reason for which it
    /// cannot run now.
    fn probe(&self, method: &MethodName, time: Option<Duration>) -> Result<ProbedCall, Rejection>;
}

/// A call that is reserved until this is dropped.
pub(crate) struct ProbedCall {
    /// The shortest time that the call needs.
    pub(crate) min_time: Duration,
    begin: Box<dyn FnOnce(&RequestId) + Send + Sync>,
}

impl ProbedCall {
    /// Creates a reserved call. `begin` holds the reservation.
    pub(crate) fn new(
        min_time: Duration,
        begin: impl FnOnce(&RequestId) + Send + Sync + 'static,
    ) -> ProbedCall {
        ProbedCall { min_time, begin: Box::new(begin) }
    }

    /// Assigns the reservation to the method with this request id, which is about to arrive.
    pub(crate) fn begin(self, rid: &RequestId) {
        (self.begin)(rid);
    }
}

impl fmt::Debug for ProbedCall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ProbedCall").field("min_time", &self.min_time).finish_non_exhaustive()
    }
}

/// The decision of a device whose plugins may not be known yet. Until then, it is busy.
#[derive(Default)]
pub(crate) struct LateAdmission(OnceLock<Box<dyn Admission>>);

impl LateAdmission {
    /// Sets the decision. Only the first call has an effect.
    pub(crate) fn set(&self, admission: impl Admission + 'static) {
        self.0.set(Box::new(admission)).ok();
    }
}

impl Admission for LateAdmission {
    fn probe(&self, method: &MethodName, time: Option<Duration>) -> Result<ProbedCall, Rejection> {
        self.0.get().ok_or(Rejection::DeviceBusy)?.probe(method, time)
    }
}
