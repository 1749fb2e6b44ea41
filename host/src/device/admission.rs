//! The router's answers to probes.

use std::sync::{Arc, Weak};
use std::time::Duration;

use protocol::id::{MethodName, RequestId};
use protocol::mqtt5::Rejection;

use crate::connection::admission::{Admission, ProbedCall};
use crate::router::{ReservedCall, Router, Unavailable};

/// The decision of a router about probes. Does not keep the router alive.
pub(crate) struct RouterAdmission(Weak<Router>);

impl RouterAdmission {
    pub(crate) fn new(router: &Arc<Router>) -> RouterAdmission {
        RouterAdmission(Arc::downgrade(router))
    }
}

impl Admission for RouterAdmission {
    fn probe(&self, method: &MethodName, time: Option<Duration>) -> Result<ProbedCall, Rejection> {
        let router = self.0.upgrade().ok_or(Rejection::DeviceBusy)?;
        let call = router.reserve(method, time).map_err(|unavailable| match unavailable {
            Unavailable::Busy => Rejection::DeviceBusy,
            Unavailable::TooSlow => Rejection::InsufficientTime,
            Unavailable::Unknown => Rejection::MethodNotFound,
        })?;
        let (min_time, router) = (call.min_time, Weak::clone(&self.0));
        Ok(ProbedCall::new(min_time, move |rid| begin(&router, rid, call)))
    }
}

fn begin(router: &Weak<Router>, rid: &RequestId, call: ReservedCall) {
    if let Some(router) = router.upgrade() {
        router.begin_reserved(rid, call);
    }
}
