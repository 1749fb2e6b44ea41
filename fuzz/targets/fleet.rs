//! Targets of the parsers of plugins that the cloud names, and of their record on disk.

use std::path::Path;
use std::sync::LazyLock;

use host::Config;

/// A device that leaves the cloud some choice.
static CONFIG: LazyLock<Config> = LazyLock::new(|| {
    let text = "host.trust.keys = [\"k.pem\"]\n[fleet]\nimages = [\"r.example/*\"]\n\
                capabilities = [\"power\"]\nlimits.memory_bytes = 1048576\n";
    Config::parse(text, Path::new("/etc/behaviour-host")).unwrap()
});

/// Entries of the desired properties. No entry gets more than `[fleet]` allows.
pub(crate) fn desired_plugins(bytes: &[u8]) {
    let fleet = CONFIG.fleet.as_ref().unwrap();
    match host::read_desired_plugin(&CONFIG, bytes) {
        Ok(settings) => {
            assert!(settings.capabilities.is_subset(&fleet.capabilities));
            assert!(settings.limits.memory_bytes <= fleet.limits.memory_bytes);
            assert!(settings.limits.deadline <= fleet.limits.deadline);
        }
        Err(message) => assert!(!message.contains('\n'), "{message}"),
    }
}

/// Records of the plugins from registries. Without wishes, no version stays in force or on
/// trial, and the record that is written is read again.
pub(crate) fn fleet_records(bytes: &[u8]) {
    if let Some(record) = host::read_fleet_record(bytes) {
        assert_eq!(host::read_fleet_record(&record).as_ref(), Some(&record));
    }
}
