//! The authorities whose certificates devices can present.

use std::collections::BTreeMap;
use std::path::PathBuf;

use rustls::RootCertStore;

use crate::ca::Authority;
use crate::certificates::DeviceAuthorities;
use crate::config::StartError;

/// Name of the hub's own authority, which issues certificates to devices.
const OWN_AUTHORITY: &str = "behaviour-hub";

/// Returns the hub's own authority and those in the files. Each of them is named after its file,
/// without the extension.
pub(crate) fn device_authorities(
    files: &[PathBuf],
    own: &Authority,
) -> Result<DeviceAuthorities, StartError> {
    let mut issuer = RootCertStore::empty();
    issuer.add_parsable_certificates(own.certificate());
    let mut named = BTreeMap::from([(OWN_AUTHORITY.to_owned(), issuer)]);
    for file in files {
        let mut trusted = trust::Trust::empty();
        trusted.add_file(file)?;
        let name = file.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        let roots = named.entry(name).or_insert_with(RootCertStore::empty);
        roots.roots.extend(trusted.into_roots().roots);
    }
    Ok(DeviceAuthorities::named(named)?)
}
