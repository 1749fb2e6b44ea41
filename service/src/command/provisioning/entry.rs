//! The options that describe an enrollment or a group, and their effect on its document.

use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use program::text;
use protocol::id::DeviceId;
use protocol::provisioning::RegistrationId;
use protocol::provisioning::enrollment::{
    Attestation, CaReferences, CertificatePair, Enrollment, ProvisioningStatus, ReprovisionPolicy,
    X509Attestation,
};
use serde_json::{Map, Value, json};

use crate::command::input;
use crate::command_error::{CommandError, usage};

/// Settings of an individual enrollment.
#[derive(Args)]
pub(crate) struct IndividualOptions {
    /// The id of the device at the hub; the registration id by default
    #[arg(long, value_name = "ID")]
    device_id: Option<DeviceId>,
    /// Admit the device with the first certificate in a PEM file instead of a key
    #[arg(long, value_name = "FILE")]
    x509_certificate: Option<PathBuf>,
    /// Admit the device with this certificate as well, which can replace the other one later
    #[arg(long, value_name = "FILE", requires = "x509_certificate")]
    x509_secondary: Option<PathBuf>,
}

/// Settings of a group.
#[derive(Args)]
pub(crate) struct GroupOptions {
    /// Admit devices with certificates of the authority in a PEM file instead of derived keys
    #[arg(long, value_name = "FILE", conflicts_with = "ca_reference")]
    x509_certificate: Option<PathBuf>,
    /// Admit devices with certificates of the verified authority of this name
    #[arg(long, value_name = "NAME")]
    ca_reference: Option<String>,
}

/// Settings of enrollments and groups that are created.
#[derive(Args)]
pub(crate) struct EnrollmentOptions {
    #[command(flatten)]
    shared: SharedOptions,
    /// Create it disabled, so that its devices cannot register yet
    #[arg(long)]
    disabled: bool,
}

/// Changes of enrollments and groups.
#[derive(Args)]
pub(crate) struct EnrollmentChange {
    #[command(flatten)]
    shared: SharedOptions,
    /// Admit the devices again
    #[arg(long, conflicts_with = "disable")]
    enable: bool,
    /// Refuse registrations; connected devices stay connected
    #[arg(long)]
    disable: bool,
}

#[derive(Args)]
struct SharedOptions {
    /// Tags and desired properties of new devices: JSON, @FILE, or - for standard input
    #[arg(long, value_name = "TWIN")]
    twin: Option<String>,
    /// The treatment of the twin when a device registers again
    #[arg(long, value_enum, value_name = "POLICY")]
    reprovision: Option<Reprovision>,
    /// A hub that devices may be assigned to; all linked hubs by default; may be repeated
    #[arg(long = "hub", value_name = "HOST")]
    hubs: Vec<String>,
    /// The policy that issues certificates to devices which ask for one; any name for behaviour-hub
    #[arg(long, value_name = "NAME")]
    credential_policy: Option<String>,
}

/// The treatment of a device that registers again.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Reprovision {
    /// The hub is chosen again, and the twin is kept
    Migrate,
    /// The hub is chosen again, and the twin is reset to the initial one
    Reset,
    /// The device stays at its hub
    Never,
}

/// Returns the document of a new individual enrollment.
pub(super) fn individual(
    id: &RegistrationId,
    individual: IndividualOptions,
    options: EnrollmentOptions,
) -> Result<Enrollment, CommandError> {
    let keys = Attestation::symmetric_key(Some(String::new()), Some(String::new()));
    let attestation = individual.attestation()?.unwrap_or(keys);
    Ok(Enrollment {
        registration_id: Some(id.to_string()),
        device_id: individual.device_id,
        attestation,
        ..options.document()?
    })
}

/// Returns the document of a new group.
pub(super) fn group(
    id: &RegistrationId,
    group: GroupOptions,
    options: EnrollmentOptions,
) -> Result<Enrollment, CommandError> {
    let keys = Attestation::symmetric_key(Some(String::new()), Some(String::new()));
    Ok(Enrollment {
        enrollment_group_id: Some(id.to_string()),
        attestation: group.attestation()?.unwrap_or(keys),
        ..options.document()?
    })
}

impl EnrollmentOptions {
    fn document(self) -> Result<Enrollment, CommandError> {
        let SharedOptions { twin, reprovision, hubs, credential_policy } = self.shared;
        let disabled = self.disabled.then_some(ProvisioningStatus::Disabled);
        Ok(Enrollment {
            initial_twin: twin.as_deref().map(initial_twin).transpose()?,
            reprovision_policy: reprovision.map(Reprovision::policy),
            iot_hubs: Some(hubs).filter(|hubs| !hubs.is_empty()),
            provisioning_status: disabled,
            credential_policy_name: credential_policy,
            ..Enrollment::default()
        })
    }
}

impl IndividualOptions {
    fn attestation(&self) -> Result<Option<Attestation>, CommandError> {
        let Some(primary) = &self.x509_certificate else { return Ok(None) };
        let secondary = self.x509_secondary.as_deref().map(certificate).transpose()?;
        let client_certificates = Some(CertificatePair::new(certificate(primary)?, secondary));
        let x509 = X509Attestation { client_certificates, ..X509Attestation::default() };
        Ok(Some(Attestation::x509(x509)))
    }
}

impl GroupOptions {
    fn attestation(self) -> Result<Option<Attestation>, CommandError> {
        let x509 = match (self.x509_certificate, self.ca_reference) {
            (Some(file), _) => X509Attestation {
                signing_certificates: Some(CertificatePair::new(certificate(&file)?, None)),
                ..X509Attestation::default()
            },
            (None, Some(name)) => X509Attestation {
                ca_references: Some(CaReferences { primary: Some(name), secondary: None }),
                ..X509Attestation::default()
            },
            (None, None) => return Ok(None),
        };
        Ok(Some(Attestation::x509(x509)))
    }
}

/// A change with all of its files read.
pub(super) struct CheckedChange(Map<String, Value>);

impl CheckedChange {
    /// Replaces members of a document.
    pub(super) fn apply(self, entry: &mut Value) {
        if let Some(members) = entry.as_object_mut() {
            members.extend(self.0);
        }
    }
}

impl EnrollmentChange {
    /// Returns the change of an individual enrollment.
    pub(super) fn with_individual(
        self,
        individual: IndividualOptions,
    ) -> Result<CheckedChange, CommandError> {
        let attestation = individual.attestation()?;
        self.checked(individual.device_id, attestation)
    }

    /// Returns the change of a group.
    pub(super) fn with_group(self, group: GroupOptions) -> Result<CheckedChange, CommandError> {
        let attestation = group.attestation()?;
        self.checked(None, attestation)
    }

    fn checked(
        self,
        device: Option<DeviceId>,
        attestation: Option<Attestation>,
    ) -> Result<CheckedChange, CommandError> {
        let SharedOptions { twin, reprovision, hubs, credential_policy } = self.shared;
        let twin = twin.as_deref().map(initial_twin).transpose()?;
        let status = match (self.enable, self.disable) {
            (true, _) => Some(ProvisioningStatus::Enabled),
            (_, true) => Some(ProvisioningStatus::Disabled),
            _ => None,
        };
        let members = [
            ("deviceId", device.map(|device| json!(device))),
            ("attestation", attestation.map(|attestation| json!(attestation))),
            ("initialTwin", twin.map(Value::Object)),
            ("reprovisionPolicy", reprovision.map(|policy| json!(policy.policy()))),
            ("iotHubs", Some(hubs).filter(|hubs| !hubs.is_empty()).map(|hubs| json!(hubs))),
            ("provisioningStatus", status.map(|status| json!(status))),
            ("credentialPolicyName", credential_policy.map(Value::String)),
        ];
        let members = members.into_iter();
        let changed: Map<String, Value> =
            members.filter_map(|(name, value)| Some((name.to_owned(), value?))).collect();
        match changed.is_empty() {
            true => Err(usage("no change is given").with_hint("--help lists the options")),
            false => Ok(CheckedChange(changed)),
        }
    }
}

impl Reprovision {
    fn policy(self) -> ReprovisionPolicy {
        let (update_hub_assignment, migrate_device_data) = match self {
            Reprovision::Migrate => (true, true),
            Reprovision::Reset => (true, false),
            Reprovision::Never => (false, false),
        };
        ReprovisionPolicy { update_hub_assignment, migrate_device_data }
    }
}

/// Parses the twin `{"tags":…,"properties":{"desired":…}}`.
fn initial_twin(argument: &str) -> Result<Map<String, Value>, CommandError> {
    let Value::Object(twin) = input::value("--twin", argument)? else {
        return Err(usage("--twin is not a JSON object"));
    };
    match twin.keys().find(|key| !["tags", "properties"].contains(&key.as_str())) {
        None => Ok(twin),
        Some(key) => {
            let key = json::readable(key);
            let hint = r#"the form is {"tags": {}, "properties": {"desired": {}}}"#;
            Err(usage(format!("--twin has `{key}`, which no initial twin has")).with_hint(hint))
        }
    }
}

/// Reads a file and checks its first certificate.
fn certificate(file: &Path) -> Result<String, CommandError> {
    let name = || format!("certificate file {}", file.display());
    let pem = text::read(file).with_context(name)?;
    trust::first_thumbprint(pem.as_bytes()).with_context(name)?;
    Ok(pem)
}
