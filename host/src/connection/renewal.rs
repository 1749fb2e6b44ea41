//! Renewal, which replaces a connection with one that has a fresh token or another certificate.
//!
//! MQTT 3.1.1 cannot refresh the credentials of an open session, so renewal means
//! reconnecting. The current connection stays in use while the next one is opened, until
//! the hub replaces it on receiving the CONNECT. The device is therefore reachable without
//! interruption.

use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until, timeout_at};
use tracing::{info, warn};

use super::answers::Answers;
use super::failure::{ConnectionFailure, FailureKind};
use super::options::Dial;
use super::provisioning::REGISTRATION_WAIT;
use super::wire::{CONNECT_WAIT, TokenTimes, Wire};
use crate::backoff::{Backoff, random_part};

/// The fraction of a token's lifetime after which it is renewed, reduced by a random part of
/// [`SPREAD`].
const RENEW_AT: f64 = 0.8;

/// The range of the random part. Without it, devices that reconnected together after an
/// outage of the hub would also renew together.
const SPREAD: f64 = 0.1;

/// The fraction of a token's lifetime after which its renewal no longer waits for answers in
/// progress.
const RENEW_BY: f64 = 0.95;

/// The longest wait for answers in progress after the certificate has changed.
const CERTIFICATE_WAIT: Duration = Duration::from_secs(60);

/// The time limit of an attempt: a connection, a registration, and another connection.
pub(super) const ATTEMPT_WAIT: Duration =
    CONNECT_WAIT.saturating_mul(2).saturating_add(REGISTRATION_WAIT);

/// The first wait after a failed attempt.
const RETRY_BASE: Duration = Duration::from_secs(1);

/// The longest wait after a failed attempt.
const RETRY_LONGEST: Duration = Duration::from_secs(60);

/// The renewal of one connection's token or certificate.
pub(super) struct Renewal {
    step: RenewalStep,
    /// The time until which the renewal can wait for answers in progress.
    deadline: Instant,
    /// The number and the thumbprint of the connection's certificate.
    certificate: u64,
    thumbprint: Option<String>,
    backoff: Backoff,
}

enum RenewalStep {
    /// No renewal: the token has no lifetime, and there is no certificate.
    Never,
    /// The wait until the certificate has changed.
    Changed,
    /// The wait until the token is due for renewal.
    Due(Pin<Box<Sleep>>),
    /// The wait until no answer is in progress.
    Idle,
    /// The attempt to open the next connection.
    Opening(Opening),
}

impl RenewalStep {
    /// Returns the step that waits until `at`.
    fn due(at: Instant) -> RenewalStep {
        RenewalStep::Due(Box::pin(sleep_until(at)))
    }
}

type Opening = Pin<Box<dyn Future<Output = Result<Wire, ConnectionFailure>> + Send>>;

impl Renewal {
    /// Schedules the renewal of a connection's credential.
    pub(super) fn new(wire: &Wire) -> Renewal {
        let backoff = Backoff::new(RETRY_BASE, RETRY_LONGEST);
        let certificate = wire.certificate.as_ref().map(|it| it.number);
        let thumbprint = wire.certificate.as_ref().map(|it| it.thumbprint.clone());
        let Some(TokenTimes { issued, lifetime }) = wire.token else {
            let step = certificate.map_or(RenewalStep::Never, |_| RenewalStep::Changed);
            let certificate = certificate.unwrap_or_default();
            return Renewal { step, deadline: Instant::now(), certificate, thumbprint, backoff };
        };
        let at = issued + lifetime.mul_f64(RENEW_AT - SPREAD * random_part());
        let deadline = issued + lifetime.mul_f64(RENEW_BY);
        Renewal { step: RenewalStep::due(at), deadline, certificate: 0, thumbprint, backoff }
    }

    /// Waits until the token has to be renewed or the certificate has changed, then opens the next
    /// connection. If the future is dropped, the next call continues from the same step.
    pub(super) async fn next(
        &mut self,
        dial: &Arc<Dial>,
        answers: &Answers,
    ) -> Result<Wire, ConnectionFailure> {
        loop {
            match &mut self.step {
                RenewalStep::Never => pending().await,
                RenewalStep::Changed => {
                    match dial.certificate() {
                        Some(live) => live.newer_than(self.certificate).await,
                        None => pending().await,
                    }
                    self.deadline = Instant::now() + CERTIFICATE_WAIT;
                    self.step = RenewalStep::Idle;
                }
                RenewalStep::Due(at) => {
                    at.await;
                    self.step = RenewalStep::Idle;
                }
                RenewalStep::Idle => {
                    // After the deadline, the token is renewed despite answers in progress.
                    timeout_at(self.deadline, answers.none()).await.ok();
                    let dial = Arc::clone(dial);
                    self.step = RenewalStep::Opening(Box::pin(async move { open(&dial).await }));
                }
                RenewalStep::Opening(opening) => return opening.await,
            }
        }
    }

    /// Schedules the next attempt after a failed one, and logs the failure.
    pub(super) fn failed(&mut self, dial: &Dial, failure: &ConnectionFailure) {
        let next_try = self.backoff.next();
        self.step = RenewalStep::due(Instant::now() + next_try);
        // The hub has refused a new certificate, and this connection has the earlier one.
        if let Some(current) = dial.certificate().map(|live| live.current())
            && self.thumbprint.as_ref() == Some(&current.thumbprint)
        {
            (self.certificate, self.step) = (current.number, RenewalStep::Changed);
        }
        let ConnectionFailure { message, hint, .. } = failure;
        match dial.certificate() {
            Some(_) => {
                warn!(hub = %dial, ?next_try, hint, "certificate not renewed yet: {message}");
            }
            None => warn!(hub = %dial, ?next_try, hint, "token not renewed yet: {message}"),
        }
    }

    /// Waits for the attempt in progress and returns its result. Returns `None` if there is no
    /// attempt. The hub may already have replaced this connection with the next one.
    pub(super) async fn finish(&mut self) -> Option<Result<Wire, ConnectionFailure>> {
        match &mut self.step {
            RenewalStep::Opening(opening) => Some(opening.await),
            _ => None,
        }
    }
}

/// Opens the next connection. A certificate that the hub refuses is registered first, since the
/// Device Provisioning Service registers devices with the thumbprints of their certificates.
async fn open(dial: &Dial) -> Result<Wire, ConnectionFailure> {
    let failure = match Wire::open(dial).await {
        Err(failure) if failure.kind == FailureKind::Identity => failure,
        opened => return opened,
    };
    let (Some(provisioning), Some(_)) = (dial.provisioning(), dial.certificate()) else {
        return Err(failure);
    };
    if provisioning.roll_back().await {
        return Err(failure);
    }
    match provisioning.register_again(failure.kind).await {
        Some(assignment) if assignment.hub == dial.identity().host => Wire::open(dial).await,
        // The driver turns to another hub after this connection.
        _ => Err(failure),
    }
}

/// Logs that a connection with a fresh token or another certificate has replaced the previous
/// one.
pub(super) fn log_success(dial: &Dial) {
    match dial.certificate() {
        Some(_) => info!(hub = %dial, "certificate renewed"),
        None => info!(hub = %dial, "token renewed"),
    }
}
