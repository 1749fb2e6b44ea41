//! A request for a certificate over the session, and its answers.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use protocol::credentials::{
    CertificateRequest, CredentialError, CredentialErrorCode as Code, IssuedCertificate, Replace,
};
use protocol::topic::DeviceTopic;
use tokio::time::{Instant, timeout};

use super::CertificateRenewal;
use crate::connection::CredentialAnswer;
use crate::ids::IdSequence;
use crate::issued::SigningRequest;

/// Number of times that a request is sent in one attempt.
const MAX_SENDS: u32 = 3;

/// Reason why the hub has not issued a certificate.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum SessionRefusal {
    /// Request that the hub does not accept.
    #[error("the hub refuses the signing request: {0}")]
    Request(String),
    /// Hub that does not issue certificates, or not for this device.
    #[error("{0}")]
    NotIssued(String),
    /// Hub that is busy.
    #[error("the hub is busy: {reason}")]
    Busy { reason: String, retry_after: Option<Duration> },
    /// Answer that does not arrive.
    #[error("the hub has not answered the request")]
    NoAnswer,
    /// Answer that cannot be read.
    #[error("the hub has sent an answer without a certificate")]
    Malformed,
}

/// Step after an answer.
#[derive(Debug, PartialEq, Eq)]
enum RequestStep {
    /// Another answer follows.
    Wait,
    /// Certificates, the device's own first.
    Issued(Vec<String>),
    /// The request has to be sent again.
    Send { replace: bool },
}

impl CertificateRenewal {
    /// Requests a certificate, and returns it with those of its authorities. `wait` is the time
    /// limit of each answer.
    pub(super) async fn over_session(
        &mut self,
        ids: &IdSequence,
        request: &SigningRequest,
        wait: Duration,
    ) -> Result<Vec<String>, SessionRefusal> {
        let mut replace = false;
        for _ in 0..MAX_SENDS {
            let rid = ids.rid();
            let body = CertificateRequest {
                id: self.device.clone(),
                csr: STANDARD.encode(&request.csr),
                replace: replace.then_some(Replace::Any),
            };
            let body = serde_json::to_vec(&body).expect("a request is plain data");
            let topic = DeviceTopic::IssueCertificate { rid: rid.clone() };
            self.answers.mark_unchanged();
            // Like an answer, a request is sent again until the hub has acknowledged it.
            let sending = self.outbox.answer(&topic, body.into(), Instant::now());
            match timeout(wait, sending).await {
                Ok(true) => {}
                Ok(false) | Err(_) => return Err(SessionRefusal::NoAnswer),
            }
            replace = loop {
                if timeout(wait, self.answers.changed()).await.is_err() {
                    break true;
                }
                let answer = self.answers.borrow_and_update().clone();
                let Some(answer) = answer.filter(|answer| answer.rid == rid) else { continue };
                match next(&answer)? {
                    RequestStep::Wait => {}
                    RequestStep::Issued(chain) => return Ok(chain),
                    RequestStep::Send { replace } => break replace,
                }
            };
        }
        Err(SessionRefusal::NoAnswer)
    }
}

/// Returns the step after an answer.
fn next(answer: &CredentialAnswer) -> Result<RequestStep, SessionRefusal> {
    match answer.status {
        202 => return Ok(RequestStep::Wait),
        200 => {
            let issued: IssuedCertificate =
                serde_json::from_slice(&answer.body).map_err(|_| SessionRefusal::Malformed)?;
            return Ok(RequestStep::Issued(issued.certificates));
        }
        _ => {}
    }
    let error: Option<CredentialError> = serde_json::from_slice(&answer.body).ok();
    let code = error.as_ref().map_or(u32::from(answer.status) * 1000, |error| error.error_code);
    let reason = error.as_ref().map_or_else(|| code.to_string(), ToString::to_string);
    match answer.status {
        409 => Ok(RequestStep::Send { replace: true }),
        412 if code == Code::NothingToReplace.number() => Ok(RequestStep::Send { replace: false }),
        400 => Err(SessionRefusal::Request(reason)),
        429 | 500.. => {
            let retry_after = error.and_then(|error| error.retry_after).map(Duration::from_secs);
            Err(SessionRefusal::Busy { reason, retry_after })
        }
        _ => Err(SessionRefusal::NotIssued(reason)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(status: u16, body: &str) -> Result<RequestStep, SessionRefusal> {
        let body = body.to_owned().into();
        next(&CredentialAnswer { status, rid: "req-1".parse().unwrap(), body })
    }

    #[test]
    fn each_answer_of_the_reference_has_a_step() {
        let error = |code: u32| format!(r#"{{"errorCode":{code},"message":"no"}}"#);
        let pending = r#"{"correlationId":"a","operationExpires":"2026-01-31T12:52:20Z"}"#;
        assert_eq!(step(202, pending), Ok(RequestStep::Wait));
        let issued = r#"{"correlationId":"a","certificates":["AQID"]}"#;
        assert_eq!(step(200, issued), Ok(RequestStep::Issued(vec!["AQID".to_owned()])));
        assert_eq!(step(200, "{}"), Err(SessionRefusal::Malformed));
        for code in [409_004, 409_005] {
            assert_eq!(step(409, &error(code)), Ok(RequestStep::Send { replace: true }));
        }
        assert_eq!(step(412, &error(412_001)), Ok(RequestStep::Send { replace: false }));
        for code in [400_004, 400_006, 400_037, 400_040] {
            let refusal = step(400, &error(code)).unwrap_err();
            assert_eq!(refusal, SessionRefusal::Request(format!("no ({code})")));
        }
        for (status, code) in [(403, 403_010), (404, 404_001), (412, 412_005)] {
            let refusal = step(status, &error(code)).unwrap_err();
            assert_eq!(refusal, SessionRefusal::NotIssued(format!("no ({code})")));
        }
        for status in [429, 500, 503] {
            let body = r#"{"errorCode":429002,"message":"no","retryAfter":7}"#;
            let Err(SessionRefusal::Busy { retry_after, .. }) = step(status, body) else {
                panic!("{status}")
            };
            assert_eq!(retry_after, Some(Duration::from_secs(7)));
            assert!(matches!(step(status, ""), Err(SessionRefusal::Busy { .. })));
        }
    }
}
