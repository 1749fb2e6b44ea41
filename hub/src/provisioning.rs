//! A stand-in for the Device Provisioning Service (DPS), which assigns devices to this hub.
//!
//! Services write enrollments, devices register, and a registered device exists at the hub with
//! the credential that the device has proved. [`Provisioning`] has no transport: sessions and
//! the REST API call it. Enrollments and registrations are kept with the hub's state.
//!
//! Attestation with a TPM and custom allocation by a webhook are not supported.

mod admission;
mod assignment;
mod certificate;
mod device;
mod enrollments;
mod entry;
mod failure;
mod issuance;
mod operations;

use std::sync::Arc;
use std::time::Duration;

use protocol::connection_string::ServiceConnectionString;
use protocol::host_name::HostName;
use protocol::provisioning::enrollment::Enrollment;
use protocol::provisioning::service::{EnrollmentKind, OWNER_POLICY};
use protocol::provisioning::{IdScope, ProvisioningError, RegistrationState};

use crate::ca::Authority;
use crate::certificates::DeviceAuthorities;
use crate::sessions::Sessions;
use crate::state::{IfMatch, State};
pub(crate) use device::{DeviceAnswer, DeviceRequest, Registrant};
pub(crate) use enrollments::{DocumentPage, RegistrationQuery};
pub(crate) use failure::ProvisioningFailure;
use operations::Operations;

/// The id scope of every hub. Azure assigns a different one to each instance.
const ID_SCOPE: &str = "0ne00000000";

/// The port of MQTT that clients use without being told.
const DEFAULT_MQTT_PORT: u16 = 8883;

/// The Device Provisioning Service of a hub.
pub struct Provisioning {
    state: Arc<State>,
    sessions: Arc<Sessions>,
    /// The verified authorities.
    authorities: DeviceAuthorities,
    /// The authority that issues certificates to devices.
    issuer: Arc<Authority>,
    operations: Operations,
    settings: ProvisioningSettings,
}

/// Settings of the service.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ProvisioningSettings {
    /// Time between two polls.
    pub(crate) retry_after: Duration,
    /// Lifetime of issued certificates.
    pub(crate) certificate_lifetime: Duration,
    pub(crate) mqtt_port: u16,
    pub(crate) https_port: u16,
}

impl Provisioning {
    pub(crate) fn new(
        state: Arc<State>,
        sessions: Arc<Sessions>,
        authorities: DeviceAuthorities,
        issuer: Arc<Authority>,
        settings: ProvisioningSettings,
    ) -> Provisioning {
        let operations = Operations::default();
        Provisioning { state, sessions, authorities, issuer, operations, settings }
    }

    /// Returns the id scope, with which devices select this instance of the service.
    #[must_use]
    pub fn id_scope(&self) -> IdScope {
        ID_SCOPE.parse().expect("an id scope")
    }

    /// Returns the host name and the MQTT port of the service. A client with fixed ports needs
    /// the name alone.
    #[must_use]
    pub fn host(&self) -> HostName {
        HostName::new("localhost", Some(self.settings.mqtt_port)).expect("a host name")
    }

    /// Returns the connection string of a service that manages enrollments.
    #[must_use]
    pub fn connection_string(&self) -> ServiceConnectionString {
        let key = self.state.policy_key(OWNER_POLICY).expect("every hub has this policy");
        ServiceConnectionString {
            host: HostName::new("localhost", Some(self.settings.https_port)).expect("a host name"),
            policy: OWNER_POLICY.to_owned(),
            key: key.clone(),
        }
    }

    /// Creates an individual enrollment, and returns it with its keys.
    pub fn create_enrollment(
        &self,
        enrollment: Enrollment,
    ) -> Result<Enrollment, Box<ProvisioningError>> {
        let id = enrollment.registration_id.clone().unwrap_or_default();
        self.create(EnrollmentKind::Individual, &id, enrollment)
    }

    /// Creates an enrollment group, and returns it with its keys.
    pub fn create_group(&self, group: Enrollment) -> Result<Enrollment, Box<ProvisioningError>> {
        let id = group.enrollment_group_id.clone().unwrap_or_default();
        self.create(EnrollmentKind::Group, &id, group)
    }

    fn create(
        &self,
        kind: EnrollmentKind,
        id: &str,
        enrollment: Enrollment,
    ) -> Result<Enrollment, Box<ProvisioningError>> {
        let created = self.write_enrollment(kind, id, enrollment, &IfMatch::Absent);
        let created = created.map_err(|failure| Box::new(failure.to_error()))?;
        Ok(created.as_ref().clone())
    }

    /// Returns the registration of a device.
    #[must_use]
    pub fn registration(&self, registration_id: &str) -> Option<RegistrationState> {
        self.state.registration(registration_id).map(|registration| registration.state.clone())
    }

    /// Runs `work` on a blocking thread if it can wait for the disk.
    pub(crate) async fn run<T: Send + 'static>(
        self: &Arc<Self>,
        work: impl FnOnce(&Provisioning) -> T + Send + 'static,
    ) -> T {
        if !self.state.is_durable() {
            return work(self);
        }
        let provisioning = Arc::clone(self);
        match tokio::task::spawn_blocking(move || work(&provisioning)).await {
            Ok(done) => done,
            Err(error) => std::panic::resume_unwind(error.into_panic()),
        }
    }
}

#[cfg(test)]
mod tests;
