//! Credential helpers: programs that look up credentials in a safe of the system.

use std::process::Stdio;
use std::time::Duration;

use serde::Deserialize;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::process::Command;
use tokio::time::timeout;

use super::{Credential, CredentialError, credential};
use crate::strict;

/// Time limit of a helper, which may ask the user for a password.
const TIMEOUT: Duration = Duration::from_secs(60);

/// Maximum length of the output, in bytes.
const MAX_OUTPUT: u64 = 64 * 1024;

/// Text that every helper prints if it has no credentials (docker-credential-helpers,
/// `credentials/error.go`).
const NOT_FOUND: &str = "credentials not found in native keychain";

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct HelperAnswer {
    username: String,
    secret: String,
}

/// Runs the helper `docker-credential-NAME`.
pub(super) async fn get(name: &str, server: &str) -> Result<Option<Credential>, CredentialError> {
    let failed = |problem: String| CredentialError::Helper { name: name.to_owned(), problem };
    // A name with a slash would run a program of any folder.
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    if name.is_empty() || !name.chars().all(is_name) {
        return Err(failed("has a malformed name".to_owned()));
    }
    let run = timeout(TIMEOUT, output(name, server));
    let (succeeded, output) = match run.await {
        Ok(result) => result.map_err(|error| failed(format!("cannot be run: {error}")))?,
        Err(_) => return Err(failed(format!("has not ended within {} s", TIMEOUT.as_secs()))),
    };
    if !succeeded {
        let text = String::from_utf8_lossy(&output);
        return match text.trim() {
            NOT_FOUND => Ok(None),
            text => Err(failed(format!("refuses: {}", json::excerpt(text, 200)))),
        };
    }
    // The output contains a secret, so the message must not quote it.
    let answer: HelperAnswer = strict::object(&output, output.len())
        .map_err(|_| failed("has printed no credentials".to_owned()))?;
    Ok(Some(credential(&answer.username, &answer.secret)))
}

async fn output(name: &str, server: &str) -> std::io::Result<(bool, Vec<u8>)> {
    let mut child = Command::new(format!("docker-credential-{name}"))
        .arg("get")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .kill_on_drop(true)
        .spawn()?;
    let mut stdin = child.stdin.take().expect("the input is piped");
    let stdout = child.stdout.take().expect("the output is piped");
    // A helper may end without reading its input.
    let _ = stdin.write_all(server.as_bytes()).await;
    drop(stdin);
    let mut output = Vec::new();
    stdout.take(MAX_OUTPUT).read_to_end(&mut output).await?;
    Ok((child.wait().await?.success(), output))
}
