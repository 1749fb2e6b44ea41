//! Renewal of the certificate that was issued to the device.
//!
//! The hub issues the next certificate over the session. If there is no session, or the hub
//! does not issue one, the device registers again. The connection is then replaced with one that
//! presents the new certificate: see the module `connection`.

mod exchange;
mod schedule;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tracing::{error, info, warn};

use crate::connection::{
    ChainRefusal, CredentialAnswer, IssuedCertificate, LiveCertificate, Outbox, Provisioning,
    ProvisioningFailure,
};
use crate::ids::IdSequence;
use crate::issued::{IssuedError, SigningRequest};
use exchange::SessionRefusal;
use schedule::Schedule;

/// Longest wait before the clock is read again, which can be set at any time.
const CHECK_INTERVAL: Duration = Duration::from_secs(30);

/// Number of failed attempts over the session after which the device registers again.
const MAX_SESSION_FAILURES: u32 = 3;

/// Task that renews the issued certificate of a device.
pub(crate) struct CertificateRenewal {
    pub(crate) provisioning: Arc<Provisioning>,
    pub(crate) issued: Arc<IssuedCertificate>,
    pub(crate) outbox: Outbox,
    pub(crate) answers: watch::Receiver<Option<CredentialAnswer>>,
    /// Id of the device at the hub.
    pub(crate) device: String,
}

/// Reason why a certificate is not renewed.
#[derive(Debug, thiserror::Error)]
enum RenewalFailure {
    #[error(transparent)]
    Request(#[from] IssuedError),
    #[error(transparent)]
    Session(#[from] SessionRefusal),
    #[error(transparent)]
    Chain(#[from] ChainRefusal),
    #[error(transparent)]
    Registration(#[from] ProvisioningFailure),
}

/// State of the renewals of one device.
#[derive(Default)]
struct RenewalProgress {
    /// Request that the hub has not refused; it is repeated after a lost answer.
    request: Option<Arc<SigningRequest>>,
    session_failures: u32,
}

impl CertificateRenewal {
    /// Renews the certificate each time it is due, until the future is dropped.
    pub(crate) async fn run(mut self) {
        let (ids, mut progress) = (IdSequence::new(), RenewalProgress::default());
        // A certificate that the hub refuses is followed by the earlier one, which is due.
        let mut not_before = Instant::now();
        loop {
            let Some(live) = self.issued.live() else {
                sleep(CHECK_INTERVAL).await;
                continue;
            };
            let schedule = Schedule::of(&live.current());
            until_due(&live, schedule).await;
            sleep_until(not_before).await;
            not_before = Instant::now() + schedule.retry(None);
            let failure = match self.renew(&ids, &mut progress, schedule).await {
                Ok(()) => {
                    progress = RenewalProgress::default();
                    continue;
                }
                Err(failure) => failure,
            };
            let next_try = schedule.retry(failure.retry_after());
            let (hint, reason) = (failure.hint(), program::chain(&failure).to_string());
            let valid_until = live.current().valid_until();
            if failure.needs_operator() {
                error!(%valid_until, ?next_try, hint, "certificate not renewed: {reason}");
            } else {
                warn!(%valid_until, ?next_try, hint, "certificate not renewed yet: {reason}");
            }
            not_before = Instant::now() + next_try;
        }
    }

    async fn renew(
        &mut self,
        ids: &IdSequence,
        progress: &mut RenewalProgress,
        schedule: Schedule,
    ) -> Result<(), RenewalFailure> {
        let over_session = self.outbox.is_online() && self.issued.renews_over_session();
        if !over_session || progress.session_failures >= MAX_SESSION_FAILURES {
            progress.session_failures = 0;
            return Ok(self.provisioning.renew().await?);
        }
        let request = match &progress.request {
            Some(request) => Arc::clone(request),
            None => Arc::new(self.issued.request().await?),
        };
        progress.request = Some(Arc::clone(&request));
        match self.over_session(ids, &request, schedule.answer_wait()).await {
            Ok(chain) => {
                progress.request = None;
                progress.session_failures += 1;
                Ok(self.issued.store(request, &chain).await?)
            }
            Err(SessionRefusal::NotIssued(reason)) => {
                info!("the hub issues no certificate, so the device registers again: {reason}");
                Ok(self.provisioning.renew().await?)
            }
            Err(refusal) => {
                if matches!(refusal, SessionRefusal::Request(_)) {
                    progress.request = None;
                }
                progress.session_failures += 1;
                Err(refusal.into())
            }
        }
    }
}

/// Waits until the certificate is due, or until the next one is.
async fn until_due(live: &Arc<LiveCertificate>, mut schedule: Schedule) {
    let mut number = live.current().number();
    while let Some(left) = schedule.left(jiff::Timestamp::now()) {
        // The files can also be changed by `behaviour-host identity renew`.
        timeout(left.min(CHECK_INTERVAL), live.newer_than(number)).await.ok();
        let current = live.current();
        if current.number() != number {
            (number, schedule) = (current.number(), Schedule::of(&current));
        }
    }
}

impl RenewalFailure {
    fn hint(&self) -> Option<&'static str> {
        match self {
            RenewalFailure::Request(error) => Some(error.hint()),
            RenewalFailure::Chain(refusal) => Some(refusal.hint()),
            RenewalFailure::Registration(failure) => failure.hint(),
            RenewalFailure::Session(_) => None,
        }
    }

    /// Returns `true` if the next attempt will most likely fail as well.
    fn needs_operator(&self) -> bool {
        match self {
            RenewalFailure::Request(_) | RenewalFailure::Chain(_) => true,
            RenewalFailure::Registration(failure) => failure.is_refusal(),
            RenewalFailure::Session(_) => false,
        }
    }

    fn retry_after(&self) -> Option<Duration> {
        match self {
            RenewalFailure::Session(SessionRefusal::Busy { retry_after, .. }) => *retry_after,
            RenewalFailure::Registration(failure) => failure.retry_after(),
            _ => None,
        }
    }
}
