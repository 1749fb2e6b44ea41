//! Interpretation of effects: the handling of one packet or request.
//!
//! [`Effect::handling`] is the only place that distinguishes the effects. The
//! rest of the hub acts on the fields of a [`Handling`] and does the same with
//! and without a fault, so a new effect changes one `match`.

use std::time::Duration;

use super::fault::{Effect, Refused, Step};

/// Handling of one packet or request: regular, or changed by a fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Handling {
    /// Time for which the packet is held back.
    pub(crate) delay: Duration,
    /// `true` if other packets may overtake the delayed one.
    pub(crate) overtaken: bool,
    /// Copies that arrive; with 0 the packet is lost.
    pub(crate) copies: u8,
    /// Answer in place of the regular one.
    pub(crate) rejection: Option<Rejection>,
    /// State of the connection after the packet.
    pub(crate) connection: ConnectionFate,
}

/// Answer of a fault in place of the regular one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rejection {
    /// 429, too many requests.
    Throttled,
    /// A CONNACK with this return code.
    ConnAck(Refused),
}

/// State of a connection after a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ConnectionFate {
    Kept,
    Dropped,
    /// Neither read nor written for this time, then dropped.
    Silenced(Duration),
}

impl Handling {
    /// Handling without a fault.
    pub(crate) const REGULAR: Handling = Handling {
        delay: Duration::ZERO,
        overtaken: false,
        copies: 1,
        rejection: None,
        connection: ConnectionFate::Kept,
    };

    /// Returns whether the connection ends right after the packet.
    pub(crate) fn drops_connection(&self) -> bool {
        self.connection == ConnectionFate::Dropped
    }

    /// Returns whether the answer is 429 in place of the regular one.
    pub(crate) fn is_throttled(&self) -> bool {
        self.rejection == Some(Rejection::Throttled)
    }

    /// Returns whether packets or requests of `step` can be handled in this way.
    pub(super) fn is_possible_at(&self, step: Step) -> bool {
        let sent_by_hub =
            !matches!(step, Step::Connect | Step::Answer | Step::Message | Step::Request);
        let rejection_fits = match self.rejection {
            None => true,
            Some(Rejection::ConnAck(_)) => step == Step::Connect,
            Some(Rejection::Throttled) => {
                matches!(step, Step::TwinGet | Step::TwinReport | Step::Request)
            }
        };
        let copies_fit = match self.copies {
            // A CONNECT or a request without an answer would wait for ever.
            0 if self.connection == ConnectionFate::Kept => {
                !matches!(step, Step::Connect | Step::Request)
            }
            0 | 1 => true,
            _ => sent_by_hub,
        };
        // A request of the REST API has no connection to a device.
        let connection_fits = self.connection == ConnectionFate::Kept || step != Step::Request;
        rejection_fits && copies_fit && connection_fits && (sent_by_hub || !self.overtaken)
    }
}

impl Effect {
    /// Returns the handling of a packet or request that this effect happens to.
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
            Effect::Refuse(code) => {
                Handling { rejection: Some(Rejection::ConnAck(code)), ..regular }
            }
        }
    }
}
