//! Registration with the Device Provisioning Service, which assigns the device to a hub.
//!
//! A registration is one MQTT connection: it asks for an assignment, and polls until there is
//! one. [`Provisioning`] keeps the assignment on disk, registers again when the hub refuses the
//! device, and follows changes of the file by other processes.
//!
//! This module does not decide when a connection to the hub is given up: see the driver.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use parking_lot::Mutex;
use program::FileStamp;
use protocol::connection_string::{DeviceConnectionString, DeviceCredential};
use protocol::mqtt5::ConnectionProfile;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};
use trust::LiveTrust;

use super::certificate::LiveCertificate;
use super::failure::FailureKind;
use super::issued::IssuedCertificate;
use super::options_error::{OptionsError, check_profile, check_topics};
use crate::assignment::{Assignment, AssignmentFile};
use crate::backoff::{Backoff, random_part};
use crate::config::{Attestation, HubSection, ProvisioningSection};
use crate::identity::{Registration, RegistrationCredential};
pub use failure::ProvisioningFailure;
use operation::Assigned;
use pace::Pace;

mod exchange;
mod failure;
mod operation;
mod pace;

pub(super) use exchange::REGISTRATION_WAIT;

/// The first and the longest wait after a failure of the network, and after a busy service.
const LOST_BASE: Duration = Duration::from_secs(1);
const LONGEST_LOST_WAIT: Duration = Duration::from_secs(60);

/// The first and the longest wait after a refusal. The service allows few registrations per
/// minute, which the devices of a fleet share.
const REFUSED_BASE: Duration = Duration::from_secs(5);
const LONGEST_REFUSED_WAIT: Duration = Duration::from_secs(300);

/// The part of a wait that is added at random, so that devices that were told the same time do
/// not come back together.
const JITTER: f64 = 0.1;

/// The way of a device to its hub through the Device Provisioning Service.
pub(crate) struct Provisioning {
    section: ProvisioningSection,
    registration: Registration,
    hub: HubSection,
    tls: Arc<LiveTrust>,
    /// The certificate of a device without a key.
    certificate: Option<Arc<LiveCertificate>>,
    /// The certificate that the service issues; `None` to sign in at the hub with the credential
    /// of the registration.
    issued: Option<Arc<IssuedCertificate>>,
    /// The turns of registrations, which bound their number at the same time.
    turns: Option<Arc<Semaphore>>,
    /// The file of the assignment; `None` if it is not kept.
    file: Option<AssignmentFile>,
    seen: Mutex<Option<FileStamp>>,
    newest: Mutex<Option<Assignment>>,
    pace: Mutex<Pace>,
    renamed: CancellationToken,
}

impl Provisioning {
    /// Checks the registration and reads its certificate. The assignment is kept in `file`.
    /// Blocks.
    pub(crate) fn new(
        registration: Registration,
        section: &ProvisioningSection,
        hub: &HubSection,
        tls: Arc<LiveTrust>,
        file: Option<AssignmentFile>,
    ) -> Result<Provisioning, OptionsError> {
        let certificate = match (&section.attestation, &registration.credential) {
            (Attestation::Certificate(files), RegistrationCredential::Certificate) => {
                let name = super::certificate::RequiredName::Registration(registration.id.clone());
                Some(Arc::new(LiveCertificate::open(files.clone(), name)?))
            }
            _ => None,
        };
        Ok(Provisioning {
            section: section.clone(),
            registration,
            hub: hub.clone(),
            tls,
            certificate,
            issued: None,
            turns: None,
            file,
            seen: Mutex::default(),
            newest: Mutex::default(),
            pace: Mutex::new(Pace::default()),
            renamed: CancellationToken::new(),
        })
    }

    /// Bounds the number of registrations at the same time to those of `turns`.
    pub(crate) fn in_turns(self, turns: Arc<Semaphore>) -> Provisioning {
        Provisioning { turns: Some(turns), ..self }
    }

    /// Signs in at the hub with certificates that the service issues.
    pub(crate) fn with_issued(self, issued: IssuedCertificate) -> Provisioning {
        Provisioning { issued: Some(Arc::new(issued)), ..self }
    }

    /// Returns the assignment on disk, if there is one and the device can sign in at its hub.
    pub(crate) async fn usable(&self) -> Option<Assignment> {
        let stored = self.stored().await?;
        let is_usable = |issued: &Arc<IssuedCertificate>| issued.is_usable(Timestamp::now());
        let usable = self.issued.as_ref().is_none_or(is_usable) && self.identity(&stored).is_ok();
        usable.then_some(stored)
    }

    /// Returns the assignment on disk, if there is one.
    async fn stored(&self) -> Option<Assignment> {
        let file = self.file.clone()?;
        // Taken before the content is read, so that a concurrent change is noticed.
        let reading = spawn_blocking(move || (file.stamp(), file.read()));
        let (stamp, assignment) = reading.await.ok()?;
        *self.seen.lock() = stamp;
        self.newest.lock().clone_from(&assignment);
        assignment
    }

    /// Returns the newest assignment, also if another process has made it, for example
    /// `behaviour-host identity provision`.
    pub(super) async fn newest(&self) -> Option<Assignment> {
        if let Some(file) = self.file.clone() {
            let stamp = spawn_blocking(move || file.stamp()).await.ok().flatten();
            // A file that was removed does not end the assignment.
            if stamp.is_some() && *self.seen.lock() != stamp {
                return self.stored().await;
            }
        }
        self.newest.lock().clone()
    }

    /// Registers, and repeats this until there is an assignment.
    pub(crate) async fn until_registered(&self) -> Assignment {
        let mut lost = Backoff::new(LOST_BASE, LONGEST_LOST_WAIT);
        let mut refused = Backoff::new(REFUSED_BASE, LONGEST_REFUSED_WAIT);
        loop {
            let failure = match self.register_and_keep().await {
                Ok(assignment) => return assignment,
                Err(failure) => failure,
            };
            let backoff = match failure.kind {
                FailureKind::Refused | FailureKind::Identity => refused.next(),
                _ => lost.next(),
            };
            let asked = failure.retry_after.map_or(Duration::ZERO, with_jitter);
            let next_try = backoff.max(asked);
            self.log(&failure, next_try);
            sleep(next_try).await;
        }
    }

    /// Registers once, without persisting the assignment.
    pub(crate) async fn register(&self) -> Result<Assignment, ProvisioningFailure> {
        let _turn = match &self.turns {
            Some(turns) => turns.acquire().await.ok(),
            None => None,
        };
        let request = match &self.issued {
            Some(issued) => Some(Arc::new(issued.request().await?)),
            None => None,
        };
        let Assigned { hub, device, profile, chain } = self.exchange(request.as_deref()).await?;
        if let (Some(issued), Some(request)) = (&self.issued, request) {
            let chain = chain.ok_or_else(ProvisioningFailure::not_issued)?;
            issued.store(request, &chain).await?;
        }
        let assignment = Assignment { hub, device, profile, at: Timestamp::now() };
        self.identity(&assignment).map_err(|error| ProvisioningFailure::unusable(&error))?;
        info!(
            registration = %self.registration.id,
            device = %assignment.device,
            hub = %assignment.hub,
            profile = %self.profile(&assignment),
            "assigned by the provisioning service"
        );
        *self.newest.lock() = Some(assignment.clone());
        Ok(assignment)
    }

    /// Returns to the earlier issued certificate after the hub has refused the current one.
    /// Returns `false` if there is none.
    pub(super) async fn roll_back(&self) -> bool {
        match &self.issued {
            Some(issued) => issued.roll_back().await,
            None => false,
        }
    }

    /// Registers once for a new certificate, and persists the assignment.
    pub(crate) async fn renew(&self) -> Result<(), ProvisioningFailure> {
        self.register_and_keep().await.map(drop)
    }

    /// Registers once, and persists the assignment. If the disk fails, the next start registers
    /// again.
    async fn register_and_keep(&self) -> Result<Assignment, ProvisioningFailure> {
        let assignment = self.register().await?;
        if let Err(error) = self.keep(&assignment).await {
            warn!("assignment not persisted, so the next start registers again: {error}");
        }
        Ok(assignment)
    }

    /// Registers again after the hub has refused the device, or after `kind` of failure has
    /// occurred many times in a row. Returns `None` if no registration is due, or if it failed.
    pub(super) async fn register_again(&self, kind: FailureKind) -> Option<Assignment> {
        if !self.pace.lock().is_due(kind, Instant::now()) {
            return None;
        }
        match self.register_and_keep().await {
            Ok(assignment) => Some(assignment),
            Err(failure) => {
                let next_try = self.pace.lock().postpone(failure.retry_after, Instant::now());
                self.log(&failure, next_try);
                None
            }
        }
    }

    /// Records that the hub has accepted the device.
    pub(super) fn connected(&self) {
        self.pace.lock().connected();
    }

    /// Returns the identity at the hub after an assignment, if the device can use it.
    pub(super) fn identity(
        &self,
        assignment: &Assignment,
    ) -> Result<DeviceConnectionString, OptionsError> {
        if let (Some(configured), Some(assigned)) = (self.hub.profile, assignment.profile)
            && configured != assigned
        {
            return Err(OptionsError::OtherProfile { configured, assigned });
        }
        check_topics(&assignment.device)?;
        let identity = DeviceConnectionString {
            host: assignment.hub.clone(),
            device: assignment.device.clone(),
            module: None,
            gateway: None,
            credential: match &self.registration.credential {
                _ if self.issued.is_some() => DeviceCredential::X509,
                RegistrationCredential::Key(key) | RegistrationCredential::DerivedKey(key) => {
                    DeviceCredential::Key(key.clone())
                }
                RegistrationCredential::Certificate => DeviceCredential::X509,
            },
        };
        check_profile(self.profile(assignment), &identity, &self.hub)?;
        Ok(identity)
    }

    /// Returns the connection profile of the hub of an assignment.
    pub(super) fn profile(&self, assignment: &Assignment) -> ConnectionProfile {
        assignment.profile.or(self.hub.profile).unwrap_or_default()
    }

    pub(super) fn hub(&self) -> &HubSection {
        &self.hub
    }

    pub(super) fn tls(&self) -> &Arc<LiveTrust> {
        &self.tls
    }

    /// Returns the certificate for the hub, if the device has one.
    pub(super) fn certificate(&self) -> Option<Arc<LiveCertificate>> {
        match &self.issued {
            Some(issued) => issued.live(),
            None => self.certificate.clone(),
        }
    }

    /// Returns the certificate that the service issues, if it does.
    pub(crate) fn issued(&self) -> Option<&Arc<IssuedCertificate>> {
        self.issued.as_ref()
    }

    /// Records that the device has another id now, which the running device cannot take.
    pub(super) fn rename(&self) {
        self.renamed.cancel();
    }

    /// Waits until the device has been assigned another id.
    pub(crate) async fn renamed(&self) {
        self.renamed.cancelled().await;
    }

    /// Persists an assignment.
    pub(crate) async fn keep(&self, assignment: &Assignment) -> io::Result<()> {
        let Some(file) = self.file.clone() else { return Ok(()) };
        let assignment = assignment.clone();
        let writing = spawn_blocking(move || {
            file.write(&assignment)?;
            Ok::<_, io::Error>(file.stamp())
        });
        *self.seen.lock() = writing.await??;
        Ok(())
    }

    fn log(&self, failure: &ProvisioningFailure, next_try: Duration) {
        let (registration, hint) = (&self.registration.id, failure.hint());
        let service = &self.section.endpoint;
        // A refusal needs an operator, while a network recovers by itself.
        if failure.kind == FailureKind::Refused {
            error!(%service, %registration, ?next_try, hint, "{failure}");
        } else {
            warn!(%service, %registration, ?next_try, hint, "not provisioned: {failure}");
        }
    }
}

/// Returns the wait that the service asks for, and up to a tenth more.
fn with_jitter(wait: Duration) -> Duration {
    wait.mul_f64(1.0 + JITTER * random_part())
}
