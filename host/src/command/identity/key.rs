//! `behaviour-host identity create-key` and `behaviour-host identity csr`.

use std::path::Path;

use behaviour_host::{Attestation, Config, Identity, create_key, signing_request};
use clap::Args;
use program::say;
use serde_json::json;

use super::print;
use crate::command::configuration::{ConfigurationArguments, read};
use crate::command::error::{CommandError, CommandErrorKind};
use crate::command::source::identity;

const CREATE_KEY_EXAMPLES: &str = "\
Examples:
  behaviour-host identity create-key
  behaviour-host identity create-key --config /etc/behaviour-host/host.toml --json";

const CSR_EXAMPLES: &str = "\
Examples:
  behaviour-host identity csr > device.csr
  behaviour-host identity csr --name pump-7 --json | jq -r .csr";

#[derive(Args)]
#[command(after_help = CREATE_KEY_EXAMPLES)]
pub(super) struct CreateKeyArguments {
    #[command(flatten)]
    common: ConfigurationArguments,
    /// Print the place of the key as JSON
    #[arg(long)]
    json: bool,
}

#[derive(Args)]
#[command(after_help = CSR_EXAMPLES)]
pub(super) struct CsrArguments {
    #[command(flatten)]
    common: ConfigurationArguments,
    /// Common name [default: the registration id, or the id of the device]
    #[arg(long, value_name = "NAME")]
    name: Option<String>,
    /// Print the request as JSON
    #[arg(long)]
    json: bool,
}

/// Creates the configured key.
pub(super) fn create(arguments: &CreateKeyArguments) -> Result<(), CommandError> {
    let config = read(&arguments.common)?;
    let source = create_key(&config)?;
    print(vec![("key", "key", json!(source.to_string()))], arguments.json);
    Ok(())
}

/// Prints a signing request for the configured key.
pub(super) fn request(arguments: &CsrArguments) -> Result<(), CommandError> {
    let config = read(&arguments.common)?;
    let name = match &arguments.name {
        Some(name) => name.clone(),
        None => name_of(&config)?,
    };
    let request = signing_request(&config, &name)?;
    if arguments.json {
        say(format_args!("{:#}", json!({ "commonName": name, "csr": request })));
    } else {
        say(request.trim_end());
    }
    Ok(())
}

/// Returns the name that the certificate of the device must have.
fn name_of(config: &Config) -> Result<String, CommandError> {
    if let Some(section) = &config.provisioning {
        if let Some(id) = &section.registration_id {
            return Ok(id.to_string());
        }
        // The request precedes the first certificate, whose name would be the default.
        if let Attestation::Certificate(files) = &section.attestation
            && !files.certificate_file.exists()
        {
            return Err(no_name(&files.certificate_file));
        }
    }
    Ok(match identity(config)? {
        Identity::ConnectionString(identity) => identity.client_id(),
        Identity::Registration(registration) => registration.id.to_string(),
    })
}

/// Returns the error for a request without a name.
fn no_name(certificate: &Path) -> CommandError {
    let error = format!(
        "no name for the certificate: neither `registration_id` is set nor {} exists",
        certificate.display()
    );
    CommandError::new(CommandErrorKind::Other, error)
        .with_hint("set `registration_id` under [provisioning], or add --name")
}
