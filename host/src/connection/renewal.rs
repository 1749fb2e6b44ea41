//! Token renewal, which replaces a connection by one with a fresh token.
//!
//! MQTT 3.1.1 cannot refresh the credentials of an open session, so renewal means
//! reconnecting. The current connection stays in use while the next one is opened, until
//! the hub replaces it on receiving the CONNECT. So callers can reach the device all the
//! time.

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

/// The fraction of a token's lifetime after which it is renewed, and the fraction after
/// which renewal no longer waits for answers in progress. [`RENEW_AT`] is reduced by a
/// random part of [`SPREAD`], so that devices that reconnected together after an outage of
/// the hub do not also renew together.
const RENEW_AT: f64 = 0.8;
const SPREAD: f64 = 0.1;
const RENEW_BY: f64 = 0.95;

/// The first and the longest wait after a failed attempt. The old token may still be valid
/// meanwhile.
const RETRY_BASE: Duration = Duration::from_secs(1);
const RETRY_LONGEST: Duration = Duration::from_secs(60);

pub(super) struct Renewal {
    step: RenewalStep,
    /// The time until which renewal may wait for answers in progress.
    by: Instant,
    backoff: Backoff,
}

enum RenewalStep {
    /// The token cannot be renewed.
    Never,
    Due(Pin<Box<Sleep>>),
    /// Waits until no answer is in progress.
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

    /// Waits until the token has to be renewed, and opens the next connection. If the future
    /// is dropped, the next call continues where it stopped.
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
                    // At the time limit, the token is renewed in any case.
                    timeout_at(self.by, answers.none()).await.ok();
                    let dial = Arc::clone(dial);
                    self.step =
                        RenewalStep::Opening(Box::pin(async move { Wire::open(&dial).await }));
                }
                RenewalStep::Opening(opening) => return opening.await,
            }
        }
    }

    /// Schedules the next attempt after a failed one. Returns the wait until then.
    pub(super) fn failed(&mut self) -> Duration {
        let wait = self.backoff.next();
        self.step = RenewalStep::due(Instant::now() + wait);
        wait
    }

    /// Waits for the attempt in progress and returns its result, or `None` if there is none.
    /// The hub may already have replaced this connection by the next.
    pub(super) async fn finish(&mut self) -> Option<Result<Wire, ConnectionFailure>> {
        match &mut self.step {
            RenewalStep::Opening(opening) => Some(opening.await),
            _ => None,
        }
    }
}
