//! Handling of a packet or request, which a fault can change.
//!
//! Only [`Effect::handling`] distinguishes the effects. The rest of the hub follows the
//! fields of a [`Handling`], with or without a fault, so a new effect changes one `match`.

use std::time::Duration;

use super::fault::{Effect, Refused, Step};

/// Handling of a packet or request, either regular or changed by a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Handling {
    /// Delay of the packet.
    pub(crate) delay: Duration,
    /// `true` if later packets overtake the delayed one.
    pub(crate) overtaken: bool,
    /// Number of copies that arrive; 0 means that the packet is lost.
    pub(crate) copies: u8,
    /// Rejection that replaces the regular answer.
    pub(crate) rejection: Option<Rejection>,
    /// `true` if the body of the answer is cut in half.
    pub(crate) is_broken: bool,
    /// Defect of an issued certificate.
    pub(crate) chain_defect: Option<ChainDefect>,
    /// `true` if the device is disabled with the answer.
    pub(crate) disables: bool,
    /// `true` if the answer has the nonce of another connection.
    pub(crate) is_stale: bool,
    /// State of the connection after the packet.
    pub(crate) connection: ConnectionFate,
}

/// Rejection that a fault sends instead of the regular answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// The status 429 (too many requests).
    Throttled,
    /// The status 409 (conflict).
    Conflict,
    /// The status 500, or 503 to a request for a certificate.
    ServerError,
    /// A registration that is still in progress.
    Assigning,
    /// A refusal of the certificate signing request.
    SigningRequest,
    /// A CONNACK with this return code.
    ConnAck(Refused),
}

/// Defect of an issued certificate.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ChainDefect {
    /// Validity that has ended.
    Expired,
    /// Authority that the hub does not trust.
    Untrusted,
}

/// State of a connection after a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectionFate {
    Kept,
    Dropped,
    /// Silent for this time, then dropped.
    Silenced(Duration),
}

impl Handling {
    /// The handling without a fault.
    pub(crate) const REGULAR: Handling = Handling {
        delay: Duration::ZERO,
        overtaken: false,
        copies: 1,
        rejection: None,
        is_broken: false,
        chain_defect: None,
        disables: false,
        is_stale: false,
        connection: ConnectionFate::Kept,
    };

    /// Returns `true` if the connection ends right after the packet.
    pub(crate) fn drops_connection(&self) -> bool {
        self.connection == ConnectionFate::Dropped
    }

    /// Returns `true` if the answer is 429 instead of the regular one.
    pub(crate) fn is_throttled(&self) -> bool {
        self.rejection == Some(Rejection::Throttled)
    }

    /// Returns `true` if this handling is possible for packets or requests of `step`.
    pub(super) fn is_possible_at(&self, step: Step) -> bool {
        let is_connect = matches!(step, Step::Connect | Step::DpsConnect);
        let sent_by_hub = !is_connect
            && !matches!(step, Step::Answer | Step::ProbeAck | Step::Message | Step::Request);
        let is_registration = matches!(step, Step::DpsRegister | Step::DpsStatus);
        let rejection_fits = match self.rejection {
            None => !self.disables || step == Step::DpsStatus,
            Some(Rejection::ConnAck(_)) => is_connect,
            Some(Rejection::Throttled) => {
                is_registration
                    || step == Step::CertificateRequest
                    || matches!(step, Step::TwinGet | Step::TwinReport | Step::Request)
            }
            Some(Rejection::Conflict | Rejection::ServerError) => {
                is_registration || step == Step::CertificateRequest
            }
            Some(Rejection::SigningRequest) => step == Step::CertificateAnswer,
            Some(Rejection::Assigning) => step == Step::DpsStatus,
        };
        let copies_fit = match self.copies {
            // The sender of an unanswered CONNECT or request would wait forever.
            0 if self.connection == ConnectionFate::Kept => !is_connect && step != Step::Request,
            0 | 1 => true,
            _ => sent_by_hub,
        };
        // REST requests do not belong to a device's connection.
        let connection_fits = self.connection == ConnectionFate::Kept || step != Step::Request;
        let issues = matches!(step, Step::DpsRegister | Step::CertificateAnswer);
        let chain_fits = self.chain_defect.is_none() || issues;
        let body_fits = !self.is_broken || is_registration || step == Step::CertificateAnswer;
        let nonce_fits = !self.is_stale || step == Step::Birth;
        rejection_fits
            && body_fits
            && chain_fits
            && nonce_fits
            && copies_fit
            && connection_fits
            && (sent_by_hub || !self.overtaken)
    }
}

impl Effect {
    /// Returns the handling of a packet or request with this effect.
    pub(crate) fn handling(self) -> Handling {
        use ConnectionFate::{Dropped, Silenced};
        let regular = Handling::REGULAR;
        match self {
            Effect::DropBefore => Handling { copies: 0, connection: Dropped, ..regular },
            Effect::DropAfter => Handling { connection: Dropped, ..regular },
            Effect::Lose => Handling { copies: 0, ..regular },
            Effect::Delay(delay) => Handling { delay, ..regular },
            Effect::Reorder(delay) => Handling { delay, overtaken: true, ..regular },
            Effect::Duplicate => Handling { copies: 2, ..regular },
            Effect::HalfOpen(time) => Handling { copies: 0, connection: Silenced(time), ..regular },
            Effect::Throttle => Handling { rejection: Some(Rejection::Throttled), ..regular },
            Effect::Conflict => Handling { rejection: Some(Rejection::Conflict), ..regular },
            Effect::ServerError => Handling { rejection: Some(Rejection::ServerError), ..regular },
            Effect::BrokenBody => Handling { is_broken: true, ..regular },
            Effect::Assigning => Handling { rejection: Some(Rejection::Assigning), ..regular },
            Effect::RejectCsr => Handling { rejection: Some(Rejection::SigningRequest), ..regular },
            Effect::ExpiredChain => {
                Handling { chain_defect: Some(ChainDefect::Expired), ..regular }
            }
            Effect::UntrustedChain => {
                Handling { chain_defect: Some(ChainDefect::Untrusted), ..regular }
            }
            Effect::StaleNonce => Handling { is_stale: true, ..regular },
            Effect::Disable => Handling { disables: true, ..regular },
            Effect::Refuse(code) => {
                Handling { rejection: Some(Rejection::ConnAck(code)), ..regular }
            }
        }
    }
}
