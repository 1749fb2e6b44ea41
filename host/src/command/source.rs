//! The identity of the device, and the place of its secret: an environment variable or a file.

use std::path::Path;

use anyhow::Context as _;
use behaviour_host::{Attestation, Config, Identity, Registration, with_certificate};
use program::text;
use protocol::provisioning::RegistrationId;
use protocol::sas::Key;

use super::error::{CommandError, CommandErrorKind};

/// Variable with the device's connection string.
pub(super) const CONNECTION_STRING: &str = "IOTHUB_DEVICE_CONNECTION_STRING";

/// Variable with the key of an individual enrollment.
const KEY: &str = "IOTHUB_PROVISIONING_KEY";

/// Variable with the key of an enrollment group.
const GROUP_KEY: &str = "IOTHUB_PROVISIONING_GROUP_KEY";

/// Returns the identity of the device, as [`identity_and_source`] does.
pub(super) fn identity(config: &Config) -> Result<Identity, CommandError> {
    identity_and_source(config).map(|(identity, _)| identity)
}

/// Returns the identity of the device, and the variable or file with its secret. With
/// `[provisioning]`, it is a registration, or else a connection string. A variable precedes
/// the configured file.
pub(super) fn identity_and_source(config: &Config) -> Result<(Identity, String), CommandError> {
    if config.provisioning.is_some() {
        let (registration, source) = registration_and_source(config)?;
        return Ok((Identity::Registration(registration), source));
    }
    let (text, source) = match (variable(CONNECTION_STRING)?, &config.hub.connection_string_file) {
        (Some(text), _) => (text, CONNECTION_STRING.to_owned()),
        (None, Some(path)) => file("connection string file", path).map_err(|error| {
            error.with_hint(format!(
                "set `connection_string_file` under [hub] to a file that this user can read, or \
                 set {CONNECTION_STRING}"
            ))
        })?,
        (None, None) => return Err(no_identity()),
    };
    match text.trim().parse() {
        Ok(identity) => Ok((Identity::ConnectionString(identity), source)),
        Err(error) => Err(CommandError::from(error).context(source)),
    }
}

/// Returns the registration of the device, and the variable or file with its key.
pub(super) fn registration_and_source(
    config: &Config,
) -> Result<(Registration, String), CommandError> {
    let Some(section) = &config.provisioning else { return Err(no_provisioning()) };
    if variable(CONNECTION_STRING)?.is_some() {
        let error = format!("{CONNECTION_STRING} is set beside [provisioning]");
        let error = CommandError::new(CommandErrorKind::Other, error);
        return Err(error.with_hint("unset it, or remove [provisioning]"));
    }
    if let Attestation::Certificate(files) = &section.attestation {
        let source = files.key.to_string();
        return Ok((with_certificate(config)?, source));
    }
    let id = section.registration_id.clone().ok_or_else(no_registration_id)?;
    let (text, source, is_of_group) = key(&section.attestation)?;
    match registration(id, &text, is_of_group) {
        Ok(registration) => Ok((registration, source)),
        Err(error) => Err(error.context(source)),
    }
}

/// Returns the key of the enrollment group, for `simulate`.
pub(super) fn group_key(config: &Config) -> Result<Key, CommandError> {
    let Some(section) = &config.provisioning else { return Err(no_provisioning()) };
    let (text, source, is_of_group) = key(&section.attestation)?;
    if !is_of_group {
        let error = format!("{source} is the key of a single device");
        let error = CommandError::new(CommandErrorKind::Other, error);
        return Err(error.with_hint(format!(
            "set {GROUP_KEY} or `group_key_file` under [provisioning], or name --identities"
        )));
    }
    text.trim().parse().map_err(|error| CommandError::from(error).context(source))
}

/// Returns the text of the key, the variable or file that contains it, and `true` if it is the
/// key of a group.
fn key(attestation: &Attestation) -> Result<(String, String, bool), CommandError> {
    let (named, is_of_group) = match attestation {
        Attestation::KeyFile(path) => (Some(path), false),
        Attestation::GroupKeyFile(path) => (Some(path), true),
        Attestation::KeyOfEnvironment | Attestation::Certificate(_) => (None, false),
    };
    match (variable(KEY)?, variable(GROUP_KEY)?, named) {
        (Some(_), Some(_), _) => {
            let error = format!("{KEY} and {GROUP_KEY} are both set");
            let error = CommandError::new(CommandErrorKind::Other, error);
            Err(error.with_hint(format!(
                "unset one: {KEY} is the key of an individual enrollment, {GROUP_KEY} that of an \
                 enrollment group"
            )))
        }
        (Some(text), None, _) => Ok((text, KEY.to_owned(), false)),
        (None, Some(text), _) => Ok((text, GROUP_KEY.to_owned(), true)),
        (None, None, Some(path)) => {
            let (text, source) = file("key file", path).map_err(|error| {
                error.with_hint("name a file with the key in base64, which this user can read")
            })?;
            Ok((text, source, is_of_group))
        }
        (None, None, None) => Err(no_key()),
    }
}

fn registration(
    id: RegistrationId,
    text: &str,
    is_of_group: bool,
) -> Result<Registration, CommandError> {
    let key: Key = text.trim().parse()?;
    Ok(match is_of_group {
        true => Registration::with_group_key(id, &key)?,
        false => Registration::with_key(id, key)?,
    })
}

fn variable(name: &str) -> Result<Option<String>, CommandError> {
    Ok(text::variable(name).with_context(|| name.to_owned())?)
}

/// Returns the text of a file, and its path.
fn file(kind: &str, path: &Path) -> Result<(String, String), CommandError> {
    let path_text = path.display().to_string();
    let text = text::read(path).with_context(|| format!("{kind} {path_text}"))?;
    Ok((text, path_text))
}

/// Returns the error for a missing connection string.
fn no_identity() -> CommandError {
    let error =
        CommandError::new(CommandErrorKind::Other, "connection string of the device is missing");
    error.with_hint(format!(
        "set {CONNECTION_STRING}, or `connection_string_file` under [hub]; behaviour-hub and the \
         Azure portal show the device's connection string"
    ))
}

/// Returns the error for a missing section.
fn no_provisioning() -> CommandError {
    let error = "the device has a connection string, and [provisioning] is missing";
    let error = CommandError::new(CommandErrorKind::Other, error);
    error.with_hint("add [provisioning] with `id_scope`; `behaviour-host example` shows it")
}

/// Returns the error for a missing registration id.
fn no_registration_id() -> CommandError {
    let error = "[provisioning]: `registration_id` is missing, which a symmetric key needs";
    let error = CommandError::new(CommandErrorKind::Other, error);
    error.with_hint(
        "set it to the registration id of the enrollment, or in a group to any id of the device",
    )
}

/// Returns the error for a missing key.
fn no_key() -> CommandError {
    let error = "[provisioning]: the key or the certificate of the device is missing";
    let error = CommandError::new(CommandErrorKind::Other, error);
    error.with_hint(format!(
        "set {KEY}, {GROUP_KEY}, `symmetric_key_file` or `group_key_file`, or `certificate_file` \
         with `key_file`"
    ))
}
