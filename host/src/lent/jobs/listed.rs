//! Jobs as the operator sees them.

use jiff::Timestamp;

/// A job in the list for the operator.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct ListedJob {
    pub(crate) id: String,
    pub(crate) plugin: String,
    pub(crate) name: String,
    pub(crate) state: ListedState,
    /// The time at which the job is due; for a boot, its time limit.
    pub(crate) due: Option<Timestamp>,
    /// The number of attempts, a running one included.
    pub(crate) attempts: u32,
}

/// The state of a job in the list for the operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ListedState {
    WaitingForCall,
    WaitingForTime,
    WaitingForBoot,
    Running,
}

/// The reason why an operator cannot cancel a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotCancelled {
    Unknown,
    Running,
}
