//! Errors of reading an image.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use program::chain;
use trust::Distrust;

use crate::ManifestError;
use crate::credentials::CredentialError;

/// Error of reading or writing an image.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// A reference that selects nothing.
    #[error("`{0}` has neither a tag nor a digest")]
    NoSelector(String),
    /// Content that the source does not have.
    #[error("{subject}: not found in {place}")]
    NotFound {
        /// The reference or digest.
        subject: String,
        /// The registry or directory.
        place: String,
    },
    /// A registry that demands other credentials.
    #[error("{registry} {}", unauthorized(*.known))]
    Unauthorized {
        /// The registry.
        registry: String,
        /// `true` if credentials were sent.
        known: bool,
    },
    /// A registry that forbids the operation.
    #[error("{registry} denies access to {subject}{}", suffix(.message))]
    Denied {
        /// The registry.
        registry: String,
        /// The reference or digest.
        subject: String,
        /// The text of the registry; may be empty.
        message: String,
    },
    /// A registry that limits the rate of requests.
    #[error("{registry} has too many requests")]
    Busy {
        /// The registry.
        registry: String,
        /// The time after which the registry wants the next request.
        retry_after: Option<Duration>,
    },
    /// A registry that cannot be reached or fails.
    #[error("{registry} is not available: {reason}")]
    Unavailable {
        /// The registry.
        registry: String,
        /// The reason.
        reason: String,
    },
    /// A registry whose certificate is not trusted.
    #[error("the certificate of {registry} {reason}")]
    NotTrusted {
        /// The registry.
        registry: String,
        /// A predicate.
        reason: String,
    },
    /// A registry that does not answer in time, or sends too slowly.
    #[error("{registry} has not answered within {}", seconds(.limit))]
    TimedOut {
        /// The registry.
        registry: String,
        /// The time limit.
        limit: Duration,
    },
    /// Another status.
    #[error("{registry} answered {subject} with status {status}{}", suffix(.message))]
    Status {
        /// The registry.
        registry: String,
        /// The reference or digest.
        subject: String,
        /// The status.
        status: u16,
        /// The text of the registry; may be empty.
        message: String,
    },
    /// A registry that breaks the protocol.
    #[error("{registry} {problem}")]
    Protocol {
        /// The registry.
        registry: String,
        /// A predicate.
        problem: String,
    },
    /// Content larger than the limit.
    #[error("{subject} has {size} bytes; at most {max} are allowed")]
    TooLarge {
        /// The reference or digest.
        subject: String,
        /// The size that the source states.
        size: u64,
        /// The limit.
        max: u64,
    },
    /// Content whose size differs from the descriptor.
    #[error("{subject} has {found} bytes instead of {expected}")]
    WrongSize {
        /// The reference or digest.
        subject: String,
        /// The size in the descriptor.
        expected: u64,
        /// The size found; a lower bound if the content goes on.
        found: u64,
    },
    /// Content with another digest.
    #[error("{subject} has other content, with the digest {found}")]
    WrongDigest {
        /// The reference or digest.
        subject: String,
        /// The digest found.
        found: String,
    },
    /// An unusable manifest.
    #[error("the manifest of {subject} {problem}")]
    Manifest {
        /// The reference.
        subject: String,
        /// A predicate.
        problem: ManifestError,
    },
    /// A registry that fails after its mirrors.
    #[error("{}; {}", chain(.error.as_ref()), .mirrors.join("; "))]
    AfterMirrors {
        /// The error of the registry itself.
        error: Box<SourceError>,
        /// The reason of each mirror, with its name.
        mirrors: Vec<String>,
    },
    /// Unusable credentials.
    #[error(transparent)]
    Credentials(#[from] CredentialError),
    /// A file that cannot be read or written.
    #[error("{}", .path.display())]
    File {
        /// The path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// A directory that is not an image layout.
    #[error("{} {problem}", .path.display())]
    Layout {
        /// The path.
        path: PathBuf,
        /// A predicate.
        problem: String,
    },
}

impl SourceError {
    /// Returns the error without the reasons of mirrors.
    #[must_use]
    pub fn of_registry(&self) -> &SourceError {
        match self {
            SourceError::AfterMirrors { error, .. } => error.of_registry(),
            error => error,
        }
    }

    /// Returns the reason of a mirror, for [`SourceError::AfterMirrors`].
    pub(crate) fn of_mirror(&self, name: &str) -> String {
        let text = chain(self).to_string();
        match text.strip_prefix(name) {
            Some(predicate) => format!("mirror {name}{predicate}"),
            None => format!("mirror {name}: {text}"),
        }
    }

    /// Adds the reasons of mirrors, unless the error is of this machine.
    pub(crate) fn after_mirrors(self, mirrors: Vec<String>) -> SourceError {
        if mirrors.is_empty() || self.is_local() {
            return self;
        }
        SourceError::AfterMirrors { error: Box::new(self), mirrors }
    }

    /// Returns a short name of the reason, for programs.
    #[must_use]
    pub fn code(&self) -> &'static str {
        match self {
            SourceError::NoSelector(_) => "no-selector",
            SourceError::NotFound { .. } => "not-found",
            SourceError::Unauthorized { .. } => "unauthorized",
            SourceError::Denied { .. } => "denied",
            SourceError::Busy { .. } => "too-many-requests",
            SourceError::Unavailable { .. } => "unavailable",
            SourceError::NotTrusted { .. } => "not-trusted",
            SourceError::TimedOut { .. } => "timed-out",
            SourceError::Status { .. } | SourceError::Protocol { .. } => "protocol",
            SourceError::TooLarge { .. } => "too-large",
            SourceError::WrongSize { .. } => "wrong-size",
            SourceError::WrongDigest { .. } => "wrong-digest",
            SourceError::Manifest { .. } => "malformed-manifest",
            SourceError::AfterMirrors { error, .. } => error.code(),
            SourceError::Credentials(_) => "credentials",
            SourceError::File { source, .. } if is_full(source) => "disk-full",
            SourceError::File { .. } => "file",
            SourceError::Layout { .. } => "malformed-layout",
        }
    }

    /// Returns `true` if the same request may succeed later without a change by a person.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        match self {
            SourceError::Busy { .. }
            | SourceError::Unavailable { .. }
            | SourceError::TimedOut { .. } => true,
            SourceError::Status { status, .. } => *status >= 500,
            SourceError::File { source, .. } => is_full(source),
            SourceError::AfterMirrors { error, .. } => error.is_transient(),
            _ => false,
        }
    }

    /// Returns `true` if another registry with the same content cannot help.
    pub(crate) fn is_local(&self) -> bool {
        matches!(
            self,
            SourceError::NoSelector(_) | SourceError::File { .. } | SourceError::TooLarge { .. }
        )
    }

    /// Returns a way out.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            SourceError::NoSelector(name) => {
                return Some(format!("add a tag, as in `{name}:1.0.0`, or a digest"));
            }
            SourceError::NotFound { .. } => "check the name, the tag and the registry",
            SourceError::Unauthorized { registry, .. } => {
                return Some(format!("`docker login {registry}` stores credentials"));
            }
            SourceError::NotTrusted { reason, .. } if *reason == Distrust::Issuer.text() => {
                "name the certificate of the registry's authority as the CA file"
            }
            SourceError::NotTrusted { reason, .. } if *reason == Distrust::Time.text() => {
                "correct the clock, or renew the registry's certificate"
            }
            SourceError::Unavailable { reason, .. } if reason == WITHOUT_TLS => {
                "`--plain-http`, or `plain_http` under [host.registry], allows that"
            }
            SourceError::File { source, .. } if is_full(source) => "free some space",
            SourceError::WrongDigest { .. } => {
                "the content was changed on the way or in the registry; publish it again"
            }
            SourceError::AfterMirrors { error, .. } => return error.hint(),
            SourceError::Credentials(error) => return error.hint().map(str::to_owned),
            _ => return None,
        };
        Some(hint.to_owned())
    }
}

/// Reason why a server without TLS is not available.
pub(crate) const WITHOUT_TLS: &str = "it answers without TLS";

fn is_full(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
}

fn unauthorized(known: bool) -> &'static str {
    match known {
        true => "does not accept the credentials",
        false => "demands credentials",
    }
}

fn suffix(message: &str) -> String {
    if message.is_empty() { String::new() } else { format!(": {message}") }
}

fn seconds(limit: &Duration) -> String {
    format!("{} s", limit.as_secs())
}
