//! The cells of the matrix: a fault, the step at which it happens, and the promise.

use std::time::Duration;

use hub::{Effect, Fault, Forget, Refused, Step};
use rig::Running;

/// The delay of a late packet, and the downtime of a restarting hub.
const LATE: Duration = Duration::from_millis(200);

/// The duration of a silence. It is longer than the host's keep-alive, so that the
/// host has to notice.
const SILENT: Duration = Duration::from_secs(600);

/// One fault.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Cell {
    /// At a step of the protocol.
    At(Step, Effect),
    /// A dropped connection, at no particular step. The same holds for all below.
    Drop,
    HalfOpen,
    ExpireToken,
    Restart(Forget),
}

impl Cell {
    pub(super) fn all() -> Vec<Cell> {
        use Effect::{Delay, DropAfter, DropBefore, Duplicate, HalfOpen, Lose, Reorder, Throttle};
        let refusals = [
            Refused::Protocol,
            Refused::ClientId,
            Refused::Unavailable,
            Refused::Password,
            Refused::NotAuthorized,
        ];
        let connect = [DropBefore, DropAfter, Delay(LATE), HalfOpen(LATE)];
        let outward =
            [DropBefore, DropAfter, Lose, Delay(LATE), Reorder(LATE), Duplicate, HalfOpen(SILENT)];
        let inward = [DropBefore, DropAfter, Delay(LATE), HalfOpen(SILENT)];
        let mut cells: Vec<Cell> = Vec::new();
        let mut at = |step, effects: &[Effect]| {
            cells.extend(effects.iter().map(|effect| Cell::At(step, *effect)));
        };
        at(Step::Connect, &connect);
        at(Step::Connect, &refusals.map(Effect::Refuse));
        at(Step::Subscribe, &outward);
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
        at(Step::Request, &[Delay(LATE), Throttle]);
        cells.extend([Cell::Drop, Cell::HalfOpen, Cell::ExpireToken]);
        let forgets = [Forget::Nothing, Forget::Sessions, Forget::Twins];
        cells.extend(forgets.map(Cell::Restart));
        cells
    }

    /// Injects the fault, now or at the next occurrence of its step. Returns how often
    /// it will happen at a step.
    pub(super) fn begin(self, rig: &Running) -> u64 {
        let (hub, device) = (rig.hub(), &rig.service.device);
        match self {
            Cell::At(step, effect) => {
                // Each loss costs a time-out.
                let slow = self.may_lose() || effect == Effect::Lose;
                let times = if slow || is_of_connecting(step) { 1 } else { 3 };
                hub.faults().set(Fault::new(step, effect).of(device).times(times)).unwrap();
                if is_of_connecting(step) {
                    assert!(hub.drop_connection(device));
                }
                return times.into();
            }
            Cell::Drop => {
                assert!(hub.drop_connection(device));
                return 0;
            }
            Cell::HalfOpen => {
                assert!(hub.silence_connection(device, SILENT));
                return 0;
            }
            Cell::ExpireToken => assert!(hub.expire_token(device)),
            Cell::Restart(forget) => hub.restart(LATE, forget).unwrap(),
        }
        1
    }

    /// Returns whether the fault concerns changes of desired properties.
    pub(super) fn is_of_desired(self) -> bool {
        matches!(self, Cell::At(Step::Desired, _))
    }

    /// Returns whether the fault may lose a method or its answer. If the hub does not
    /// deliver the one or does not receive the other, no device can prevent that.
    pub(super) fn may_lose(self) -> bool {
        match self {
            Cell::At(_, Effect::HalfOpen(silent)) => silent == SILENT,
            Cell::At(step, Effect::Lose) => matches!(step, Step::Method | Step::Answer),
            Cell::At(Step::Method, Effect::DropBefore) => true,
            // The hub has forgotten which caller waits for which answer.
            Cell::Restart(_) | Cell::HalfOpen => true,
            Cell::At(..) | Cell::Drop | Cell::ExpireToken => false,
        }
    }

    /// Returns the longest time-out that the fault causes, approximately.
    pub(super) fn waits(self) -> Duration {
        Duration::from_secs(match self {
            // The host repeats its request to the hub.
            Cell::At(Step::TwinReport | Step::TwinGet, Effect::Lose) => 30,
            _ if self.may_lose() => 5,
            Cell::At(Step::Connect, Effect::Refuse(_)) => 2,
            _ => 0,
        })
    }

    /// Returns step and effect as docs/hub.md names them.
    pub(super) fn names(self) -> (&'static str, String) {
        match self {
            Cell::At(step, effect) => (name_of(step), word(effect)),
            Cell::Drop => ("any moment", "drop".into()),
            Cell::HalfOpen => ("any moment", "half-open".into()),
            Cell::ExpireToken => ("any moment", "expire-token".into()),
            Cell::Restart(forget) => {
                ("any moment", format!("restart, forgets {forget:?}").to_lowercase())
            }
        }
    }
}

/// Returns whether the step is part of a connection, not of a call.
fn is_of_connecting(step: Step) -> bool {
    matches!(step, Step::Connect | Step::Subscribe | Step::TwinGet)
}

fn name_of(step: Step) -> &'static str {
    match step {
        Step::Connect => "connect",
        Step::Subscribe => "subscribe",
        Step::Acknowledge => "acknowledge",
        Step::Method => "method",
        Step::Answer => "answer",
        Step::TwinGet => "twin-get",
        Step::TwinReport => "twin-report",
        Step::Desired => "desired",
        Step::Message => "message",
        Step::Request => "request",
    }
}

fn word(effect: Effect) -> String {
    match effect {
        Effect::DropBefore => "drop-before".into(),
        Effect::DropAfter => "drop-after".into(),
        Effect::Lose => "lose".into(),
        Effect::Delay(_) => "delay".into(),
        Effect::Reorder(_) => "reorder".into(),
        Effect::Duplicate => "duplicate".into(),
        Effect::HalfOpen(_) => "half-open".into(),
        Effect::Throttle => "throttle".into(),
        Effect::Refuse(code) => format!("refuse {}", code as u8),
    }
}
