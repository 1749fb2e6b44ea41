//! The cells of the matrix. A cell is a fault and the step at which it happens, and
//! determines what the test promises.

use std::time::Duration;

use hub::{Effect, Fault, Forget, Refused, Step};
use protocol::mqtt5::{ConnectionProfile, ReasonCode};
use rig::Running;

/// The delay of a packet, and the downtime of a restarting hub.
const DELAY: Duration = Duration::from_millis(200);

/// The duration of a half-open connection. It is longer than the host's keep-alive, so that
/// the host has to detect it.
const HALF_OPEN: Duration = Duration::from_secs(600);

/// The reasons of a DISCONNECT that are not caused by a packet of the host: a take-over by another
/// connection, and ends that the hub has decided on.
const DISCONNECTS: [ReasonCode; 8] = [
    ReasonCode::SUCCESS,
    ReasonCode::UNSPECIFIED,
    ReasonCode::NOT_AUTHORIZED,
    ReasonCode::SERVER_SHUTTING_DOWN,
    ReasonCode::KEEP_ALIVE_TIMEOUT,
    ReasonCode::SESSION_TAKEN_OVER,
    ReasonCode::QUOTA_EXCEEDED,
    ReasonCode::USE_ANOTHER_SERVER,
];

/// A cell of the matrix.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Cell {
    /// A fault at a step of the protocol.
    At(Step, Effect),
    /// A dropped connection. This fault and the following ones can happen at any step.
    Drop,
    HalfOpen,
    ExpireToken,
    Restart(Forget),
    /// A DISCONNECT of the hub. Only with MQTT 5.
    Disconnect(ReasonCode),
}

impl Cell {
    pub(super) fn all(profile: ConnectionProfile) -> Vec<Cell> {
        use Effect::{
            Delay, DropAfter, DropBefore, Duplicate, HalfOpen, Lose, Reorder, StaleNonce, Throttle,
        };
        let has_steps = profile == ConnectionProfile::MqttV5;
        let refusals = [
            Refused::Protocol,
            Refused::ClientId,
            Refused::Unavailable,
            Refused::Password,
            Refused::NotAuthorized,
        ];
        let connect = [DropBefore, DropAfter, Delay(DELAY), HalfOpen(DELAY)];
        let outward = [
            DropBefore,
            DropAfter,
            Lose,
            Delay(DELAY),
            Reorder(DELAY),
            Duplicate,
            HalfOpen(HALF_OPEN),
        ];
        let inward = [DropBefore, DropAfter, Delay(DELAY), HalfOpen(HALF_OPEN)];
        let mut cells: Vec<Cell> = Vec::new();
        let mut at = |step, effects: &[Effect]| {
            cells.extend(effects.iter().map(|effect| Cell::At(step, *effect)));
        };
        at(Step::Connect, &connect);
        at(Step::Connect, &refusals.map(Effect::Refuse));
        at(Step::Subscribe, &outward);
        if has_steps {
            at(Step::Birth, &outward);
            at(Step::Birth, &[StaleNonce]);
            at(Step::Probe, &outward);
            at(Step::ProbeAck, &inward);
            at(Step::ProbeAck, &[Lose]);
        }
        at(Step::Acknowledge, &outward);
        at(Step::Method, &outward);
        at(Step::Answer, &inward);
        at(Step::Answer, &[Lose]);
        at(Step::TwinGet, &outward);
        at(Step::TwinGet, &[Throttle]);
        at(Step::TwinReport, &outward);
        at(Step::TwinReport, &[Throttle]);
        at(Step::Desired, &outward);
        at(Step::Message, &inward);
        at(Step::Request, &[Delay(DELAY), Throttle]);
        cells.extend([Cell::Drop, Cell::HalfOpen]);
        if has_steps {
            cells.extend(DISCONNECTS.map(Cell::Disconnect));
        } else {
            cells.push(Cell::ExpireToken);
        }
        let forgets = [Forget::Nothing, Forget::Sessions, Forget::Twins];
        cells.extend(forgets.map(Cell::Restart));
        cells
    }

    /// Injects the fault, either immediately or at the next occurrence of its step. Returns the
    /// number of times that it will happen at a step.
    pub(super) fn begin(self, rig: &Running) -> u64 {
        let (hub, device) = (rig.hub(), &rig.service.device);
        match self {
            Cell::At(step, effect) => {
                // Each lost packet causes a timeout.
                let slow = self.can_lose() || effect == Effect::Lose;
                let times = if slow || is_part_of_connecting(step) { 1 } else { 3 };
                hub.faults().set(Fault::new(step, effect).of(device).times(times)).unwrap();
                if is_part_of_connecting(step) {
                    assert!(hub.drop_connection(device));
                }
                return times.into();
            }
            Cell::Drop => {
                assert!(hub.drop_connection(device));
                return 0;
            }
            Cell::HalfOpen => {
                assert!(hub.silence_connection(device, HALF_OPEN));
                return 0;
            }
            Cell::Disconnect(reason) => {
                assert!(hub.disconnect(device, reason));
                return 0;
            }
            Cell::ExpireToken => assert!(hub.expire_token(device)),
            Cell::Restart(forget) => hub.restart(DELAY, forget).unwrap(),
        }
        1
    }

    /// Returns `true` if the fault affects changes of desired properties.
    pub(super) fn affects_desired(self) -> bool {
        matches!(self, Cell::At(Step::Desired, _))
    }

    /// Returns `true` if the fault can lose a method or its answer. A device cannot prevent
    /// that if the hub does not deliver the method or does not receive the answer.
    pub(super) fn can_lose(self) -> bool {
        match self {
            Cell::At(_, Effect::HalfOpen(silent)) => silent == HALF_OPEN,
            Cell::At(step, Effect::Lose) => {
                matches!(step, Step::Method | Step::Answer | Step::Probe | Step::ProbeAck)
            }
            Cell::At(Step::Method, Effect::DropBefore) => true,
            // The hub no longer knows which caller waits for which answer.
            Cell::Restart(_) | Cell::HalfOpen => true,
            Cell::At(..) | Cell::Drop | Cell::ExpireToken | Cell::Disconnect(_) => false,
        }
    }

    /// Returns the approximate duration of the longest timeout that the fault causes.
    pub(super) fn waits(self) -> Duration {
        Duration::from_secs(match self {
            // The host retries its request to the hub.
            Cell::At(Step::TwinReport | Step::TwinGet, Effect::Lose)
            | Cell::At(Step::Birth, Effect::Lose | Effect::StaleNonce) => 30,
            _ if self.can_lose() => 5,
            Cell::At(Step::Connect, Effect::Refuse(_)) => 2,
            _ => 0,
        })
    }

    /// Returns the names of the step and the effect in docs/hub.md.
    pub(super) fn names(self) -> (&'static str, String) {
        match self {
            Cell::At(step, effect) => (step_name(step), effect_name(effect)),
            Cell::Drop => ("any moment", "drop".into()),
            Cell::HalfOpen => ("any moment", "half-open".into()),
            Cell::ExpireToken => ("any moment", "expire-token".into()),
            Cell::Disconnect(ReasonCode::SESSION_TAKEN_OVER) => {
                ("any moment", "disconnect 0x8e, as at a take-over".into())
            }
            Cell::Disconnect(reason) => ("any moment", format!("disconnect {:#04x}", reason.0)),
            Cell::Restart(forget) => {
                ("any moment", format!("restart, forgets {forget:?}").to_lowercase())
            }
        }
    }
}

/// Returns `true` if the step is part of connecting and not of a call.
fn is_part_of_connecting(step: Step) -> bool {
    matches!(step, Step::Connect | Step::Subscribe | Step::Birth | Step::TwinGet)
}

pub(in crate::journeys) fn step_name(step: Step) -> &'static str {
    match step {
        Step::Connect => "connect",
        Step::Subscribe => "subscribe",
        Step::Acknowledge => "acknowledge",
        Step::Method => "method",
        Step::Answer => "answer",
        Step::Birth => "birth",
        Step::Probe => "probe",
        Step::ProbeAck => "probe-ack",
        Step::TwinGet => "twin-get",
        Step::TwinReport => "twin-report",
        Step::Desired => "desired",
        Step::CloudToDevice => "cloud-to-device",
        Step::Message => "message",
        Step::Request => "request",
        Step::CertificateRequest => "certificate-request",
        Step::CertificateAnswer => "certificate-answer",
        Step::DpsConnect => "dps-connect",
        Step::DpsSubscribe => "dps-subscribe",
        Step::DpsRegister => "dps-register",
        Step::DpsStatus => "dps-status",
    }
}

pub(in crate::journeys) fn effect_name(effect: Effect) -> String {
    match effect {
        Effect::DropBefore => "drop-before".into(),
        Effect::DropAfter => "drop-after".into(),
        Effect::Lose => "lose".into(),
        Effect::Delay(_) => "delay".into(),
        Effect::Reorder(_) => "reorder".into(),
        Effect::Duplicate => "duplicate".into(),
        Effect::HalfOpen(_) => "half-open".into(),
        Effect::Throttle => "throttle".into(),
        Effect::Conflict => "conflict".into(),
        Effect::ServerError => "server-error".into(),
        Effect::BrokenBody => "broken-body".into(),
        Effect::Assigning => "assigning".into(),
        Effect::Disable => "disable".into(),
        Effect::StaleNonce => "stale-nonce".into(),
        Effect::RejectCsr => "reject-csr".into(),
        Effect::ExpiredChain => "expired-chain".into(),
        Effect::UntrustedChain => "untrusted-chain".into(),
        Effect::Refuse(code) => format!("refuse {}", code as u8),
    }
}
