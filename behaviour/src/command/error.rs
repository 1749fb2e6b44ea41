//! Exit codes and hints of failed commands.

use behaviour::desk::DeskError;
use behaviour::{BuildError, CreateError};
use oci::artifact::MetadataError;
use oci::registry::ClientError;
use oci::signature::{KeyError, Refusal, SignError};
use oci::{ManifestError, SourceError};
use program::{Classify, ExitKind, note};
use protocol::twin::PatchError;

pub(crate) type CommandError = program::CommandError<FailureKind>;

/// The kinds of failure, each with an exit code that the help text documents.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) enum FailureKind {
    #[default]
    Other,
    /// Invalid usage that `clap` cannot detect, such as a twin that breaks the rules of IoT
    /// Hub. The exit code is the same as `clap`'s.
    Usage,
    /// A component that cannot be built, or that a host would not load.
    NotLoaded,
    /// An image that is not signed by a trusted key.
    NotTrusted,
}

impl ExitKind for FailureKind {
    fn exit_code(self) -> u8 {
        match self {
            FailureKind::Other => 1,
            FailureKind::Usage => 2,
            FailureKind::NotLoaded => 3,
            FailureKind::NotTrusted => 4,
        }
    }

    fn name(self) -> &'static str {
        match self {
            FailureKind::Other => "other",
            FailureKind::Usage => "usage",
            FailureKind::NotLoaded => "not-loaded",
            FailureKind::NotTrusted => "not-trusted",
        }
    }
}

impl Classify<anyhow::Error> for FailureKind {}

impl Classify<std::io::Error> for FailureKind {}

impl Classify<CreateError> for FailureKind {
    fn hint(error: &CreateError) -> Option<String> {
        error.hint().map(str::to_owned)
    }
}

impl Classify<BuildError> for FailureKind {
    fn hint(error: &BuildError) -> Option<String> {
        error.hint().map(String::from)
    }
}

impl Classify<DeskError> for FailureKind {
    fn hint(error: &DeskError) -> Option<String> {
        error.hint()
    }
}

impl Classify<SourceError> for FailureKind {
    fn hint(error: &SourceError) -> Option<String> {
        error.hint()
    }
}

impl Classify<ClientError> for FailureKind {}

impl Classify<KeyError> for FailureKind {
    fn hint(error: &KeyError) -> Option<String> {
        error.hint().map(str::to_owned)
    }
}

impl Classify<SignError> for FailureKind {}

impl Classify<ManifestError> for FailureKind {}

impl Classify<MetadataError> for FailureKind {}

impl Classify<Refusal> for FailureKind {
    fn classify(_: &Refusal) -> FailureKind {
        FailureKind::NotTrusted
    }

    fn hint(error: &Refusal) -> Option<String> {
        matches!(error, Refusal::Unsigned(_))
            .then(|| "`behaviour sign REF --key FILE` adds a signature".to_owned())
    }
}

impl Classify<PatchError> for FailureKind {
    fn classify(_: &PatchError) -> FailureKind {
        FailureKind::Usage
    }
}

/// Prints the output of the failed tool and converts the error, whose message contains
/// only a summary.
pub(crate) fn build_failed(error: BuildError) -> CommandError {
    if let Some(output) = error.output().filter(|output| !output.is_empty()) {
        note(format_args!("{}", output.trim_end()));
    }
    error.into()
}
