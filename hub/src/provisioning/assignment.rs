//! Assignment of a device to this hub: its identity, its twin and its registration record.

use protocol::host_name::HostName;
use protocol::id::DeviceId;
use protocol::provisioning::enrollment::{AllocationPolicy, Enrollment};
use protocol::provisioning::{
    AssignmentStatus, AssignmentSubstatus, ProvisioningErrorCode, RegistrationId,
    RegistrationState, SymmetricKeyResult, X509Result,
};
use serde_json::{Value, json};

use super::admission::{Admission, HubCredential};
use super::device::Registrant;
use super::failure::ProvisioningFailure;
use super::{DEFAULT_MQTT_PORT, Provisioning};
use crate::peer::Peer;
use crate::sessions::Ending;
use crate::stamps::{guid, now};
use crate::state::{IdentityRequest, IfMatch, Owner, Registration, TwinChange, TwinWrite};

impl Provisioning {
    /// Assigns the device: creates or updates it at the hub, and records the registration.
    pub(super) fn assign(
        &self,
        registrant: &Registrant,
        admission: &Admission,
    ) -> Result<RegistrationState, ProvisioningFailure> {
        let Registrant { registration, peer, .. } = registrant;
        let enrollment = &*admission.enrollment;
        let known = self.state.registration(registration.as_str());
        let candidates = self.candidates(enrollment)?;
        let policy = enrollment.reprovision_policy.unwrap_or_default();
        let before = known.as_ref().and_then(|known| known.state.assigned_hub.clone());
        let keep = |name: &&String| {
            let allowed = candidates.is_empty()
                || candidates.iter().any(|candidate| candidate.eq_ignore_ascii_case(name));
            (allowed || !policy.update_hub_assignment) && self.is_own_name(name)
        };
        let moved = before.is_some() && before.as_ref().filter(keep).is_none();
        // Without restrictions, the name that the device uses is also the best one for the hub.
        let hub = match before.as_ref().filter(keep) {
            Some(before) if !candidates.is_empty() || !policy.update_hub_assignment => {
                before.clone()
            }
            _ => self.choose(enrollment, &candidates, registration, peer),
        };
        let device = match (&enrollment.device_id, &known) {
            (Some(device), _) => device.clone(),
            (None, Some(known)) if known.state.device_id.is_some() => {
                known.state.device_id.clone().expect("checked above")
            }
            _ => registration.device_id(),
        };
        let reset = policy.update_hub_assignment && !policy.migrate_device_data;
        let substatus = self.write_device(&device, admission, known.is_some(), reset, moved)?;
        self.record(registrant, admission, device, hub, substatus)
    }

    /// Creates or updates the device at the hub.
    fn write_device(
        &self,
        device: &DeviceId,
        Admission { enrollment, credential, .. }: &Admission,
        is_registered: bool,
        reset: bool,
        moved: bool,
    ) -> Result<AssignmentSubstatus, ProvisioningFailure> {
        let owner = Owner::device(device);
        let authentication = authentication(credential);
        let capabilities = json!(enrollment.capabilities.unwrap_or_default());
        let request = json!({ "authentication": authentication, "capabilities": capabilities });
        let request: IdentityRequest =
            serde_json::from_value(request).expect("the identity of a device");
        let existing = self.state.get(&owner).ok();
        let substatus = match (is_registered, existing.is_some()) {
            (_, false) => AssignmentSubstatus::InitialAssignment,
            (false, true) => AssignmentSubstatus::ReprovisionedToInitialAssignment,
            (true, true) if reset => AssignmentSubstatus::DeviceDataReset,
            (true, true) if moved => AssignmentSubstatus::DeviceDataMigrated,
            (true, true) => AssignmentSubstatus::InitialAssignment,
        };
        match existing {
            Some(_) if substatus == AssignmentSubstatus::DeviceDataReset => {
                self.state.delete(&owner, &IfMatch::Any)?;
                self.sessions.end_device(device, Ending::Revoked);
            }
            Some(entity) => {
                if entity.identity_view()["authentication"] != authentication {
                    self.state.update(&owner, &request, &IfMatch::Any)?;
                }
                return Ok(substatus);
            }
            None => {}
        }
        self.state.create(&owner, &request)?;
        if let Some(twin) = &enrollment.initial_twin {
            let twin = TwinChange::parse(twin.clone())?;
            self.state.write_twin(&owner, TwinWrite::Replace, twin, &IfMatch::Any)?;
        }
        Ok(substatus)
    }

    /// Records the registration, and returns it.
    fn record(
        &self,
        registrant: &Registrant,
        admission: &Admission,
        device: DeviceId,
        hub: String,
        substatus: AssignmentSubstatus,
    ) -> Result<RegistrationState, ProvisioningFailure> {
        let (registration, group) = (&registrant.registration, admission.group.clone());
        let mut recorded = None;
        self.state.change_registration(registration.as_str(), |known| {
            let now = now();
            let known = known.map(|known| &known.state);
            let created = known.and_then(|known| known.created_date_time_utc.clone());
            let mut state = RegistrationState {
                created_date_time_utc: Some(created.unwrap_or_else(|| now.clone())),
                assigned_hub: Some(hub),
                device_id: Some(device),
                substatus: Some(substatus),
                last_updated_date_time_utc: Some(now),
                etag: Some(guid()),
                ..RegistrationState::new(registration.clone(), AssignmentStatus::Assigned)
            };
            let enrollment_group_id = group.clone();
            match admission.credential {
                HubCredential::Keys(..) => {
                    state.symmetric_key = Some(SymmetricKeyResult { enrollment_group_id });
                }
                HubCredential::Thumbprint(_) | HubCredential::Issued => {
                    state.x509 = Some(X509Result { enrollment_group_id, ..X509Result::default() });
                }
            }
            recorded = Some(state.clone());
            Ok::<_, ProvisioningFailure>(Some(Registration { state, group }))
        })?;
        let recorded = recorded.expect("the change above sets it");
        Ok(self.for_device(recorded, registrant))
    }

    /// Returns a recorded registration as the device sees it: with the port of the hub, unless
    /// clients know it, and with the connection profile, if the device asks for it.
    pub(super) fn for_device(
        &self,
        mut state: RegistrationState,
        Registrant { peer, names_profile, .. }: &Registrant,
    ) -> RegistrationState {
        let profile = state.device_id.as_ref().and_then(|id| self.state.profiles().of(id));
        state.connection_profile = profile.filter(|_| *names_profile).map(|it| it.to_string());
        let known_port = peer.has_fixed_ports || self.settings.mqtt_port == DEFAULT_MQTT_PORT;
        let port = Some(self.settings.mqtt_port).filter(|_| !known_port);
        let with_port = |name: String| HostName::new(&name, port).map(|host| host.to_string());
        state.assigned_hub = state.assigned_hub.and_then(|name| with_port(name).ok());
        state
    }

    /// Returns the names of this hub that an enrollment is restricted to; none if it is not
    /// restricted.
    fn candidates(&self, enrollment: &Enrollment) -> Result<Vec<String>, ProvisioningFailure> {
        let hubs = enrollment.iot_hubs.iter().flatten().chain(&enrollment.iot_hub_host_name);
        let (own, other): (Vec<String>, Vec<String>) = hubs
            .map(|hub| {
                hub.parse().map_or_else(|_| hub.clone(), |it: HostName| it.name().to_owned())
            })
            .partition(|hub| self.is_own_name(hub));
        match own.is_empty() && !other.is_empty() {
            true => {
                let names = json::readable(&other.join(", ")).into_owned();
                tracing::info!(hubs = names, "the enrollment names no name of this hub");
                Err(ProvisioningErrorCode::HubNotFound.into())
            }
            false => Ok(own),
        }
    }

    /// Chooses the name of the hub for a device. `geoLatency` and `static` choose the first
    /// candidate.
    fn choose(
        &self,
        enrollment: &Enrollment,
        candidates: &[String],
        registration: &RegistrationId,
        peer: &Peer,
    ) -> String {
        let hash = registration
            .folded()
            .bytes()
            .fold(0_usize, |hash, byte| hash.wrapping_mul(31).wrapping_add(usize::from(byte)));
        let index = match enrollment.allocation_policy {
            Some(AllocationPolicy::GeoLatency | AllocationPolicy::Static) => 0,
            _ => hash % candidates.len().max(1),
        };
        let address = peer.local_address.filter(|address| !address.is_loopback());
        let of_peer = [peer.server_name.clone(), address.map(|address| address.to_string())];
        let mut of_peer = of_peer.into_iter().flatten().filter(|name| self.is_own_name(name));
        match candidates.get(index) {
            Some(candidate) => candidate.clone(),
            None => of_peer.next().unwrap_or_else(|| "localhost".to_owned()),
        }
    }

    fn is_own_name(&self, name: &str) -> bool {
        name.parse().is_ok_and(|host: HostName| self.state.policies().is_own_name(&host))
    }
}

/// Returns the `authentication` of the device's identity, as the registry shows it.
fn authentication(credential: &HubCredential) -> Value {
    match credential {
        HubCredential::Keys(primary, secondary) => json!({
            "symmetricKey": {
                "primaryKey": primary.to_base64(),
                "secondaryKey": secondary.to_base64(),
            },
            "x509Thumbprint": { "primaryThumbprint": null, "secondaryThumbprint": null },
            "type": "sas",
        }),
        // As at the service in Azure, both thumbprints are those of the same certificate.
        HubCredential::Thumbprint(thumbprint) => json!({
            "symmetricKey": { "primaryKey": null, "secondaryKey": null },
            "x509Thumbprint": {
                "primaryThumbprint": thumbprint,
                "secondaryThumbprint": thumbprint,
            },
            "type": "selfSigned",
        }),
        HubCredential::Issued => json!({
            "symmetricKey": { "primaryKey": null, "secondaryKey": null },
            "x509Thumbprint": { "primaryThumbprint": null, "secondaryThumbprint": null },
            "type": "certificateAuthority",
        }),
    }
}
