//! Error of the tutorial, with a hint for each cause.

use behaviour::BuildError;
use program::{Classify, ExitKind};
use service::ServiceError;
use tokio::task::JoinError;

pub(crate) type CommandError = program::CommandError<FailureKind>;

/// Kind of failure: the tutorial did not complete.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct FailureKind;

impl ExitKind for FailureKind {
    fn exit_code(self) -> u8 {
        1
    }

    fn name(self) -> &'static str {
        "other"
    }
}

impl Classify<BuildError> for FailureKind {
    fn hint(error: &BuildError) -> Option<String> {
        error.hint().map(String::from)
    }
}

impl Classify<host::RunError> for FailureKind {
    fn hint(error: &host::RunError) -> Option<String> {
        error.hint()
    }
}

impl Classify<hub::StartError> for FailureKind {}

impl Classify<ServiceError> for FailureKind {}

impl Classify<JoinError> for FailureKind {}

impl Classify<anyhow::Error> for FailureKind {}
