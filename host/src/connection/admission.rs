//! Answers to probes: whether a method can run, without running anything.

use std::sync::OnceLock;

use protocol::id::MethodName;
use protocol::mqtt5::Rejection;

/// The decision about probes.
pub(crate) trait Admission: Send + Sync {
    /// Returns the plugin that serves the method, or the reason for which it cannot run now.
    fn probe(&self, method: &MethodName) -> Result<ProbedPlugin, Rejection>;
}

/// A plugin that can run a method.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ProbedPlugin {
    pub(crate) name: String,
    /// The number of calls that it can begin now.
    pub(crate) free_calls: usize,
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
    fn probe(&self, method: &MethodName) -> Result<ProbedPlugin, Rejection> {
        self.0.get().ok_or(Rejection::DeviceBusy)?.probe(method)
    }
}
