//! The error of a failed command: its kind, its causes and its hints.

use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};

use crate::{chain, output};

/// Maximum time for writing an error to standard error.
const REPORT_TIME: Duration = Duration::from_secs(5);

/// The error of a failed command. Its kind determines the exit code.
///
/// Each program defines an enum of error kinds that implements [`ExitKind`]. For each error
/// type of its libraries, the enum also implements [`Classify`], which maps an error to a
/// kind and a hint. The operator `?` then converts such an error to a `CommandError`.
///
/// ```
/// use behaviour_program::{Classify, CommandError, ExitKind};
///
/// #[derive(Debug, Clone, Copy, Default)]
/// enum Kind {
///     #[default]
///     Other,
///     InvalidNumber,
/// }
///
/// impl ExitKind for Kind {
///     fn exit_code(self) -> u8 {
///         match self {
///             Kind::Other => 1,
///             Kind::InvalidNumber => 3,
///         }
///     }
///
///     fn name(self) -> &'static str {
///         match self {
///             Kind::Other => "other",
///             Kind::InvalidNumber => "invalid-number",
///         }
///     }
/// }
///
/// impl Classify<std::num::ParseIntError> for Kind {
///     fn classify(_: &std::num::ParseIntError) -> Kind {
///         Kind::InvalidNumber
///     }
///
///     fn hint(_: &std::num::ParseIntError) -> Option<String> {
///         Some("write it with digits".to_owned())
///     }
/// }
///
/// fn port(text: &str) -> Result<u16, CommandError<Kind>> {
///     text.parse().map_err(|error| CommandError::from(error).context(format!("port `{text}`")))
/// }
///
/// let error = port("ssh").unwrap_err();
/// assert_eq!(error.kind().exit_code(), 3);
/// assert_eq!(
///     error.to_string(),
///     "error: port `ssh`: invalid digit found in string\nhint: write it with digits\n"
/// );
/// assert_eq!(CommandError::new(Kind::Other, "no port").message(), "no port");
/// ```
///
/// This type is not a [`std::error::Error`], because it is never the cause of another error:
/// `main` reports it.
#[derive(Debug)]
pub struct CommandError<K> {
    kind: K,
    error: anyhow::Error,
    hints: Vec<String>,
    code: Option<String>,
}

/// Kinds of failure of a program, each with an exit code. The default is the kind of all
/// failures that the program does not distinguish.
pub trait ExitKind: Copy + Default {
    /// Returns the exit code, which must not be 0. Code 2 means wrong usage, as in `clap`.
    fn exit_code(self) -> u8;

    /// Returns the name in the JSON of an error: lower-case words with hyphens.
    fn name(self) -> &'static str;
}

/// A mapping from a library's error type `E` to the kinds of a program.
pub trait Classify<E>: ExitKind {
    /// Returns the kind of an error. The provided method returns the default kind.
    fn classify(_error: &E) -> Self {
        Self::default()
    }

    /// Returns a one-line hint for the user, if there is one.
    fn hint(_error: &E) -> Option<String> {
        None
    }

    /// Returns the name that a server has given to the error, such as `DeviceNotFound`.
    fn code(_error: &E) -> Option<String> {
        None
    }
}

impl<K: ExitKind> CommandError<K> {
    /// Creates an error without a cause.
    #[must_use]
    pub fn new(kind: K, message: impl fmt::Display) -> CommandError<K> {
        let error = anyhow::Error::msg(message.to_string());
        CommandError { kind, error, hints: Vec::new(), code: None }
    }

    /// Prefixes the message with `subject`: `subject: message`.
    #[must_use]
    pub fn context(self, subject: impl fmt::Display) -> CommandError<K> {
        CommandError { error: self.error.context(subject.to_string()), ..self }
    }

    /// Replaces the kind, for a command whose exit code differs from that of other commands
    /// with the same error.
    #[must_use]
    pub fn with_kind(self, kind: K) -> CommandError<K> {
        CommandError { kind, ..self }
    }

    /// Appends a hint to the existing ones.
    #[must_use]
    pub fn with_hint(mut self, hint: impl Into<String>) -> CommandError<K> {
        self.hints.push(hint.into());
        self
    }

    /// Returns the kind of the error.
    pub fn kind(&self) -> K {
        self.kind
    }

    /// Returns the message and its causes on one line; see [`chain`].
    #[must_use]
    pub fn message(&self) -> String {
        chain(self.error.as_ref()).to_string()
    }

    /// Returns the hints on one line, or `None` if there are none.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        (!self.hints.is_empty()).then(|| self.hints.join("; "))
    }

    /// Returns the error as the JSON object that every program prints with `--json`.
    #[must_use]
    pub fn to_json(&self) -> Value {
        let hint = self.hint();
        let kind = self.kind;
        let mut json = error_json(kind.name(), &self.message(), hint.as_deref(), kind.exit_code());
        if let Some(code) = &self.code {
            json["code"] = json!(code);
        }
        json
    }

    /// Writes the error to standard error and returns the exit code of its kind. The error is
    /// a line of JSON if the command line has `--json`. Gives up writing after five seconds.
    pub fn report(&self) -> ExitCode {
        let text = match output::is_json() {
            true => format!("{}\n", self.to_json()),
            false => self.to_string(),
        };
        let (done, written) = mpsc::sync_channel(1);
        // A blocked standard error must not keep the process from exiting.
        let writing = thread::spawn(move || {
            // If standard error is closed, only the exit code reports the failure.
            let _ = io::stderr().write_all(text.as_bytes());
            let _ = done.send(());
        });
        let _ = written.recv_timeout(REPORT_TIME);
        drop(writing);
        ExitCode::from(self.kind.exit_code())
    }
}

/// Returns an error as JSON, with the name of its kind.
pub(crate) fn error_json(kind: &str, message: &str, hint: Option<&str>, exit_code: u8) -> Value {
    json!({"error": kind, "message": message, "hint": hint, "exit_code": exit_code})
}

/// Formats an `error:` line, and a `hint:` line if there are hints.
impl<K: ExitKind> fmt::Display for CommandError<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "error: {}", self.message())?;
        self.hint().map_or(Ok(()), |hint| writeln!(f, "hint: {hint}"))
    }
}

impl<K: Classify<E>, E: Into<anyhow::Error>> From<E> for CommandError<K> {
    fn from(error: E) -> CommandError<K> {
        let (kind, hint, code) = (K::classify(&error), K::hint(&error), K::code(&error));
        CommandError { kind, error: error.into(), hints: hint.into_iter().collect(), code }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, Clone, Copy, PartialEq, Default)]
    enum Kind {
        #[default]
        Other,
        Missing,
    }

    impl ExitKind for Kind {
        fn exit_code(self) -> u8 {
            match self {
                Kind::Other => 1,
                Kind::Missing => 4,
            }
        }

        fn name(self) -> &'static str {
            match self {
                Kind::Other => "other",
                Kind::Missing => "missing",
            }
        }
    }

    impl Classify<io::Error> for Kind {
        fn classify(error: &io::Error) -> Kind {
            match error.kind() {
                io::ErrorKind::NotFound => Kind::Missing,
                _ => Kind::Other,
            }
        }

        fn hint(error: &io::Error) -> Option<String> {
            (Kind::classify(error) == Kind::Missing).then(|| "create the file".to_owned())
        }
    }

    impl Classify<anyhow::Error> for Kind {}

    fn fails<E>(error: E) -> Result<(), CommandError<Kind>>
    where
        Kind: Classify<E>,
        E: Into<anyhow::Error>,
    {
        Err(error)?
    }

    #[test]
    fn a_library_error_gets_its_kind_and_hint() {
        let missing = fails(io::Error::new(io::ErrorKind::NotFound, "no such file")).unwrap_err();
        assert_eq!(missing.kind(), Kind::Missing);
        assert_eq!(missing.to_string(), "error: no such file\nhint: create the file\n");

        let other = fails(io::Error::other("disk full")).unwrap_err();
        assert_eq!(other.kind(), Kind::Other);
        assert_eq!(other.to_string(), "error: disk full\n");
    }

    #[test]
    fn the_json_of_an_error_has_the_name_of_its_kind_and_the_exit_code() {
        let missing = fails(io::Error::new(io::ErrorKind::NotFound, "no such file")).unwrap_err();
        let expected = r#"{"error":"missing","exit_code":4,"hint":"create the file","message":"no such file"}"#;
        assert_eq!(missing.to_json(), serde_json::from_str::<Value>(expected).unwrap());
        let other = fails(io::Error::other("disk full")).unwrap_err();
        assert_eq!(other.to_json()["hint"], Value::Null);
    }

    #[test]
    fn context_comes_before_the_message_and_keeps_kind_and_hint() {
        let missing = fails(io::Error::new(io::ErrorKind::NotFound, "no such file")).unwrap_err();
        let missing = missing.context("twin.json").context("cannot patch");
        assert_eq!(missing.kind(), Kind::Missing);
        assert_eq!(
            missing.to_string(),
            "error: cannot patch: twin.json: no such file\nhint: create the file\n"
        );
    }

    #[test]
    fn another_kind_keeps_message_and_hint() {
        let error = CommandError::new(Kind::Other, "no hub").with_hint("start it");
        let error = error.with_kind(Kind::Missing);
        assert_eq!(error.kind(), Kind::Missing);
        assert_eq!(error.to_string(), "error: no hub\nhint: start it\n");
    }

    #[test]
    fn several_hints_share_a_line() {
        let error = CommandError::new(Kind::Other, "no hub").with_hint("start it");
        assert_eq!(error.to_string(), "error: no hub\nhint: start it\n");
        let error = error.with_hint("or set --hub");
        assert_eq!(error.to_string(), "error: no hub\nhint: start it; or set --hub\n");
    }

    #[test]
    fn an_error_of_anyhow_keeps_its_causes() {
        let error = fails(anyhow::Error::from(io::Error::other("disk full")).context("twin"));
        assert_eq!(error.unwrap_err().to_string(), "error: twin: disk full\n");
    }
}
