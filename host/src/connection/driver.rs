//! The loop that connects, and reconnects with exponential back-off.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{debug, error, info, warn};

use super::failure::{ConnectionFailure, FailureKind};
use super::options::Dial;
use super::provisioning::REGISTRATION_WAIT;
use super::rivals::Rivals;
use super::session::{Ended, Session, Suspicion};
use super::wire::{CONNECT_WAIT, Wire};
use crate::backoff::Backoff;

/// The first wait after a lost connection.
const LOST_BASE: Duration = Duration::from_millis(100);

/// The first and the longest wait while a packet is suspected of ending connections. They are
/// short, because no call is answered until that packet is set aside.
const SUSPICIOUS_BASE: Duration = Duration::from_millis(25);
const LONGEST_SUSPICIOUS_WAIT: Duration = Duration::from_millis(100);

/// The number of these short waits before a stable connection, which is enough to set aside two
/// packets. A plugin that sends such packets without end must not load the hub.
const MAX_SUSPICIOUS_WAITS: u32 = 10;

/// The first wait after a refusal.
const REFUSED_BASE: Duration = Duration::from_secs(2);

/// The longest wait after either.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// The duration after which a connection counts as stable and resets the waits. It is short, so
/// that a network that cuts connections every few seconds does not lengthen the waits.
const STABLE: Duration = Duration::from_secs(5);

/// The task that keeps the host connected.
pub(super) struct Driver {
    dial: Arc<Dial>,
    session: Session,
    retry: Retry,
}

/// The assessment of failures, and the waits before the next connection.
struct Retry {
    after_loss: Backoff,
    after_refusal: Backoff,
    suspicious: Backoff,
    /// The number of short waits since the last stable connection.
    short: u32,
    rivals: Rivals,
}

impl Driver {
    pub(super) fn new(dial: Dial, session: Session) -> Driver {
        Driver { dial: Arc::new(dial), session, retry: Retry::new() }
    }

    /// Runs until the host closes the connection for good.
    pub(super) async fn run(mut self) {
        let (closing, pulse) = (self.session.closing.clone(), self.session.pulse.clone());
        loop {
            pulse.during(CONNECT_WAIT, self.follow_assignment()).await;
            let opened = tokio::select! {
                opened = pulse.during(CONNECT_WAIT, Wire::open(&self.dial)) => opened,
                () = closing.cancelled() => return,
            };
            let failure = match opened {
                Ok(wire) => match self.connected(wire).await {
                    Some(failure) => failure,
                    None => return,
                },
                Err(failure) => failure,
            };
            let wait = self.retry.next(failure.kind);
            self.session.history.failed(&failure.message, failure.kind);
            self.log(&failure, wait);
            if let Some(provisioning) = self.dial.provisioning() {
                if failure.kind == FailureKind::Identity && provisioning.roll_back().await {
                    continue;
                }
                let registering = provisioning.register_again(failure.kind);
                tokio::select! {
                    assignment = pulse.during(REGISTRATION_WAIT, registering) => {
                        if assignment.is_some() {
                            continue;
                        }
                    }
                    () = closing.cancelled() => return,
                }
            }
            tokio::select! {
                () = pulse.during(wait, sleep(wait)) => {}
                () = closing.cancelled() => return,
            }
        }
    }

    /// Turns to the hub of the newest assignment.
    async fn follow_assignment(&mut self) {
        let Some(provisioning) = self.dial.provisioning() else { return };
        let Some(assignment) = provisioning.newest().await else { return };
        let identity = self.dial.identity();
        if assignment.device != identity.device {
            let (device, earlier) = (&assignment.device, &identity.device);
            error!(%device, %earlier, "assigned another device id, which needs a restart");
            provisioning.rename();
        } else if assignment.hub != identity.host
            || provisioning.profile(&assignment) != self.dial.profile()
        {
            match Dial::assigned(provisioning, &assignment) {
                Ok(dial) => {
                    let dial = dial.with_admission(self.dial.admission());
                    info!(
                        hub = %dial,
                        profile = %dial.profile(),
                        earlier = %self.dial,
                        "assigned to another hub"
                    );
                    self.session.history.moved(dial.to_string());
                    self.dial = Arc::new(dial);
                }
                Err(error) => error!("assignment not usable: {error}"),
            }
        }
    }

    /// Runs a connection and its replacements with renewed tokens. Returns the failure that
    /// ended the last one, or `None` if the host closed it.
    async fn connected(&mut self, mut wire: Wire) -> Option<ConnectionFailure> {
        // A renewal continues the connection, so the time before it counts as well.
        let since = Instant::now();
        if let Some(provisioning) = self.dial.provisioning() {
            provisioning.connected();
        }
        loop {
            debug!(hub = %self.dial, session_present = wire.session_present, "signed in");
            let mut failure = match self.session.run(wire, &self.dial).await {
                Ended::Closed => return None,
                Ended::Renewed(next) => {
                    wire = next;
                    continue;
                }
                Ended::Lost(failure) => failure,
            };
            let suspicion = std::mem::take(&mut self.session.suspicion);
            self.retry.ended(&mut failure, suspicion, since.elapsed());
            return Some(failure);
        }
    }

    /// Logs a failure and the wait before the next attempt.
    fn log(&self, failure: &ConnectionFailure, next_try: Duration) {
        let (hub, device) = (&self.dial, self.dial.user_name().client_id());
        let ConnectionFailure { message, hint, kind } = failure;
        // A refusal needs an operator, while a network recovers by itself.
        if matches!(kind, FailureKind::Refused | FailureKind::Identity) {
            error!(%hub, %device, ?next_try, hint, "{message}");
        } else {
            warn!(%hub, %device, ?next_try, hint, "no connection: {message}");
        }
    }
}

impl Retry {
    fn new() -> Retry {
        Retry {
            after_loss: Backoff::new(LOST_BASE, LONGEST_WAIT),
            after_refusal: Backoff::new(REFUSED_BASE, LONGEST_WAIT),
            suspicious: Backoff::new(SUSPICIOUS_BASE, LONGEST_SUSPICIOUS_WAIT),
            short: 0,
            rivals: Rivals::default(),
        }
    }

    /// Assesses the failure that ended a connection after the duration `lasted`. Another client
    /// is suspected only if no packet was in flight, which is the likelier cause.
    fn ended(&mut self, failure: &mut ConnectionFailure, suspicion: Suspicion, lasted: Duration) {
        if suspicion != Suspicion::None && failure.may_be_deliberate() {
            failure.kind = FailureKind::Suspicious;
        }
        // The cause of the losses has gone with the packet, so nothing is gained by a long wait.
        if suspicion == Suspicion::SetAside {
            self.after_loss.reset();
            self.suspicious.reset();
        }
        if lasted >= STABLE {
            self.after_loss.reset();
            self.after_refusal.reset();
            self.suspicious.reset();
            self.short = 0;
        }
        if failure.kind == FailureKind::Closed
            && let Some(times) = self.rivals.closed(Instant::now(), lasted)
        {
            failure.suspect_a_rival(times);
        }
    }

    /// Returns the wait after a failure.
    fn next(&mut self, kind: FailureKind) -> Duration {
        match kind {
            FailureKind::Suspicious if self.short < MAX_SUSPICIOUS_WAITS => {
                self.short += 1;
                self.suspicious.next()
            }
            FailureKind::Lost
            | FailureKind::Closed
            | FailureKind::Cut
            | FailureKind::Suspicious => self.after_loss.next(),
            FailureKind::Busy | FailureKind::Refused | FailureKind::Identity => {
                self.after_refusal.next()
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connection::window::MAX_CLOSINGS;

    const SECOND: Duration = Duration::from_secs(1);

    /// Returns the failure of a connection that the hub closed after a second.
    fn closed(retry: &mut Retry, suspicion: Suspicion) -> ConnectionFailure {
        let mut failure = ConnectionFailure::closed("the hub closed the connection");
        retry.ended(&mut failure, suspicion, SECOND);
        failure
    }

    #[test]
    fn another_client_is_suspected_only_without_a_packet_in_flight() {
        let mut retry = Retry::new();
        for _ in 0..2 * MAX_CLOSINGS {
            assert_eq!(closed(&mut retry, Suspicion::InFlight).hint, None);
        }
        closed(&mut retry, Suspicion::None);
        closed(&mut retry, Suspicion::None);
        let failure = closed(&mut retry, Suspicion::None);
        assert!(failure.hint.unwrap().starts_with("likely another client connects"));
        assert!(failure.message.ends_with(", 3 times in a row shortly after signing in"));
    }

    #[test]
    fn the_waits_until_two_packets_are_set_aside_add_up_to_less_than_a_second() {
        let (mut retry, mut waited) = (Retry::new(), Duration::ZERO);
        for _ in 0..2 {
            for closing in 1..=MAX_CLOSINGS {
                let last = closing == MAX_CLOSINGS;
                let suspicion = if last { Suspicion::SetAside } else { Suspicion::InFlight };
                let kind = closed(&mut retry, suspicion).kind;
                let wait = retry.next(kind);
                assert!(wait <= LONGEST_SUSPICIOUS_WAIT);
                waited += wait;
            }
        }
        assert!(waited < SECOND, "{waited:?}");
    }

    #[test]
    fn packets_that_end_connections_without_end_are_sent_with_a_back_off() {
        let mut retry = Retry::new();
        for _ in 0..MAX_SUSPICIOUS_WAITS {
            retry.next(FailureKind::Suspicious);
        }
        let waits: Duration = (0..20).map(|_| retry.next(FailureKind::Suspicious)).sum();
        assert!(waits > 10 * SECOND, "{waits:?}");
        let mut failure = ConnectionFailure::new("the connection was cut");
        retry.ended(&mut failure, Suspicion::None, STABLE);
        assert!(retry.next(FailureKind::Suspicious) <= SUSPICIOUS_BASE);
    }
}
