//! Identity of the current boot: a restarted host is not a restarted machine.

use std::path::{Path, PathBuf};
use std::time::Duration;

/// Files in which the machine describes its boot. A test passes files of its own.
#[derive(Debug, Clone)]
pub struct Machine {
    /// Another text after each boot.
    pub boot_id: PathBuf,
    /// The seconds since, and whatever follows them.
    pub uptime: PathBuf,
}

impl Default for Machine {
    fn default() -> Machine {
        Machine { boot_id: "/proc/sys/kernel/random/boot_id".into(), uptime: "/proc/uptime".into() }
    }
}

impl Machine {
    /// Returns the time since the boot, that of a suspended machine included; `None` if
    /// the machine does not tell it.
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
    /// Returns the current boot of the machine; `None` if the machine does not name it.
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
    fn a_boot_has_the_kernels_id_and_its_age() {
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
    fn this_machine_tells_the_same_boot_twice() {
        let boot = || Boot::of(&Machine::default()).unwrap().id;
        assert_eq!(boot(), boot());
        assert!(Machine::default().uptime().unwrap() > Duration::ZERO);
    }
}
