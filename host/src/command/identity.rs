//! `behaviour-host identity`: the device's identity, without a secret, and its registration.

mod key;
mod provision;

use behaviour_host::{Config, Identity, Provisioned, SignIn, provisioned, sign_in};
use clap::{Args, Subcommand};
use program::say;
use serde_json::{Value, json};

use super::configuration::{ConfigurationArguments, read};
use super::error::CommandError;
use super::source::identity_and_source;
use key::{CreateKeyArguments, CsrArguments};
use provision::ProvisionArguments;

const EXAMPLES: &str = "\
Examples:
  behaviour-host identity show
  behaviour-host identity show --json | jq .validUntil
  behaviour-host identity provision
  behaviour-host identity renew
  behaviour-host identity csr > device.csr";

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
    /// Register for a new certificate, which a running host uses within half a minute
    Renew(ProvisionArguments),
    /// Create the P-384 key of the configured certificate, in a file or in a token
    CreateKey(CreateKeyArguments),
    /// Print a certificate signing request (PKCS #10) for the configured key
    Csr(CsrArguments),
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
        IdentityCommand::Renew(arguments) => provision::renew(&arguments),
        IdentityCommand::CreateKey(arguments) => key::create(&arguments),
        IdentityCommand::Csr(arguments) => key::request(&arguments),
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
    let mut facts = match sign_in(config, identity)? {
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
        SignIn::AwaitedCertificate { files } => vec![
            ("sign-in", "signIn", json!("certificate, which is not issued yet")),
            ("valid until", "validUntil", Value::Null),
            ("key", "key", json!(files.key.to_string())),
        ],
    };
    let section = config.provisioning.as_ref();
    if section.is_some_and(|section| section.issued_certificate.is_some()) {
        facts.push(("registers with", "registersWith", json!(source)));
    }
    Ok(facts)
}
