//! The identity of the current boot, which distinguishes a reboot of the machine from a restart
//! of the host.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// The files in which the kernel describes the current boot. A test can use other files.
#[derive(Debug, Clone)]
pub struct Machine {
    /// A file with an id that differs after each boot.
    pub boot_id: PathBuf,
    /// A file that begins with the seconds since the boot.
    pub uptime: PathBuf,
}

impl Default for Machine {
    fn default() -> Machine {
        Machine { boot_id: "/proc/sys/kernel/random/boot_id".into(), uptime: "/proc/uptime".into() }
    }
}

impl Machine {
    /// Returns the time since the boot, suspended time included. Returns `None` if the machine
    /// does not report it.
    pub(super) fn uptime(&self) -> Option<Duration> {
        let text = read(&self.uptime)?;
        let seconds = text.split_whitespace().next()?.parse().ok()?;
        Duration::try_from_secs_f64(seconds).ok()
    }
}

/// One boot of the machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Boot {
    pub(crate) id: String,
}

impl Boot {
    /// Returns the current boot of the machine. Returns `None` if the machine has no id for it.
    pub(crate) fn of(machine: &Machine) -> Option<Boot> {
        let id = read(&machine.boot_id)?.trim().to_owned();
        (!id.is_empty()).then_some(Boot { id })
    }
}

fn read(file: &Path) -> Option<String> {
    std::fs::read_to_string(file).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_has_the_id_and_the_uptime_of_the_kernel() {
        let folder = tempfile::tempdir().unwrap();
        let machine =
            Machine { boot_id: folder.path().join("id"), uptime: folder.path().join("uptime") };
        assert_eq!((Boot::of(&machine), machine.uptime()), (None, None));

        std::fs::write(&machine.boot_id, "4f9c\n").unwrap();
        std::fs::write(&machine.uptime, "60.50 120.00\n").unwrap();
        assert_eq!(Boot::of(&machine), Some(Boot { id: "4f9c".into() }));
        assert_eq!(machine.uptime(), Some(Duration::from_millis(60_500)));
        std::fs::write(&machine.uptime, "soon\n").unwrap();
        assert_eq!(machine.uptime(), None);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_has_the_same_boot_id_twice() {
        let boot = || Boot::of(&Machine::default()).unwrap().id;
        assert_eq!(boot(), boot());
        assert!(Machine::default().uptime().unwrap() > Duration::ZERO);
    }
}
