//! The certificate that was issued to the device, as connections use it.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use protocol::credentials::decode_chain;
use protocol::provisioning::RegistrationId;
use tokio::task::spawn_blocking;
use tracing::{error, info, warn};

use super::certificate::{LiveCertificate, RequiredName};
use super::session_renewal::SessionRenewal;
use crate::issued::{IssuedError, IssuedFile, SigningRequest};

/// The difference between this machine's clock and the start of a new certificate above which
/// the clock is reported as wrong.
const MAX_CLOCK_ERROR: Duration = Duration::from_secs(600);

/// The issued certificate of a device. There is none before the first registration.
pub(crate) struct IssuedCertificate {
    file: IssuedFile,
    name: RequiredName,
    live: Mutex<Option<Arc<LiveCertificate>>>,
    /// Requests over the session, which not every hub has.
    pub(super) over_session: SessionRenewal,
}

/// The reason why a chain of the hub or of the service is not used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ChainRefusal {
    /// A chain that cannot be decoded.
    #[error("issued certificate")]
    Chain(#[from] protocol::credentials::ChainError),
    /// A chain that does not belong to the request, or that cannot be persisted.
    #[error(transparent)]
    Issued(#[from] IssuedError),
}

impl ChainRefusal {
    pub(crate) fn hint(&self) -> &'static str {
        match self {
            ChainRefusal::Chain(_) => "check the certificate policy of the enrollment",
            ChainRefusal::Issued(error) => error.hint(),
        }
    }
}

impl IssuedCertificate {
    /// Reads the certificate, if there is one. A file that cannot be used counts as none, since
    /// the device gets another certificate. Blocks.
    pub(crate) fn open(file: IssuedFile, id: &RegistrationId) -> IssuedCertificate {
        let name = RequiredName::Registration(id.clone());
        let live = file.exists().then(|| LiveCertificate::open(file.section(), name.clone()));
        let live = live.and_then(|opened| match opened {
            Ok(live) => Some(Arc::new(live)),
            Err(error) => {
                let error = program::chain(&error);
                warn!("issued certificate not usable, so the device registers again: {error}");
                None
            }
        });
        IssuedCertificate {
            file,
            name,
            live: Mutex::new(live),
            over_session: SessionRenewal::default(),
        }
    }

    /// Returns the certificate, if there is one.
    pub(crate) fn live(&self) -> Option<Arc<LiveCertificate>> {
        self.live.lock().clone()
    }

    /// Returns `true` if the hub may issue certificates over the session.
    pub(crate) fn renews_over_session(&self) -> bool {
        self.over_session.is_possible()
    }

    /// Returns `true` if the device can sign in with the certificate at `now`.
    pub(super) fn is_usable(&self, now: Timestamp) -> bool {
        self.live().is_some_and(|live| now < live.current().valid_until())
    }

    /// Creates a request for a certificate.
    pub(crate) async fn request(&self) -> Result<SigningRequest, IssuedError> {
        let file = self.file.clone();
        blocking(move || file.request()).await
    }

    /// Checks and persists an issued chain, which connections use from now on.
    pub(crate) async fn store(
        &self,
        request: Arc<SigningRequest>,
        chain: &[String],
    ) -> Result<(), ChainRefusal> {
        let (chain, now) = (decode_chain(chain)?, Timestamp::now());
        let file = self.file.clone();
        let facts = blocking(move || file.store(&request, &chain, now)).await?;
        let from = Timestamp::from_second(facts.valid_from_unix).unwrap_or(Timestamp::MIN);
        let until = Timestamp::from_second(facts.valid_until_unix).unwrap_or(Timestamp::MAX);
        if from.duration_since(now) > MAX_CLOCK_ERROR.try_into().unwrap_or_default() {
            error!(
                valid_from = %from,
                clock = %now,
                hint = "set this machine's clock, for example with a time server",
                "this machine's clock is wrong: a certificate issued now starts later"
            );
        }
        info!(valid_from = %from, valid_until = %until, "device certificate issued");
        self.reload().await;
        Ok(())
    }

    /// Records that the hub has accepted the certificate, which ends the use of the earlier one.
    pub(super) async fn accepted(&self) {
        let file = self.file.clone();
        if let Err(error) = blocking(move || file.accepted()).await {
            warn!("earlier certificate not removed: {error}");
        }
    }

    /// Returns to the earlier certificate, since the hub has refused this one. Returns `false` if
    /// there is none.
    pub(super) async fn roll_back(&self) -> bool {
        let file = self.file.clone();
        let is_back = match blocking(move || file.roll_back()).await {
            Ok(is_back) => is_back,
            Err(error) => {
                warn!("earlier certificate not in use again: {error}");
                false
            }
        };
        if is_back {
            warn!("the hub has refused the new certificate: the earlier one is in use again");
            self.reload().await;
        }
        is_back
    }

    async fn reload(&self) {
        if let Some(live) = self.live() {
            live.refresh().await;
            return;
        }
        let (section, name) = (self.file.section(), self.name.clone());
        match blocking(move || LiveCertificate::open(section, name)).await {
            Ok(live) => *self.live.lock() = Some(Arc::new(live)),
            Err(error) => {
                error!(hint = error.hint(), "issued certificate: {}", program::chain(&error));
            }
        }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    match spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}
