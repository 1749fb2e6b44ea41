//! `behaviour-host identity`: the device's identity, without a secret, and its registration.

mod provision;

use behaviour_host::{Config, Identity, Provisioned, SignIn, provisioned, sign_in};
use clap::{Args, Subcommand};
use program::say;
use serde_json::{Value, json};

use super::configuration::{ConfigurationArguments, read};
use super::error::CommandError;
use super::source::identity_and_source;
use provision::ProvisionArguments;

const EXAMPLES: &str = "\
Examples:
  behaviour-host identity show
  behaviour-host identity show --json | jq .validUntil
  behaviour-host identity provision";

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
    /// Register with the Device Provisioning Service, also if there is an assignment already
    Provision(ProvisionArguments),
}

#[derive(Args)]
struct ShowArguments {
    #[command(flatten)]
    common: ConfigurationArguments,
    /// Print the identity as JSON
    #[arg(long)]
    json: bool,
}

/// A fact with its label in a text and its name in JSON.
type Fact = (&'static str, &'static str, Value);

pub(super) fn identity(arguments: IdentityArguments) -> Result<(), CommandError> {
    match arguments.command {
        IdentityCommand::Show(arguments) => show(&arguments),
        IdentityCommand::Provision(arguments) => provision::provision(&arguments),
    }
}

fn show(ShowArguments { common, json }: &ShowArguments) -> Result<(), CommandError> {
    let config = read(common)?;
    let (identity, source) = identity_and_source(&config)?;
    let mut facts = match &identity {
        Identity::ConnectionString(identity) => vec![
            ("device", "device", json!(identity.device)),
            ("module", "module", json!(identity.module)),
            ("hub", "hub", json!(identity.host.to_string())),
        ],
        Identity::Registration(registration) => {
            facts_of_registration(&provisioned(&config, registration)?)
        }
    };
    facts.extend(facts_of_sign_in(&config, &identity, &source)?);
    print(facts, *json);
    Ok(())
}

/// Prints facts as lines, or as JSON.
fn print(facts: Vec<Fact>, as_json: bool) {
    if as_json {
        let members = facts.into_iter().map(|(_, name, value)| (name.to_owned(), value));
        say(format_args!("{:#}", Value::Object(members.collect())));
        return;
    }
    for (label, _, value) in facts {
        match value {
            Value::Null => {}
            Value::String(text) => say(format_args!("{label}: {}", json::escape(&text))),
            other => say(format_args!("{label}: {other}")),
        }
    }
}

fn facts_of_registration(provisioned: &Provisioned) -> Vec<Fact> {
    let assigned = provisioned.assigned.as_ref();
    vec![
        ("device", "device", json!(assigned.map(|it| &it.device))),
        ("hub", "hub", json!(assigned.map(|it| &it.hub))),
        ("assigned", "assignedAt", json!(assigned.map(|it| it.at.to_string()))),
        ("registration", "registrationId", json!(provisioned.registration_id)),
        ("id scope", "idScope", json!(provisioned.id_scope)),
        ("provisioning service", "provisioningService", json!(provisioned.endpoint)),
    ]
}

/// `source` is the place of the connection string or of the key.
fn facts_of_sign_in(
    config: &Config,
    identity: &Identity,
    source: &str,
) -> Result<Vec<Fact>, CommandError> {
    Ok(match sign_in(config, identity)? {
        SignIn::Key => vec![
            ("sign-in", "signIn", json!("key")),
            ("valid until", "validUntil", Value::Null),
            ("key", "key", json!(source)),
        ],
        SignIn::Token { valid_until } => vec![
            ("sign-in", "signIn", json!("token")),
            ("valid until", "validUntil", json!(valid_until.to_string())),
            ("token", "token", json!(source)),
        ],
        SignIn::Certificate { common_name, issuer, thumbprint, valid_from, valid_until, files } => {
            vec![
                ("sign-in", "signIn", json!("certificate")),
                ("common name", "commonName", json!(common_name)),
                ("issuer", "issuer", json!(issuer)),
                ("SHA-256 thumbprint", "thumbprint", json!(thumbprint)),
                ("valid from", "validFrom", json!(valid_from.to_string())),
                ("valid until", "validUntil", json!(valid_until.to_string())),
                ("certificate", "certificate", json!(files.certificate_file)),
                ("key", "key", json!(files.key.to_string())),
            ]
        }
    })
}
