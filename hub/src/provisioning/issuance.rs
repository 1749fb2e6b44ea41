//! Issuance of a certificate with a registration.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::provisioning::RegistrationId;

use super::Provisioning;
use super::admission::{Admission, HubCredential};
use super::failure::ProvisioningFailure;
use crate::ca::IssueError;
use crate::faults::ChainDefect;

impl Provisioning {
    /// Issues a certificate for a signing request, and makes it the credential of the device at
    /// the hub. Returns the certificate and that of the authority, each as DER in base64.
    pub(super) fn issue(
        &self,
        registration: &RegistrationId,
        admission: &mut Admission,
        request: &str,
        defect: Option<ChainDefect>,
    ) -> Result<Vec<String>, ProvisioningFailure> {
        let enrollment = &admission.enrollment;
        if enrollment.credential_policy_name.is_none() {
            let message = "csr: the enrollment has no credentialPolicyName";
            return Err(ProvisioningFailure::invalid(message));
        }
        // The hub compares the common name, which is the registration id, with the device id.
        let device = enrollment.device_id.as_ref();
        if device.is_some_and(|device| device.as_str() != registration.as_str()) {
            let message = "csr: the deviceId of the enrollment is not the registration id";
            return Err(ProvisioningFailure::invalid(message));
        }
        let lifetime = self.settings.certificate_lifetime;
        let request = STANDARD.decode(request).map_err(|_| IssueError::Malformed);
        let chain = request
            .and_then(|csr| self.issuer.issue(&csr, registration.as_str(), lifetime, defect));
        let chain = chain.map_err(|error| ProvisioningFailure::invalid(error.to_string()))?;
        admission.credential = HubCredential::Issued;
        Ok(chain.iter().map(|certificate| STANDARD.encode(certificate)).collect())
    }
}
