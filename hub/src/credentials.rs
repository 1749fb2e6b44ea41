//! Issuance of certificates over the sessions of devices: the topics `$iothub/credentials`.
//!
//! A request is in progress from its first answer, 202, until its final answer has been sent.
//! The final answer is kept until the device has a session that is subscribed to it, so it
//! outlives connections.
//!
//! This module has no transport: sessions pass the requests on, and [`Sessions`] sends the final
//! answers.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use jiff::Timestamp;
use parking_lot::Mutex;
use protocol::credentials::{
    CertificatePending, CertificateRequest, CredentialError, CredentialErrorCode as Code,
    CredentialRid, IssuedCertificate, MAX_REQUEST_BYTES, Replace,
};
use protocol::id::{DeviceId, RequestId};
use protocol::topic::HubTopic;
use rustls::pki_types::CertificateDer;
use serde::Serialize;
use serde_json::{Value, json};
use tracing::info;

use crate::ca::{Authority, IssueError};
use crate::faults::{ChainDefect, Faults, Handling, Rejection, Step};
use crate::sessions::Sessions;
use crate::stamps::{guid, now};
use crate::state::Owner;

/// Time after which a request is given up, as measured in Azure.
const OPERATION_HOURS: i64 = 12;

/// Issuance of certificates over sessions.
pub(crate) struct Credentials {
    authority: Arc<Authority>,
    lifetime: Duration,
    sessions: Arc<Sessions>,
    faults: Arc<Faults>,
    in_progress: Mutex<HashMap<DeviceId, InProgress>>,
}

/// Request in progress. A device has at most one.
struct InProgress {
    rid: CredentialRid,
    correlation_id: String,
    expires: Timestamp,
    /// Topic and body of the final answer, once it is known.
    answer: Option<(HubTopic, Vec<u8>)>,
}

/// Accepted request, for which [`Credentials::finish`] has to be called.
pub(crate) struct AcceptedRequest {
    pub(crate) pending: CertificatePending,
    csr: String,
}

impl Credentials {
    pub(crate) fn new(
        authority: Arc<Authority>,
        lifetime: Duration,
        sessions: Arc<Sessions>,
        faults: Arc<Faults>,
    ) -> Credentials {
        Credentials { authority, lifetime, sessions, faults, in_progress: Mutex::default() }
    }

    /// Checks a request and records that it is in progress. `has_authority` is `true` if the
    /// device signs in with a certificate of a trusted authority.
    pub(crate) fn accept(
        &self,
        device: &DeviceId,
        has_authority: bool,
        rid: &RequestId,
        body: &[u8],
        rejection: Option<Rejection>,
    ) -> Result<AcceptedRequest, Box<CredentialError>> {
        let rid = CredentialRid::try_from(rid.clone())
            .map_err(|reason| error(Code::ArgumentInvalid, reason.to_string()))?;
        let request = parse(device, body)?;
        if !has_authority {
            let message = "the device does not sign in with a certificate of an authority";
            return Err(error(Code::NoAuthority, message));
        }
        if rejection == Some(Rejection::Throttled) {
            let throttled = error(Code::Throttled, "Too many requests");
            return Err(Box::new(CredentialError { retry_after: Some(1), ..*throttled }));
        }
        if rejection == Some(Rejection::ServerError) {
            return Err(error(Code::Busy, "The hub is busy"));
        }
        let now = Timestamp::now();
        let mut in_progress = self.in_progress.lock();
        let active = in_progress.get(device).filter(|it| it.expires > now);
        match (&request.replace, active) {
            (None, Some(active)) => return Err(conflict(active)),
            (Some(Replace::Request(replaced)), active)
                if active.is_none_or(|active| active.rid != *replaced) =>
            {
                let info = json!({ "requestId": replaced.as_request_id() });
                let missing = error(Code::NothingToReplace, "No such request is in progress");
                return Err(Box::new(CredentialError { info: Some(info), ..*missing }));
            }
            _ => {}
        }
        let request_in_progress = InProgress {
            rid,
            correlation_id: guid(),
            expires: now + jiff::SignedDuration::from_hours(OPERATION_HOURS),
            answer: None,
        };
        if rejection == Some(Rejection::Conflict) {
            return Err(conflict(&request_in_progress));
        }
        let pending = CertificatePending {
            correlation_id: request_in_progress.correlation_id.clone(),
            operation_expires: format!("{:.9}", request_in_progress.expires),
        };
        in_progress.insert(device.clone(), request_in_progress);
        Ok(AcceptedRequest { pending, csr: request.csr })
    }

    /// Issues the certificate of an accepted request, and sends the final answer as soon as the
    /// device is subscribed to it.
    pub(crate) async fn finish(&self, device: DeviceId, accepted: AcceptedRequest) {
        let handling = self.faults.handling(Step::CertificateAnswer, Some(&device));
        if !handling.delay.is_zero() {
            tokio::time::sleep(handling.delay).await;
        }
        let issued = match handling.rejection {
            Some(Rejection::SigningRequest) => Err(IssueError::Signature),
            _ => self.issue(&device, &accepted, handling.chain_defect),
        };
        let correlation_id = accepted.pending.correlation_id;
        let (status, mut body) = match &issued {
            Ok(chain) => {
                let certificates = chain.iter().map(|it| STANDARD.encode(it)).collect();
                let correlation_id = correlation_id.clone();
                (200, to_json(&IssuedCertificate { correlation_id, certificates }))
            }
            Err(reason) => {
                let info = json!({
                    "correlationId": correlation_id,
                    "credentialError": "400000",
                    "credentialMessage": reason.to_string(),
                });
                let refused = error(Code::SigningRequest, "CSR did not pass verification");
                let refused = CredentialError { info: Some(info), ..*refused };
                (Code::SigningRequest.status(), to_json(&refused))
            }
        };
        if handling.is_broken {
            body.truncate(body.len() / 2);
        }
        {
            let mut in_progress = self.in_progress.lock();
            let current = in_progress.get_mut(&device);
            // A request that has been replaced in the meantime is not answered.
            let Some(current) = current.filter(|it| it.correlation_id == correlation_id) else {
                return;
            };
            let rid = current.rid.as_request_id().clone();
            current.answer = Some((HubTopic::CredentialAnswer { status, rid }, body));
        }
        info!(%device, status, "certificate requested by a device");
        self.deliver(&device, handling);
    }

    /// Issues the certificate of an accepted request, and returns it with that of the authority.
    pub(crate) fn issue(
        &self,
        device: &DeviceId,
        accepted: &AcceptedRequest,
        defect: Option<ChainDefect>,
    ) -> Result<[CertificateDer<'static>; 2], IssueError> {
        let csr = STANDARD.decode(&accepted.csr).map_err(|_| IssueError::Malformed)?;
        self.authority.issue(&csr, device.as_str(), self.lifetime, defect)
    }

    /// Sends the final answer that waits for a device, if the device is subscribed to it.
    pub(crate) fn subscribed(&self, device: &DeviceId) {
        self.deliver(device, Handling::REGULAR);
    }

    fn deliver(&self, device: &DeviceId, handling: Handling) {
        let mut in_progress = self.in_progress.lock();
        let known = in_progress.get(device).and_then(|it| it.answer.as_ref());
        if let Some((topic, body)) = known
            && self.sessions.publish(&Owner::device(device), topic, body, handling)
        {
            in_progress.remove(device);
        }
    }
}

fn parse(device: &DeviceId, body: &[u8]) -> Result<CertificateRequest, Box<CredentialError>> {
    let invalid = |message: String| error(Code::ArgumentInvalid, message);
    if body.is_empty() {
        return Err(invalid("the body is empty".to_owned()));
    }
    if body.len() > MAX_REQUEST_BYTES {
        let length = body.len();
        return Err(invalid(format!("{length} bytes; at most {MAX_REQUEST_BYTES} are allowed")));
    }
    let value: Value =
        serde_json::from_slice(body).map_err(|_| error(Code::Format, "the body is not JSON"))?;
    if !value.is_object() {
        return Err(invalid("the body is not an object".to_owned()));
    }
    let request: CertificateRequest =
        serde_json::from_value(value).map_err(|error| invalid(error.to_string()))?;
    if request.id != device.as_str() {
        return Err(invalid("id is not that of the device".to_owned()));
    }
    match STANDARD.decode(&request.csr) {
        Ok(bytes) if !bytes.is_empty() => Ok(request),
        _ => Err(invalid("csr is not base64".to_owned())),
    }
}

fn conflict(active: &InProgress) -> Box<CredentialError> {
    let info = json!({
        "requestId": active.rid.as_request_id(),
        "operationExpires": format!("{:.9}", active.expires),
        "correlationId": active.correlation_id,
    });
    let conflict = error(Code::Conflict, "Another request is in progress");
    Box::new(CredentialError { info: Some(info), ..*conflict })
}

fn error(code: Code, message: impl Into<String>) -> Box<CredentialError> {
    Box::new(CredentialError {
        error_code: code.number(),
        message: message.into(),
        tracking_id: guid(),
        timestamp_utc: now(),
        info: None,
        retry_after: None,
    })
}

fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("answers are plain data")
}

#[cfg(test)]
mod tests;
