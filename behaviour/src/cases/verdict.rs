//! The result of running a case.

use std::time::Duration;

use super::Difference;
use crate::desk::Outcome;

/// The result of running a case.
pub struct Verdict {
    /// The steps that ran. Each but the last one passed. A case without `steps` is one step.
    pub steps: Vec<StepVerdict>,
    /// The number of steps of the case; `None` for a case without `steps`.
    pub step_count: Option<usize>,
    /// The peak linear memory of the calls and jobs, in bytes.
    pub memory_bytes: usize,
}

/// The result of running a step.
pub struct StepVerdict {
    /// The name of the step; empty for a case without `steps`.
    pub title: String,
    /// The differences from the expectations; empty if the step passed.
    pub differences: Vec<Difference>,
    /// The outcome of the step.
    pub outcome: Outcome,
}

impl Verdict {
    /// Returns `true` if the case passed.
    #[must_use]
    pub fn passed(&self) -> bool {
        self.differences().next().is_none()
    }

    /// Returns the differences of the step that failed, if there is one.
    pub fn differences(&self) -> impl Iterator<Item = &Difference> {
        self.steps.iter().flat_map(|step| &step.differences)
    }

    /// Returns the virtual time of all steps, without the jobs of `run_jobs`.
    #[must_use]
    pub fn took(&self) -> Duration {
        self.steps.iter().map(|step| step.outcome.took).sum()
    }
}
