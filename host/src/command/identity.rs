//! `behaviour-host identity`: the device's identity, without a secret.

use behaviour_host::{Config, SignIn, sign_in};
use clap::{Args, Subcommand};
use program::say;
use protocol::connection_string::DeviceConnectionString;
use serde_json::{Value, json};

use super::configuration::{ConfigurationArguments, read};
use super::error::CommandError;
use super::run::identity_and_source;

const EXAMPLES: &str = "\
Examples:
  behaviour-host identity show
  behaviour-host identity show --json | jq .validUntil";

#[derive(Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct IdentityArguments {
    #[command(subcommand)]
    command: IdentityCommand,
}

#[derive(Subcommand)]
enum IdentityCommand {
    /// Show the device, its hub, its way to sign in, and its validity; shows no secret
    Show(ShowArguments),
}

#[derive(Args)]
struct ShowArguments {
    #[command(flatten)]
    common: ConfigurationArguments,
    /// Print the identity as JSON
    #[arg(long)]
    json: bool,
}

pub(super) fn identity(arguments: IdentityArguments) -> Result<(), CommandError> {
    let IdentityCommand::Show(ShowArguments { common, json }) = arguments.command;
    let config = read(&common)?;
    let (identity, source) = identity_and_source(&config)?;
    let sign_in = sign_in(&config, &identity)?;
    let facts = facts(&config, &identity, &source, &sign_in);
    if json {
        let members = facts.into_iter().map(|(_, name, value)| (name.to_owned(), value));
        say(format_args!("{:#}", Value::Object(members.collect())));
        return Ok(());
    }
    for (label, _, value) in facts {
        match value {
            Value::Null => {}
            Value::String(text) => say(format_args!("{label}: {}", json::escape(&text))),
            other => say(format_args!("{label}: {other}")),
        }
    }
    Ok(())
}

/// Returns the facts with their labels in a text and their names in JSON. `source` is the place
/// of the connection string.
fn facts(
    config: &Config,
    identity: &DeviceConnectionString,
    source: &str,
    sign_in: &SignIn,
) -> Vec<(&'static str, &'static str, Value)> {
    let mut facts = vec![
        ("device", "device", json!(identity.device)),
        ("module", "module", json!(identity.module)),
        ("hub", "hub", json!(identity.host.to_string())),
    ];
    match sign_in {
        SignIn::Key => facts.extend([
            ("sign-in", "signIn", json!("key")),
            ("valid until", "validUntil", Value::Null),
            ("key", "key", json!(source)),
        ]),
        SignIn::Token { valid_until } => facts.extend([
            ("sign-in", "signIn", json!("token")),
            ("valid until", "validUntil", json!(valid_until.to_string())),
            ("token", "token", json!(source)),
        ]),
        SignIn::Certificate { common_name, issuer, thumbprint, valid_from, valid_until } => {
            let files = config.hub.identity.as_ref();
            facts.extend([
                ("sign-in", "signIn", json!("certificate")),
                ("common name", "commonName", json!(common_name)),
                ("issuer", "issuer", json!(issuer)),
                ("SHA-256 thumbprint", "thumbprint", json!(thumbprint)),
                ("valid from", "validFrom", json!(valid_from.to_string())),
                ("valid until", "validUntil", json!(valid_until.to_string())),
                ("certificate", "certificate", json!(files.map(|it| &it.certificate_file))),
                ("key", "key", json!(files.map(|it| &it.key_file))),
            ]);
        }
    }
    facts
}
