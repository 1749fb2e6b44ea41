//! Connects, and comes back after a loss, waiting longer each time.

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

/// The wait after a loss begins here, and after a refusal here.
const LOST_BASE: Duration = Duration::from_millis(100);
const REFUSED_BASE: Duration = Duration::from_secs(2);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

/// A connection that lasted this long was a good one: the next wait is a short one
/// again, also where a network cuts every few seconds.
const STABLE: Duration = Duration::from_secs(5);

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

    /// Until the host closes the connection for good.
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
            self.tell(&failure, wait);
            tokio::select! {
                () = sleep(wait) => {}
                () = closing.cancelled() => return,
            }
        }
    }

    /// A connection, and those that renew its token, to the end of the last.
    /// `None`: the host has closed it.
    async fn connected(&mut self, mut wire: Wire) -> Option<ConnectionFailure> {
        // A renewal does not start over: the time before it counts as well.
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

    fn tell(&self, failure: &ConnectionFailure, next_try: Duration) {
        let (hub, device) = (&self.dial, &self.dial.user_name().device);
        let ConnectionFailure { what, hint, kind } = failure;
        // Only a person can change a no; the network comes back by itself.
        if *kind == FailureKind::Refused {
            error!(%hub, %device, ?next_try, hint, "{what}");
        } else {
            warn!(%hub, %device, ?next_try, hint, "no connection: {what}");
        }
    }
}
