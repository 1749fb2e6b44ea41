//! Search for the last working configuration when `host.toml` is invalid.
//!
//! `host.toml` names the data directory. Its lines are parsed one by one, so that the key is
//! found despite errors in other lines. If the key is missing, the default directory is
//! searched.

use std::path::{Path, PathBuf};

use protocol::connection_string::DeviceConnectionString;

use super::KnownGood;
use crate::config::Config;
use crate::identity::{Identity, Registration};
use crate::journal;

/// Returns the last working configuration for the invalid file at `path`, if there is one. If
/// `identity` is `None`, the connection string is read from the file that
/// `connection_string_file` names, or the registration id from `registration_id`. Reads the
/// disk.
#[must_use]
pub fn last_good(path: &Path, identity: Option<&DeviceConnectionString>) -> Option<Config> {
    let bytes = program::text::read_bytes(path).ok()?;
    let text = String::from_utf8_lossy(&bytes);
    let directory = path.parent().unwrap_or(Path::new(""));
    let named = |table, key| value(&text, table, key).map(|value| directory.join(value));
    let data = named("host", "data").or_else(|| {
        let name = identity.cloned().or_else(|| {
            let text = program::text::read(&named("hub", "connection_string_file")?).ok()?;
            text.trim().parse().ok()
        });
        let name = match name {
            Some(identity) => Identity::from(identity).data_name(),
            None => {
                let id = value(&text, "provisioning", "registration_id")?;
                Registration::data_name(&id.to_str()?.parse().ok()?)
            }
        };
        journal::default_directory(&name).ok()
    })?;
    KnownGood::in_data(&data).configuration(path)
}

/// Returns the path at `table.key`, even if other lines are invalid.
fn value(text: &str, table: &str, key: &str) -> Option<PathBuf> {
    let mut at = String::new();
    text.lines().find_map(|line| {
        let line = line.trim();
        if let Some(heading) = line.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
            heading.0.trim().clone_into(&mut at);
            return None;
        }
        let parsed: toml::Table = line.parse().ok()?;
        let found = match at.as_str() {
            "" => parsed.get(table)?.get(key)?,
            _ if at == table => parsed.get(key)?,
            _ => return None,
        };
        found.as_str().map(PathBuf::from)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Checks the path at `host.data` in `text`.
    fn check(text: &str, wanted: Option<&str>) {
        assert_eq!(value(text, "host", "data"), wanted.map(PathBuf::from), "{text}");
    }

    #[test]
    fn the_data_directory_is_found_in_an_invalid_file() {
        check("[hub\nport = \n[host]\ngrace = 1x\ndata = \"d\"  # here\n[plug", Some("d"));
        check("host.data = 'd'\nmistake\n", Some("d"));
        check("data = \"a\"\n[plugins.p]\ndata = \"b\"\n", None);
        check("", None);
    }
}
