//! Client of the control socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use plugin::escape;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::find::{Candidate, ConfiguredPaths, Environment, candidates};
use super::{ControlAnswer, ControlRequest, TRANSFER_TIMEOUT};

/// Maximum size of an answer, in bytes.
const ANSWER_BYTES: u64 = 4 * 1024 * 1024;

/// Time limit for the answer to an action, which may include loading and starting a plugin.
const ACTION_TIMEOUT: Duration = Duration::from_secs(600);

/// Error of a request to a host.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// Configuration file that cannot be read.
    #[error("{}", .path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// No listening host on any of the candidate paths.
    #[error("no host is running with this configuration; looked for {looked}")]
    NoHost {
        /// Candidate paths, and the environment variables that determine them.
        looked: String,
    },
    /// Socket that another user may have created.
    #[error("socket {} is not trusted: {reason}", .path.display())]
    NotTrusted {
        /// Path of the socket.
        path: PathBuf,
        /// Reason, as it appears in the message.
        reason: String,
    },
    /// Host that runs as another user.
    #[error("the host runs as another user")]
    NotAllowed,
    /// Connection that failed or timed out.
    #[error("no answer from the host")]
    Connection(#[source] io::Error),
    /// Answer that cannot be parsed.
    #[error("invalid answer, perhaps from another version of the host: {problem}")]
    InvalidAnswer {
        /// Cause, with escaped control characters.
        problem: String,
    },
}

impl AskError {
    /// Returns a hint on how to fix the error.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            AskError::Read { .. } => "name the host's configuration with --config",
            AskError::NoHost { .. } => {
                "start it with `behaviour-host run`, or name its configuration with --config; to \
                 reach a host of another user, run this command as that user or as root"
            }
            AskError::NotTrusted { .. } => {
                "run this command as the user of the host, or set `control_socket` under [host] to \
                 a file in a directory of that user with mode 700"
            }
            AskError::NotAllowed => "run this command as the user of the host",
            AskError::Connection(_) | AskError::InvalidAnswer { .. } => "see the log of the host",
        }
    }
}

/// Sends a request to the host that runs with this configuration file. The file may be invalid,
/// because the host then keeps its previous configuration. Blocks.
pub fn ask(configuration: &Path, request: &ControlRequest) -> Result<ControlAnswer, AskError> {
    let text = program::text::read(configuration)
        .map_err(|source| AskError::Read { path: configuration.to_owned(), source })?;
    let environment = Environment::of_process();
    let candidates = candidates(configuration, &ConfiguredPaths::in_text(&text), &environment);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(AskError::Connection)?.block_on(async {
        let stream = connect(&candidates, configuration, &environment).await?;
        let answer_timeout = match request {
            ControlRequest::List {} | ControlRequest::Status {} | ControlRequest::Jobs {} => {
                TRANSFER_TIMEOUT
            }
            _ => ACTION_TIMEOUT,
        };
        let line = exchange(stream, request, answer_timeout).await.map_err(AskError::Connection)?;
        ControlAnswer::parse(&line).map_err(|error| AskError::InvalidAnswer {
            problem: escape(&error.to_string()).into_owned(),
        })
    })
}

/// Sends a request that has several answers, and calls `each` for every answer until `each`
/// returns `false` or the host closes the connection. Blocks.
pub fn ask_for_lines(
    configuration: &Path,
    request: &ControlRequest,
    mut each: impl FnMut(ControlAnswer) -> bool,
) -> Result<(), AskError> {
    let text = program::text::read(configuration)
        .map_err(|source| AskError::Read { path: configuration.to_owned(), source })?;
    let environment = Environment::of_process();
    let candidates = candidates(configuration, &ConfiguredPaths::in_text(&text), &environment);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(AskError::Connection)?.block_on(async {
        let mut stream = connect(&candidates, configuration, &environment).await?;
        let mut line = serde_json::to_vec(request).expect("a request is JSON");
        line.push(b'\n');
        let sent = timeout(TRANSFER_TIMEOUT, stream.write_all(&line)).await;
        sent.map_err(io::Error::from).flatten().map_err(AskError::Connection)?;
        let mut read = BufReader::new(stream);
        loop {
            line.clear();
            let mut bounded = (&mut read).take(ANSWER_BYTES);
            bounded.read_until(b'\n', &mut line).await.map_err(AskError::Connection)?;
            if line.is_empty() {
                return Ok(());
            }
            let answer = ControlAnswer::parse(&line).map_err(|error| AskError::InvalidAnswer {
                problem: escape(&error.to_string()).into_owned(),
            })?;
            if !each(answer) {
                return Ok(());
            }
        }
    })
}

/// Connects to the first trusted candidate on which a host is listening.
async fn connect(
    candidates: &[Candidate],
    configuration: &Path,
    environment: &Environment,
) -> Result<UnixStream, AskError> {
    let mut refused = None;
    for candidate in candidates {
        let path = &candidate.path;
        let not_trusted = |reason| AskError::NotTrusted { path: path.clone(), reason };
        let owners = match candidate.check(configuration) {
            None => continue,
            Some(Ok(owners)) => owners,
            Some(Err(reason)) => {
                // A directory without a socket does not belong to a host.
                if path.symlink_metadata().is_ok() {
                    refused.get_or_insert_with(|| not_trusted(reason));
                }
                continue;
            }
        };
        match UnixStream::connect(path).await {
            Ok(stream) => match stream.peer_cred() {
                Ok(host) if owners.contains(&host.uid()) => return Ok(stream),
                Ok(host) => {
                    let reason = format!("user {} is listening on it", host.uid());
                    refused.get_or_insert_with(|| not_trusted(reason));
                }
                Err(error) => return Err(AskError::Connection(error)),
            },
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                refused.get_or_insert(AskError::NotAllowed);
            }
            Err(_) => {}
        }
    }
    let looked: Vec<_> = candidates.iter().map(|it| it.path.display().to_string()).collect();
    let looked = format!("{} ({})", looked.join(", "), environment.describe());
    Err(refused.unwrap_or(AskError::NoHost { looked: escape(&looked).into_owned() }))
}

/// Sends a request and reads the line of the answer.
async fn exchange(
    mut stream: UnixStream,
    request: &ControlRequest,
    answer_timeout: Duration,
) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(request).expect("a request is JSON");
    line.push(b'\n');
    timeout(TRANSFER_TIMEOUT, stream.write_all(&line)).await??;
    let mut answer = Vec::new();
    let mut read = BufReader::new(stream.take(ANSWER_BYTES));
    timeout(answer_timeout, read.read_until(b'\n', &mut answer)).await??;
    if answer.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(answer)
}
