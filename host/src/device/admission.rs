//! The router's answers to probes.

use std::sync::{Arc, Weak};

use protocol::id::MethodName;
use protocol::mqtt5::Rejection;

use crate::connection::admission::{Admission, ProbedPlugin};
use crate::router::{Availability, Router};

/// The decision of a router about probes. Does not keep the router alive.
pub(crate) struct RouterAdmission(Weak<Router>);

impl RouterAdmission {
    pub(crate) fn new(router: &Arc<Router>) -> RouterAdmission {
        RouterAdmission(Arc::downgrade(router))
    }
}

impl Admission for RouterAdmission {
    fn probe(&self, method: &MethodName) -> Result<ProbedPlugin, Rejection> {
        let router = self.0.upgrade().ok_or(Rejection::DeviceBusy)?;
        match router.availability(method) {
            Availability::Free { plugin, calls } => {
                Ok(ProbedPlugin { name: plugin, free_calls: calls })
            }
            Availability::Busy => Err(Rejection::DeviceBusy),
            Availability::Unknown => Err(Rejection::MethodNotFound),
        }
    }
}
