//! Errors of this program and their hints.

use std::io::ErrorKind;

use behaviour_hub::{CaError, StartError, StateError};
use program::{Classify, ExitKind};

/// Error of this program.
pub(crate) type CommandError = program::CommandError<FailureKind>;

/// Kind of a failure, with its exit code.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) enum FailureKind {
    #[default]
    Other,
    /// Invalid usage that `clap` does not detect. The exit code is the same as `clap`'s.
    Usage,
}

impl ExitKind for FailureKind {
    fn exit_code(self) -> u8 {
        match self {
            FailureKind::Other => 1,
            FailureKind::Usage => 2,
        }
    }

    fn name(self) -> &'static str {
        match self {
            FailureKind::Other => "other",
            FailureKind::Usage => "usage",
        }
    }
}

impl Classify<anyhow::Error> for FailureKind {}

impl Classify<std::io::Error> for FailureKind {}

impl Classify<StartError> for FailureKind {
    fn classify(error: &StartError) -> FailureKind {
        match error {
            StartError::State(StateError::HostName(_)) => FailureKind::Usage,
            _ => FailureKind::Other,
        }
    }

    fn hint(error: &StartError) -> Option<String> {
        match error {
            StartError::Listen { purpose, source, .. } => {
                let option = format!("--{}-port", purpose.to_lowercase());
                match source.kind() {
                    ErrorKind::AddrInUse => {
                        Some(format!("choose a free port with {option}; 0 selects any"))
                    }
                    ErrorKind::PermissionDenied => Some(format!(
                        "ports below 1024 require a privilege; choose a higher one with {option}"
                    )),
                    ErrorKind::AddrNotAvailable => {
                        Some("choose an address of this machine with --address".to_owned())
                    }
                    _ => None,
                }
            }
            StartError::State(error) => state_hint(error),
            StartError::Ca(error) => match error {
                CaError::File { .. } => Some(DATA_DIRECTORY.to_owned()),
                CaError::Certificate { .. } => Some(
                    "delete ca.pem and ca-key.pem to create a new authority, which clients then \
                     have to trust"
                        .to_owned(),
                ),
                CaError::Tls(_) => None,
            },
            StartError::DeviceCa(_) => {
                Some("pass a PEM file of CA certificates to --device-ca-file".to_owned())
            }
            StartError::DeviceAuthorities(_) => None,
        }
    }
}

const DATA_DIRECTORY: &str = "choose a directory that this user can write to with --data";

fn state_hint(error: &StateError) -> Option<String> {
    let hint = match error {
        StateError::Directory { .. } | StateError::Open { .. } => DATA_DIRECTORY,
        StateError::Io { source, .. } if source.kind() == ErrorKind::StorageFull => {
            "free space on the disk, or choose another directory with --data"
        }
        StateError::Io { .. } => DATA_DIRECTORY,
        StateError::InUse { .. } => "stop the other hub, or choose another directory with --data",
        StateError::Damaged { .. } => {
            "move the file away to start with an empty hub, or restore it from a backup"
        }
        StateError::Layout { .. } => {
            "run the version that wrote the file, or choose another directory with --data"
        }
        StateError::HostName(_) => "pass a name such as `myhub.example` to --host-name",
        StateError::Random => return None,
    };
    Some(hint.to_owned())
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use behaviour_hub::{Hub, HubConfig};

    use super::*;

    /// Returns the error output of a hub that cannot start with this data directory.
    async fn output(data: &Path) -> String {
        let config = HubConfig { data: Some(data.to_owned()), ..HubConfig::default() };
        match Hub::start(config).await {
            Ok(_) => panic!("the hub started"),
            Err(error) => CommandError::from(error).to_string(),
        }
    }

    #[tokio::test]
    async fn an_unusable_data_directory_is_reported_with_a_hint() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("file");
        std::fs::write(&file, "").unwrap();
        assert_eq!(
            output(&file).await,
            format!(
                "error: cannot create the data directory `{}`: File exists (os error 17)\n\
                 hint: choose a directory that this user can write to with --data\n",
                file.display()
            )
        );

        let full = dir.path().join("full");
        std::fs::create_dir(&full).unwrap();
        std::os::unix::fs::symlink("/dev/full", full.join("hub.redb")).unwrap();
        let text = output(&full).await;
        let expected = format!(
            "error: cannot read or write the state file `{}`: ",
            full.join("hub.redb").display()
        );
        assert!(text.starts_with(&expected), "{text}");
        assert!(
            text.ends_with("\nhint: choose a directory that this user can write to with --data\n"),
            "{text}"
        );

        let used = dir.path().join("used");
        let config = HubConfig { data: Some(used.clone()), ..HubConfig::default() };
        let hub = Hub::start(config).await.unwrap();
        assert_eq!(
            output(&used).await,
            format!(
                "error: state file `{}` is in use by another process\n\
                 hint: stop the other hub, or choose another directory with --data\n",
                used.join("hub.redb").display()
            )
        );
        hub.stop().await;

        std::fs::write(
            used.join("hub.redb"),
            "no database, but long enough to be read".repeat(200),
        )
        .unwrap();
        let text = output(&used).await;
        assert!(
            text.starts_with("error: state file `") && text.contains("` is damaged: "),
            "{text}"
        );
        assert!(
            text.ends_with(
                "\nhint: move the file away to start with an empty hub, or restore it from a backup\n"
            ),
            "{text}"
        );
    }

    #[tokio::test]
    async fn an_invalid_host_name_is_a_usage_error() {
        let config = HubConfig { host_names: vec!["my hub".to_owned()], ..HubConfig::default() };
        let Err(error) = Hub::start(config).await else { panic!("the hub started") };
        let error = CommandError::from(error);
        assert_eq!(error.kind(), FailureKind::Usage);
        assert!(
            error
                .to_string()
                .ends_with("hint: pass a name such as `myhub.example` to --host-name\n")
        );
    }

    #[tokio::test]
    async fn a_port_in_use_is_reported_with_its_option() {
        let hub = Hub::start(HubConfig::default()).await.unwrap();
        let config = HubConfig { https_port: hub.https_port(), ..HubConfig::default() };
        let Err(error) = Hub::start(config).await else { panic!("the hub started") };
        assert_eq!(
            CommandError::from(error).to_string(),
            format!(
                "error: cannot listen on 127.0.0.1:{} for HTTPS: Address already in use (os error 98)\n\
                 hint: choose a free port with --https-port; 0 selects any\n",
                hub.https_port()
            )
        );
    }
}
