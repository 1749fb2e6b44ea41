//! The loop that connects, and reconnects with exponential back-off.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};
use tracing::{debug, error, warn};

use super::failure::{ConnectionFailure, FailureKind};
use super::options::Dial;
use super::rivals::Rivals;
use super::session::{Ended, Session};
use super::wire::Wire;
use crate::backoff::Backoff;

/// The first wait after a lost connection.
const LOST_BASE: Duration = Duration::from_millis(100);

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
    after_loss: Backoff,
    after_refusal: Backoff,
    rivals: Rivals,
}

impl Driver {
    pub(super) fn new(dial: Dial, session: Session) -> Driver {
        Driver {
            dial: Arc::new(dial),
            session,
            after_loss: Backoff::new(LOST_BASE, LONGEST_WAIT),
            after_refusal: Backoff::new(REFUSED_BASE, LONGEST_WAIT),
            rivals: Rivals::default(),
        }
    }

    /// Runs until the host closes the connection for good.
    pub(super) async fn run(mut self) {
        let closing = self.session.closing.clone();
        loop {
            let opened = tokio::select! {
                opened = Wire::open(&self.dial) => opened,
                () = closing.cancelled() => return,
            };
            let failure = match opened {
                Ok(wire) => match self.connected(wire).await {
                    Some(failure) => failure,
                    None => return,
                },
                Err(failure) => failure,
            };
            let backoff = match failure.kind {
                FailureKind::Lost | FailureKind::Closed | FailureKind::Cut => &mut self.after_loss,
                FailureKind::Busy | FailureKind::Refused => &mut self.after_refusal,
            };
            let wait = backoff.next();
            self.session.history.failed(&failure.message);
            self.log(&failure, wait);
            tokio::select! {
                () = sleep(wait) => {}
                () = closing.cancelled() => return,
            }
        }
    }

    /// Runs a connection and its replacements with renewed tokens. Returns the failure that
    /// ended the last one, or `None` if the host closed it.
    async fn connected(&mut self, mut wire: Wire) -> Option<ConnectionFailure> {
        // A renewal continues the connection, so the time before it counts as well.
        let since = Instant::now();
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
            let lasted = since.elapsed();
            // The cause of the losses has gone with the packet, so nothing is gained by a wait.
            if std::mem::take(&mut self.session.has_set_aside) {
                self.after_loss.reset();
            }
            if lasted >= STABLE {
                self.after_loss.reset();
                self.after_refusal.reset();
            }
            if failure.kind == FailureKind::Closed
                && let Some(times) = self.rivals.closed(Instant::now(), lasted)
            {
                failure.suspect_a_rival(times);
            }
            return Some(failure);
        }
    }

    /// Logs a failure and the wait before the next attempt.
    fn log(&self, failure: &ConnectionFailure, next_try: Duration) {
        let (hub, device) = (&self.dial, self.dial.user_name().client_id());
        let ConnectionFailure { message, hint, kind } = failure;
        // A refusal needs an operator, while a network recovers by itself.
        if *kind == FailureKind::Refused {
            error!(%hub, device, ?next_try, hint, "{message}");
        } else {
            warn!(%hub, device, ?next_try, hint, "no connection: {message}");
        }
    }
}
