//! Credentials of the service: connection strings and Microsoft Entra ID.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use behaviour_service::{Client, ClientSettings, EntraSignIn, HostName, ServiceConnectionString};
use clap::ValueEnum;
use program::text;

use crate::command_error::{CommandError, FailureKind};

/// The variable with the connection string of the hub.
const HUB_IDENTITY: &str = "IOTHUB_CONNECTION_STRING";

/// The variable with the connection string of the Device Provisioning Service.
const PROVISIONING_IDENTITY: &str = "PROVISIONING_CONNECTION_STRING";

/// Way to sign in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(crate) enum Auth {
    /// The key of a shared access policy, in a connection string
    #[default]
    Key,
    /// Microsoft Entra ID: AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_CLIENT_SECRET
    Environment,
    /// Microsoft Entra ID: the federated token in AZURE_FEDERATED_TOKEN_FILE
    WorkloadIdentity,
    /// Microsoft Entra ID: the account of `az login`
    AzureCli,
}

/// A service to sign in to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    Hub,
    Provisioning,
}

/// Credentials of one service.
#[derive(Debug)]
pub(crate) struct SignIn {
    pub(crate) target: Target,
    pub(crate) auth: Auth,
    /// The host name, which only Microsoft Entra ID needs.
    pub(crate) host: Option<HostName>,
    /// The file with the connection string; by default the environment has it.
    pub(crate) file: Option<PathBuf>,
}

impl SignIn {
    /// Returns the credentials that the environment names. Returns `None` if a value is
    /// malformed.
    pub(crate) fn of_environment(target: Target) -> Option<SignIn> {
        let value = |name: &str| text::variable(name).ok().flatten();
        let auth = match value("IOTHUB_AUTH") {
            Some(name) => Auth::from_str(&name, false).ok()?,
            None => Auth::default(),
        };
        let host = value(target.host_variable()).map(|host| host.parse().ok());
        let file = value(target.file_variable()).map(PathBuf::from);
        Some(SignIn { target, auth, host: host.flatten(), file })
    }

    /// Creates a client without connecting it.
    pub(crate) fn client(self, settings: ClientSettings) -> Result<Client, CommandError> {
        let sign_in = match self.auth {
            Auth::Key => return Ok(Client::new(self.identity()?, settings)?),
            Auth::Environment => EntraSignIn::Environment,
            Auth::WorkloadIdentity => EntraSignIn::WorkloadIdentity,
            Auth::AzureCli => EntraSignIn::AzureCli,
        };
        let host = self.host.ok_or_else(|| missing_host(self.target))?;
        Ok(Client::with_entra(host, sign_in, settings)?)
    }

    /// Reads the connection string from the file, if there is one, otherwise from the
    /// environment variable.
    fn identity(&self) -> Result<ServiceConnectionString, CommandError> {
        let (text, source) = match &self.file {
            Some(path) => {
                let text = text::read(path).map_err(|error| self.unread(path, error))?;
                (text, path.display().to_string())
            }
            None => {
                let variable = self.target.identity_variable();
                let text = text::variable(variable).context(variable)?;
                (text.ok_or_else(|| missing_identity(self.target))?, variable.to_owned())
            }
        };
        text.trim().parse().map_err(|error| CommandError::from(error).context(source))
    }

    /// Returns the error for a file that cannot be read.
    fn unread(&self, path: &Path, error: io::Error) -> CommandError {
        let is_read = error.kind() == io::ErrorKind::InvalidData;
        let subject = format!("connection string file {}", path.display());
        let error = CommandError::from(anyhow::Error::from(error).context(subject));
        // The error of a file in another encoding names the way out.
        if is_read {
            return error;
        }
        let option = match self.target {
            Target::Hub => "--connection-string-file",
            Target::Provisioning => "--provisioning-file",
        };
        let variable = self.target.identity_variable();
        error.with_hint(format!(
            "name a file that this user can read with {option}, or set {variable}"
        ))
    }
}

impl Target {
    fn identity_variable(self) -> &'static str {
        match self {
            Target::Hub => HUB_IDENTITY,
            Target::Provisioning => PROVISIONING_IDENTITY,
        }
    }

    fn file_variable(self) -> &'static str {
        match self {
            Target::Hub => "IOTHUB_CONNECTION_STRING_FILE",
            Target::Provisioning => "PROVISIONING_CONNECTION_STRING_FILE",
        }
    }

    fn host_variable(self) -> &'static str {
        match self {
            Target::Hub => "IOTHUB_HOST",
            Target::Provisioning => "PROVISIONING_SERVICE_HOST",
        }
    }
}

fn missing_identity(target: Target) -> CommandError {
    let (service, option) = match target {
        Target::Hub => ("hub", "--connection-string-file"),
        Target::Provisioning => ("Device Provisioning Service", "--provisioning-file"),
    };
    let text = format!("connection string of the {service} is missing");
    CommandError::new(FailureKind::default(), text).with_hint(format!(
        "set {}, or {option}, to the connection string of a shared access policy; behaviour-hub \
         and the Azure portal show it",
        target.identity_variable()
    ))
}

fn missing_host(target: Target) -> CommandError {
    let (service, option, example) = match target {
        Target::Hub => ("hub", "--host", "my-hub.azure-devices.net"),
        Target::Provisioning => (
            "Device Provisioning Service",
            "--provisioning-host",
            "my-service.azure-devices-provisioning.net",
        ),
    };
    let text = format!("host name of the {service} is missing, which --auth needs");
    CommandError::new(FailureKind::default(), text).with_hint(format!(
        "set {}, or {option}, to a name such as {example}",
        target.host_variable()
    ))
}
