//! The assignment of a device to a hub, which the Device Provisioning Service made.
//!
//! It is kept in `assignment.json` in the data directory, so that a restart does not need the
//! service. The file contains no secret.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use program::FileStamp;
use protocol::host_name::HostName;
use protocol::id::DeviceId;
use protocol::mqtt5::ConnectionProfile;
use protocol::provisioning::{IdScope, RegistrationId};
use serde::{Deserialize, Serialize};
use tracing::{info, warn};

use crate::atomic_file;

const FILE_NAME: &str = "assignment.json";

/// Assignment of a device to a hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Assignment {
    pub(crate) hub: HostName,
    pub(crate) device: DeviceId,
    /// Connection profile of the hub, if the service has named it.
    pub(crate) profile: Option<ConnectionProfile>,
    /// Time of the registration.
    pub(crate) at: Timestamp,
}

/// File of an assignment, which belongs to one registration.
#[derive(Debug, Clone)]
pub(crate) struct AssignmentFile {
    path: PathBuf,
    id_scope: IdScope,
    registration_id: RegistrationId,
}

/// Content of the file.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Stored {
    id_scope: IdScope,
    registration_id: RegistrationId,
    hub: String,
    device_id: DeviceId,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    connection_profile: Option<String>,
    assigned_at: String,
}

impl AssignmentFile {
    /// Returns the file of a registration in `data`. Does not access the disk.
    pub(crate) fn in_data(data: &Path, id_scope: &IdScope, id: &RegistrationId) -> AssignmentFile {
        let (id_scope, registration_id) = (id_scope.clone(), id.clone());
        AssignmentFile { path: data.join(FILE_NAME), id_scope, registration_id }
    }

    /// Returns the assignment, if there is one of this registration. Blocks.
    pub(crate) fn read(&self) -> Option<Assignment> {
        let path = self.path.display();
        let text = match fs::read(&self.path) {
            Ok(text) => text,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                warn!(%path, "assignment not readable, so the device registers again: {error}");
                return None;
            }
        };
        let Some((stored, assignment)) = parse(&text) else {
            warn!(%path, "assignment is corrupt, so the device registers again");
            return None;
        };
        // The service does not distinguish case, but a key that is derived from the key of a
        // group depends on it.
        let same_id = stored.registration_id.as_str() == self.registration_id.as_str();
        if stored.id_scope != self.id_scope || !same_id {
            info!(%path, "assignment of another registration ignored");
            return None;
        }
        Some(assignment)
    }

    /// Persists an assignment. Blocks.
    pub(crate) fn write(&self, assignment: &Assignment) -> io::Result<()> {
        let stored = Stored {
            id_scope: self.id_scope.clone(),
            registration_id: self.registration_id.clone(),
            hub: assignment.hub.to_string(),
            device_id: assignment.device.clone(),
            connection_profile: assignment.profile.map(|profile| profile.to_string()),
            assigned_at: assignment.at.to_string(),
        };
        atomic_file::replace(&self.path, &serde_json::to_vec_pretty(&stored)?)
    }

    /// Returns a stamp that changes with the file. Blocks.
    pub(crate) fn stamp(&self) -> Option<FileStamp> {
        FileStamp::at(&self.path)
    }
}

fn parse(text: &[u8]) -> Option<(Stored, Assignment)> {
    let stored: Stored = serde_json::from_slice(text).ok()?;
    let assignment = Assignment {
        hub: stored.hub.parse().ok()?,
        device: stored.device_id.clone(),
        profile: stored.connection_profile.as_deref().map(str::parse).transpose().ok()?,
        at: stored.assigned_at.parse().ok()?,
    };
    Some((stored, assignment))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(data: &Path, registration: &str) -> AssignmentFile {
        let scope = "0ne00112233".parse().unwrap();
        AssignmentFile::in_data(data, &scope, &registration.parse().unwrap())
    }

    fn assignment() -> Assignment {
        Assignment {
            hub: "my-hub.azure-devices.net".parse().unwrap(),
            device: "Pump-7".parse().unwrap(),
            profile: Some(ConnectionProfile::MqttV5),
            at: "2026-01-31T12:00:00Z".parse().unwrap(),
        }
    }

    #[test]
    fn an_assignment_is_read_back_for_its_own_registration_only() {
        let data = tempfile::tempdir().unwrap();
        let data = data.path().join("data");
        assert_eq!(file(&data, "pump-7").read(), None);
        file(&data, "pump-7").write(&assignment()).unwrap();

        assert_eq!(file(&data, "pump-7").read(), Some(assignment()));
        assert_eq!(file(&data, "pump-8").read(), None);
        assert_eq!(file(&data, "PUMP-7").read(), None, "its derived key is another one");
    }

    #[test]
    fn a_corrupt_assignment_counts_as_none() {
        let data = tempfile::tempdir().unwrap();
        let file = file(data.path(), "pump-7");
        file.write(&assignment()).unwrap();
        let text = fs::read_to_string(&file.path).unwrap();
        for corrupt in [
            &text[..text.len() / 2],
            "",
            &text.replace("my-hub", "my hub"),
            &text.replace("mqttV5", "mqttV6"),
        ] {
            fs::write(&file.path, corrupt).unwrap();
            assert_eq!(file.read(), None, "{corrupt}");
        }
    }
}
