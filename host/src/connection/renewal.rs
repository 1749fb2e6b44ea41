//! Renewal: replaces a connection by one with a fresh token.
//!
//! MQTT 3.1.1 cannot give a new token to an open session, so renewal means
//! reconnecting. The next connection is made while this one continues, up to the
//! CONNECT on which the hub replaces one by the other: the device is reachable for
//! callers all the time.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until, timeout_at};

use super::failure::ConnectionFailure;
use super::options::Dial;
use super::under_way::Answers;
use super::wire::{TokenTimes, Wire};
use crate::backoff::{Backoff, random_part};

/// The part of a token's life after which it is renewed, and the part after
/// which that no longer waits for answers under way. The first is less by a
/// random part of [`SPREAD`]: devices that came back together after an outage of
/// the hub do not renew together for ever.
const RENEW_AT: f64 = 0.8;
const SPREAD: f64 = 0.1;
const RENEW_BY: f64 = 0.95;

/// The waits after a try that failed; the old token may still hold.
const RETRY_BASE: Duration = Duration::from_secs(1);
const RETRY_LONGEST: Duration = Duration::from_secs(60);

pub(super) struct Renewal {
    step: RenewalStep,
    /// Later than this, answers under way are not waited for.
    by: Instant,
    backoff: Backoff,
}

enum RenewalStep {
    /// The token cannot be renewed.
    Never,
    Due(Pin<Box<Sleep>>),
    /// Waits for answers under way.
    Idle,
    Opening(Opening),
}

impl RenewalStep {
    fn due(at: Instant) -> RenewalStep {
        RenewalStep::Due(Box::pin(sleep_until(at)))
    }
}

type Opening = Pin<Box<dyn Future<Output = Result<Wire, ConnectionFailure>> + Send>>;

impl Renewal {
    pub(super) fn of(token: Option<TokenTimes>) -> Renewal {
        let backoff = Backoff::new(RETRY_BASE, RETRY_LONGEST);
        let Some(TokenTimes { made, lifetime }) = token else {
            return Renewal { step: RenewalStep::Never, by: Instant::now(), backoff };
        };
        let at = made + lifetime.mul_f64(RENEW_AT - SPREAD * random_part());
        Renewal { step: RenewalStep::due(at), by: made + lifetime.mul_f64(RENEW_BY), backoff }
    }

    /// The next connection, when it is time and there is one. Dropped, it goes on
    /// from where it was.
    pub(super) async fn next(
        &mut self,
        dial: &Arc<Dial>,
        answers: &Answers,
    ) -> Result<Wire, ConnectionFailure> {
        loop {
            match &mut self.step {
                RenewalStep::Never => pending().await,
                RenewalStep::Due(at) => {
                    at.await;
                    self.step = RenewalStep::Idle;
                }
                RenewalStep::Idle => {
                    // Past the time it is done all the same.
                    timeout_at(self.by, answers.none()).await.ok();
                    let dial = Arc::clone(dial);
                    self.step =
                        RenewalStep::Opening(Box::pin(async move { Wire::open(&dial).await }));
                }
                RenewalStep::Opening(opening) => return opening.await,
            }
        }
    }

    /// Notes that an attempt has failed. Returns the wait before the next.
    pub(super) fn failed(&mut self) -> Duration {
        let wait = self.backoff.next();
        self.step = RenewalStep::due(Instant::now() + wait);
        wait
    }

    /// Waits for the attempt in progress, if there is one: the hub may already have
    /// replaced this connection by the next.
    pub(super) async fn finish(&mut self) -> Option<Result<Wire, ConnectionFailure>> {
        match &mut self.step {
            RenewalStep::Opening(opening) => Some(opening.await),
            _ => None,
        }
    }
}
