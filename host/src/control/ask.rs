//! Client of the control socket.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::find::{Candidate, Environment, Named, candidates};
use super::show::printable;
use super::{ControlAnswer, ControlRequest, TRANSFER};

/// The longest answer that is read.
const ANSWER_BYTES: u64 = 4 * 1024 * 1024;

/// Time that the host has to load and start a plugin.
const ORDER: Duration = Duration::from_secs(600);

/// Reason why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum AskError {
    /// The named configuration is missing.
    #[error("{}", .path.display())]
    NoFile {
        /// Its file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: io::Error,
    },
    /// No host is listening.
    #[error("no host is running with this configuration; looked for {looked}")]
    NoHost {
        /// The sockets that a host could have, and the variables that name them.
        looked: String,
    },
    /// The socket may have been put there by another user.
    #[error("socket {} is not trusted: {why}", .path.display())]
    NotTrusted {
        /// The socket.
        path: PathBuf,
        /// Reason.
        why: String,
    },
    /// The socket is another user's.
    #[error("the host is another user's")]
    NotAllowed,
    /// The connection broke, or took too long.
    #[error("no answer from the host")]
    Broken(#[source] io::Error),
    /// The answer cannot be parsed.
    #[error("answer of the host not understood; it may be of another version: {problem}")]
    NotUnderstood {
        /// Cause, escaped.
        problem: String,
    },
}

impl AskError {
    /// Returns the way out.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            AskError::NoFile { .. } => "name the host's configuration with --config",
            AskError::NoHost { .. } => {
                "start it with `behaviour-host run`, or name its configuration with --config; a \
                 host of another user is asked as that user or as root"
            }
            AskError::NotTrusted { .. } => {
                "ask as the user that the host runs as, or set `control_socket` under [host] to a \
                 file in a directory of mode 700 of that user"
            }
            AskError::NotAllowed => "ask as the user that the host runs as",
            AskError::Broken(_) | AskError::NotUnderstood { .. } => "see what the host's log says",
        }
    }
}

/// Sends a request to the host that runs with the configuration in this file. Blocks.
/// The file need not be valid: the host keeps running with the previous one.
pub fn ask(configuration: &Path, request: &ControlRequest) -> Result<ControlAnswer, AskError> {
    let text = program::text::read(configuration)
        .map_err(|source| AskError::NoFile { path: configuration.to_owned(), source })?;
    let environment = Environment::of_process();
    let candidates = candidates(configuration, &Named::in_text(&text), &environment);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.map_err(AskError::Broken)?.block_on(async {
        let stream = connect(&candidates, configuration, &environment).await?;
        let patience = if matches!(request, ControlRequest::List {}) { TRANSFER } else { ORDER };
        let line = exchange(stream, request, patience).await.map_err(AskError::Broken)?;
        ControlAnswer::parse(&line)
            .map_err(|error| AskError::NotUnderstood { problem: printable(&error.to_string()) })
    })
}

/// Connects to the first host that is there and may be trusted.
async fn connect(
    candidates: &[Candidate],
    configuration: &Path,
    environment: &Environment,
) -> Result<UnixStream, AskError> {
    let mut refused = None;
    for candidate in candidates {
        let path = &candidate.path;
        let not_trusted = |why| AskError::NotTrusted { path: path.clone(), why };
        let owners = match candidate.check(configuration) {
            None => continue,
            Some(Ok(owners)) => owners,
            Some(Err(why)) => {
                // Without a socket in it the directory is no host's.
                if path.symlink_metadata().is_ok() {
                    refused.get_or_insert_with(|| not_trusted(why));
                }
                continue;
            }
        };
        match UnixStream::connect(path).await {
            Ok(stream) => match stream.peer_cred() {
                Ok(host) if owners.contains(&host.uid()) => return Ok(stream),
                Ok(host) => {
                    let why = format!("the user {} listens on it", host.uid());
                    refused.get_or_insert_with(|| not_trusted(why));
                }
                Err(error) => return Err(AskError::Broken(error)),
            },
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                refused.get_or_insert(AskError::NotAllowed);
            }
            Err(_) => {}
        }
    }
    let looked: Vec<_> = candidates.iter().map(|it| it.path.display().to_string()).collect();
    let looked = format!("{} ({})", looked.join(", "), environment.describe());
    Err(refused.unwrap_or(AskError::NoHost { looked: printable(&looked) }))
}

async fn exchange(
    mut stream: UnixStream,
    request: &ControlRequest,
    patience: Duration,
) -> io::Result<Vec<u8>> {
    let mut line = serde_json::to_vec(request).expect("a request is JSON");
    line.push(b'\n');
    timeout(TRANSFER, stream.write_all(&line)).await??;
    let mut answer = Vec::new();
    let mut read = BufReader::new(stream.take(ANSWER_BYTES));
    timeout(patience, read.read_until(b'\n', &mut answer)).await??;
    if answer.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(answer)
}
