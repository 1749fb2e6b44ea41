//! Credentials of registries, as Docker and Podman store them.
//!
//! A file is read again for each use, so a changed password takes effect without a restart.
//! Credential helpers are programs. A [`Store`] runs them only if the caller allows it, as
//! the author's tool does. A device does not.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use tokio::task::spawn_blocking;

use crate::strict;

mod credential_helper;

/// Maximum length of a file of credentials, in bytes.
pub const MAX_CREDENTIALS_BYTES: usize = 1024 * 1024;

/// Key of Docker Hub in files of credentials.
const DOCKER_HUB: &str = "index.docker.io";

/// User name of an identity token.
const TOKEN_USER: &str = "<token>";

/// Credentials for one registry.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential {
    /// A user name and a password.
    Password {
        /// The user name.
        user: String,
        /// The password.
        password: String,
    },
    /// A token that the registry's token server exchanges.
    IdentityToken(String),
}

impl fmt::Debug for Credential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Credential::Password { user, .. } => write!(f, "Password({user:?})"),
            Credential::IdentityToken(_) => f.write_str("IdentityToken"),
        }
    }
}

/// Error of reading credentials.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// A file that cannot be read.
    #[error("credentials file {}", .path.display())]
    File {
        /// The path.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// A file with other content.
    #[error("credentials file {} {problem}", .path.display())]
    Malformed {
        /// The path.
        path: PathBuf,
        /// A predicate.
        problem: String,
    },
    /// A credential helper that fails.
    #[error("credential helper `{name}` {problem}")]
    Helper {
        /// The name of the program.
        name: String,
        /// A predicate.
        problem: String,
    },
}

impl CredentialError {
    /// Returns a way out.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            CredentialError::Malformed { .. } => {
                Some("the file has the form of Docker's config.json")
            }
            CredentialError::Helper { .. } => {
                Some("check `credHelpers` and `credsStore` in Docker's config.json")
            }
            CredentialError::File { .. } => None,
        }
    }
}

/// A place of credentials.
#[derive(Debug, Clone)]
pub struct Store {
    files: Vec<PathBuf>,
    must_exist: bool,
    helpers: bool,
}

impl Store {
    /// Returns the credentials in a file, which must exist. Credential helpers are not run.
    #[must_use]
    pub fn of_file(file: &Path) -> Store {
        Store { files: vec![file.to_owned()], must_exist: true, helpers: false }
    }

    /// Returns the credentials of the user: those of Docker, then those of Podman. Credential
    /// helpers are run. `variable` returns the value of an environment variable.
    #[must_use]
    pub fn of_user(variable: impl Fn(&str) -> Option<PathBuf>) -> Store {
        let docker = variable("DOCKER_CONFIG")
            .or_else(|| variable("HOME").map(|home| home.join(".docker")))
            .map(|folder| folder.join("config.json"));
        let podman = variable("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json"));
        let files = docker.into_iter().chain(podman).collect();
        Store { files, must_exist: false, helpers: true }
    }

    /// Returns the credentials for a registry.
    pub async fn find(&self, registry: &str) -> Result<Option<Credential>, CredentialError> {
        for path in &self.files {
            let file = path.clone();
            let read = spawn_blocking(move || program::text::read_bytes(&file)).await;
            let bytes = match read.map_err(std::io::Error::other).flatten() {
                Ok(bytes) => bytes,
                Err(error) if !self.must_exist && error.kind() == std::io::ErrorKind::NotFound => {
                    continue;
                }
                Err(source) => return Err(CredentialError::File { path: path.clone(), source }),
            };
            let malformed = |problem| CredentialError::Malformed { path: path.clone(), problem };
            let config = DockerConfig::parse(&bytes).map_err(malformed)?;
            match config.find(registry).map_err(malformed)? {
                Lookup::Found(credential) => return Ok(Some(credential)),
                Lookup::Helper(name) if self.helpers => {
                    if let Some(credential) =
                        credential_helper::get(&name, server(registry)).await?
                    {
                        return Ok(Some(credential));
                    }
                }
                Lookup::Helper(_) | Lookup::Nothing => {}
            }
        }
        Ok(None)
    }
}

/// The content of Docker's `config.json` or Podman's `auth.json`.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
pub struct DockerConfig {
    auths: BTreeMap<String, Entry>,
    cred_helpers: BTreeMap<String, String>,
    creds_store: Option<String>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

/// The place of the credentials for a registry.
#[derive(Debug, PartialEq, Eq)]
pub enum Lookup {
    /// Credentials in the file.
    Found(Credential),
    /// A credential helper, by the last part of its program's name.
    Helper(String),
    /// No credentials.
    Nothing,
}

impl DockerConfig {
    /// Parses a file. The error is a predicate that follows the file, and quotes no value.
    pub fn parse(bytes: &[u8]) -> Result<DockerConfig, String> {
        // The parser's message would quote the value of a field with the wrong type.
        strict::object(bytes, MAX_CREDENTIALS_BYTES)
            .map_err(|_| "is not JSON in the form of Docker's config.json".to_owned())
    }

    /// Finds the credentials for a registry. The error is a predicate that follows the file.
    pub fn find(&self, registry: &str) -> Result<Lookup, String> {
        let registry = host_of(registry);
        if let Some((_, helper)) =
            self.cred_helpers.iter().find(|(key, _)| host_of(key) == registry)
        {
            return Ok(Lookup::Helper(helper.clone()));
        }
        if let Some((key, entry)) = self.auths.iter().find(|(key, _)| host_of(key) == registry)
            && let Some(credential) = entry.credential(key)?
        {
            return Ok(Lookup::Found(credential));
        }
        Ok(self.creds_store.clone().map_or(Lookup::Nothing, Lookup::Helper))
    }
}

impl Entry {
    fn credential(&self, key: &str) -> Result<Option<Credential>, String> {
        let given = |text: &Option<String>| text.clone().filter(|text| !text.is_empty());
        if let Some(token) = given(&self.identitytoken) {
            return Ok(Some(Credential::IdentityToken(token)));
        }
        if let Some(auth) = given(&self.auth) {
            let malformed = || {
                let key = json::readable_url(key);
                format!("has a malformed `auth` for `{}`", json::excerpt(&key, 100))
            };
            let text = STANDARD.decode(auth).map_err(|_| malformed())?;
            let text = String::from_utf8(text).map_err(|_| malformed())?;
            let (user, password) = text.split_once(':').ok_or_else(malformed)?;
            return Ok(Some(credential(user, password.trim_end_matches('\0'))));
        }
        Ok(given(&self.username)
            .zip(given(&self.password))
            .map(|(user, password)| credential(&user, &password)))
    }
}

fn credential(user: &str, password: &str) -> Credential {
    match user {
        TOKEN_USER => Credential::IdentityToken(password.to_owned()),
        _ => Credential::Password { user: user.to_owned(), password: password.to_owned() },
    }
}

/// Returns the host of a key, which can have a scheme and a path. All names of Docker Hub have
/// the same host.
fn host_of(key: &str) -> &str {
    let key = key.split_once("://").map_or(key, |(_, rest)| rest);
    match key.split('/').next().unwrap_or_default() {
        "docker.io" | "registry-1.docker.io" => DOCKER_HUB,
        host => host,
    }
}

/// Returns the name of a registry that helpers expect.
fn server(registry: &str) -> &str {
    match host_of(registry) {
        DOCKER_HUB => "https://index.docker.io/v1/",
        host => host,
    }
}

#[cfg(test)]
mod tests;
