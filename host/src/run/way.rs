//! The way to the hub: known from a connection string, or assigned by the Device Provisioning
//! Service.

use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;

use super::RunError;
use crate::assignment::AssignmentFile;
use crate::config::Config;
use crate::connection::{self, Dial, IssuedCertificate, OptionsError, Provisioning};
use crate::device::systemd::ServiceManager;
use crate::identity::{Identity, Registration};
use crate::issued::IssuedFile;
use crate::journal;
use crate::supervision::Supervisor;

/// The way to the hub.
pub(super) enum Way {
    /// A hub that the connection string names.
    Known(Box<Dial>),
    /// A hub that the Device Provisioning Service assigns.
    Assigned(Arc<Provisioning>),
}

impl Way {
    /// Checks the identity and reads its certificate, without connecting. The assignment is kept
    /// in the directory `data`. Blocks.
    pub(super) fn new(
        identity: &Identity,
        config: &Config,
        data: &Path,
    ) -> Result<Way, OptionsError> {
        let tls = connection::tls(&config.hub)?;
        match identity {
            Identity::ConnectionString(_) if config.provisioning.is_some() => {
                Err(OptionsError::TwoIdentities)
            }
            Identity::ConnectionString(identity) => {
                Ok(Way::Known(Box::new(Dial::new(identity.clone(), &config.hub, tls)?)))
            }
            Identity::Registration(registration) => {
                Ok(Way::Assigned(provisioning(registration, config, data, tls)?))
            }
        }
    }

    /// Returns the connection parameters of the hub, after a registration if no assignment is on
    /// disk. Returns `None` if `stop` completes before there is an assignment.
    pub(super) async fn dial(
        self,
        service_manager: &mut ServiceManager,
        supervisor: &Supervisor,
        mut stop: Pin<&mut impl Future<Output = ()>>,
    ) -> Result<Option<Dial>, RunError> {
        let provisioning = match self {
            Way::Known(dial) => return Ok(Some(*dial)),
            Way::Assigned(provisioning) => provisioning,
        };
        if let Some(assignment) = provisioning.usable().await {
            return Ok(Some(Dial::assigned(&provisioning, &assignment)?));
        }
        // The first registration can take as long as the network is down.
        service_manager.ready();
        service_manager.status("registering with the provisioning service");
        let mut registering = std::pin::pin!(provisioning.until_registered());
        let assignment = loop {
            tokio::select! {
                assignment = &mut registering => break assignment,
                () = service_manager.alive_due() => service_manager.alive(&supervisor.silent()),
                () = &mut stop => return Ok(None),
            }
        };
        Ok(Some(Dial::assigned(&provisioning, &assignment)?))
    }
}

/// Returns the registration of a device with its settings. The assignment is kept in the
/// directory `data`. Blocks.
pub(super) fn provisioning(
    registration: &Registration,
    config: &Config,
    data: &Path,
    tls: Arc<trust::LiveTrust>,
) -> Result<Arc<Provisioning>, OptionsError> {
    let section = config.provisioning.as_ref().ok_or(OptionsError::NoProvisioning)?;
    let file = AssignmentFile::in_data(data, &section.id_scope, &registration.id);
    let provisioning =
        Provisioning::new(registration.clone(), section, &config.hub, tls, Some(file))?;
    Ok(Arc::new(match issued_file(registration, config, data) {
        Some(file) => provisioning.with_issued(IssuedCertificate::open(file, &registration.id)),
        None => provisioning,
    }))
}

/// Returns the files in `data` of the certificate that the service issues, if it does.
pub(super) fn issued_file(
    registration: &Registration,
    config: &Config,
    data: &Path,
) -> Option<IssuedFile> {
    let section = config.provisioning.as_ref()?.issued_certificate.as_ref()?;
    Some(IssuedFile::in_data(data, section, registration.id.as_str()))
}

/// Returns the data directory of a registration.
pub(super) fn data_directory(
    config: &Config,
    registration: &Registration,
) -> Result<PathBuf, RunError> {
    match &config.host.data {
        Some(directory) => Ok(directory.clone()),
        None => Ok(journal::default_directory(&Registration::data_name(&registration.id))?),
    }
}
