//! Client of the control socket.

use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::place::candidates;
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
    #[error("no host is running with this configuration")]
    NoHost,
    /// The socket is another user's.
    #[error("the host is another user's")]
    NotAllowed,
    /// The connection broke, or took too long.
    #[error("no answer from the host")]
    Broken(#[source] io::Error),
    /// The answer cannot be parsed.
    #[error("answer of the host not understood; it may be of another version")]
    NotUnderstood(#[source] serde_json::Error),
}

impl AskError {
    /// Returns the way out.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            AskError::NoFile { .. } => "name the host's configuration with --config",
            AskError::NoHost => {
                "start it with `behaviour-host run`, or name its configuration with --config"
            }
            AskError::NotAllowed => "ask as the user that the host runs as",
            AskError::Broken(_) | AskError::NotUnderstood(_) => "see what the host's log says",
        }
    }
}

/// Sends a request to the host that runs with the configuration in this file. Blocks.
/// The file need not be valid: the host keeps running with the previous one.
pub fn ask(configuration: &Path, request: &ControlRequest) -> Result<ControlAnswer, AskError> {
    let text = program::text::read(configuration)
        .map_err(|source| AskError::NoFile { path: configuration.to_owned(), source })?;
    let directory = configuration.parent().unwrap_or(Path::new(""));
    let named = named_socket(&text).map(|path| directory.join(path));
    let stream = connect(&candidates(named.as_deref(), Some(configuration)))?;
    let patience = if matches!(request, ControlRequest::List {}) { TRANSFER } else { ORDER };
    let line = exchange(stream, request, patience).map_err(AskError::Broken)?;
    serde_json::from_str(&line).map_err(AskError::NotUnderstood)
}

/// Reads `control_socket` under `[host]`, whatever else the file contains.
fn named_socket(text: &str) -> Option<PathBuf> {
    let table: toml::Table = text.parse().ok()?;
    Some(PathBuf::from(table.get("host")?.get("control_socket")?.as_str()?))
}

fn connect(candidates: &[PathBuf]) -> Result<UnixStream, AskError> {
    let mut why = AskError::NoHost;
    for path in candidates {
        match UnixStream::connect(path) {
            Ok(stream) => return Ok(stream),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                why = AskError::NotAllowed;
            }
            Err(_) => {}
        }
    }
    Err(why)
}

fn exchange(
    mut stream: UnixStream,
    request: &ControlRequest,
    patience: Duration,
) -> io::Result<String> {
    stream.set_write_timeout(Some(TRANSFER))?;
    stream.set_read_timeout(Some(patience))?;
    let mut line = serde_json::to_string(request).expect("a request is JSON");
    line.push('\n');
    stream.write_all(line.as_bytes())?;
    let mut answer = String::new();
    BufReader::new(stream.take(ANSWER_BYTES)).read_line(&mut answer)?;
    if answer.is_empty() {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    Ok(answer)
}
