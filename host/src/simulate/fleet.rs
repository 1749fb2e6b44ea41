//! Identities of a fleet: a file with one connection string per line, or the key of an
//! enrollment group.
//!
//! `behaviour-service devices create --count` writes such a file. Empty lines and lines
//! that start with `#` are ignored.

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use protocol::connection_string::{ConnectionStringError, DeviceConnectionString};
use protocol::id::IdError;
use protocol::sas::Key;

use crate::identity::{Identity, Registration, WeakKey};

/// Identities of distinct devices and modules. `Debug` is not implemented, because they
/// contain secrets.
#[derive(Clone)]
pub struct Fleet(Vec<Identity>);

/// Error in a file of identities. Its message contains no keys.
#[derive(Debug, thiserror::Error)]
pub enum FleetError {
    /// File that cannot be read.
    #[error("{}", .path.display())]
    Read {
        /// Path of the file.
        path: PathBuf,
        /// Cause.
        #[source]
        source: std::io::Error,
    },
    /// Line that is not a connection string.
    #[error("{}: line {line}", .path.display())]
    Line {
        /// Path of the file.
        path: PathBuf,
        /// Number of the line, counted from 1.
        line: usize,
        /// Cause.
        #[source]
        source: ConnectionStringError,
    },
    /// Device or module that is listed twice. The hub allows one connection for each and
    /// closes the older one.
    #[error("{}: lines {first} and {second} are both the device `{client}`", .path.display())]
    Duplicate {
        /// Path of the file.
        path: PathBuf,
        /// Client id of the device or module.
        client: String,
        /// Number of the first line, counted from 1.
        first: usize,
        /// Number of the second line, counted from 1.
        second: usize,
    },
    /// File with fewer devices than requested.
    #[error("{}: has {found} devices, not {wanted}", .path.display())]
    TooFew {
        /// Path of the file.
        path: PathBuf,
        /// Number of devices in the file.
        found: usize,
        /// Number of requested devices.
        wanted: usize,
    },
    /// Prefix that does not make a registration id.
    #[error("prefix of the devices")]
    Prefix(#[source] IdError),
    /// Key that is not one of an enrollment group.
    #[error("enrollment group")]
    GroupKey(#[source] WeakKey),
}

impl Fleet {
    /// Returns `devices` registrations of an enrollment group, whose keys are derived from that
    /// of the group. Their ids are the prefix and a number from 0001.
    pub fn of_group(key: &Key, prefix: &str, devices: usize) -> Result<Fleet, FleetError> {
        let registration = |number: usize| {
            let id = format!("{prefix}{number:04}").parse().map_err(FleetError::Prefix)?;
            Registration::with_group_key(id, key)
                .map(Identity::Registration)
                .map_err(FleetError::GroupKey)
        };
        Ok(Fleet((1..=devices).map(registration).collect::<Result<_, _>>()?))
    }

    /// Reads the first `devices` identities of a file, or all if `devices` is `None`.
    pub fn read(path: &Path, devices: Option<usize>) -> Result<Fleet, FleetError> {
        let text = program::text::read(path)
            .map_err(|source| FleetError::Read { path: path.to_owned(), source })?;
        Fleet::parse(&text, path, devices)
    }

    fn parse(text: &str, path: &Path, devices: Option<usize>) -> Result<Fleet, FleetError> {
        let path = || path.to_owned();
        let lines = text.lines().enumerate().map(|(index, line)| (index + 1, line.trim()));
        let entries = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
        let mut seen = HashMap::new();
        let mut fleet = Vec::new();
        for (line, text) in entries.take(devices.unwrap_or(usize::MAX)) {
            let identity: DeviceConnectionString =
                text.parse().map_err(|source| FleetError::Line { path: path(), line, source })?;
            if let Some(first) = seen.insert(identity.resource(), line) {
                let client = identity.client_id();
                return Err(FleetError::Duplicate { path: path(), client, first, second: line });
            }
            fleet.push(Identity::ConnectionString(identity));
        }
        let wanted = devices.unwrap_or(1);
        if fleet.len() < wanted {
            return Err(FleetError::TooFew { path: path(), found: fleet.len(), wanted });
        }
        Ok(Fleet(fleet))
    }

    /// Returns the number of devices and modules.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "a fleet is never empty")]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Returns the identities.
    pub(super) fn into_devices(self) -> impl Iterator<Item = Identity> {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(device: &str) -> String {
        format!("HostName=hub;DeviceId={device};SharedAccessKey=c2VjcmV0\n")
    }

    fn parse(text: &str, devices: Option<usize>) -> Result<usize, String> {
        let fleet = Fleet::parse(text, Path::new("devices.txt"), devices);
        fleet.map(|fleet| fleet.len()).map_err(|error| error.to_string())
    }

    #[test]
    fn every_line_is_a_device_and_the_number_of_devices_can_be_limited() {
        let text = format!("# two\n\n{}  {}", line("d1"), line("d2"));
        assert_eq!(parse(&text, None), Ok(2));
        assert_eq!(parse(&text, Some(1)), Ok(1));
    }

    #[test]
    fn a_device_and_each_of_its_modules_are_distinct() {
        let text = line("d1") + &line("d1;ModuleId=m1") + &line("d1;ModuleId=m2");
        assert_eq!(parse(&text, None), Ok(3));
        assert_eq!(parse(&(line("d1") + &line("d1").replace("hub", "hub2")), None), Ok(2));
    }

    #[test]
    fn an_error_in_a_file_names_the_line_and_shows_no_key() {
        let check = |text: &str, devices, expected: &str| {
            assert_eq!(parse(text, devices).unwrap_err(), format!("devices.txt: {expected}"));
        };
        check(&(line("d1") + "hello c2VjcmV0"), None, "line 2");
        check(&(line("d1") + "\n" + &line("d1")), None, "lines 1 and 3 are both the device `d1`");
        let module = line("d1;ModuleId=m1");
        check(&module.repeat(2), None, "lines 1 and 2 are both the device `d1/m1`");
        check(&line("d1"), Some(2), "has 1 devices, not 2");
        check("# none\n", None, "has 0 devices, not 1");
    }

    #[test]
    fn a_group_has_numbered_devices_and_refuses_other_ids_and_keys() {
        let group = |prefix: &str, key: &[u8]| {
            let fleet = Fleet::of_group(&Key::from_bytes(key).unwrap(), prefix, 2);
            fleet.map(|fleet| fleet.0.iter().map(Identity::data_name).collect::<Vec<_>>())
        };
        let text = |error: FleetError| program::chain(&error).to_string();
        assert_eq!(group("Sim-", &[7; 16]).unwrap(), ["sim-0001", "sim-0002"]);
        assert_eq!(
            text(group("sim/", &[7; 16]).unwrap_err()),
            "prefix of the devices: registration id `sim/0001` has a '/', which is not allowed"
        );
        assert_eq!(
            text(group("sim-", &[7; 8]).unwrap_err()),
            "enrollment group: key has 8 bytes; the Device Provisioning Service accepts 16 to 64"
        );
    }
}
