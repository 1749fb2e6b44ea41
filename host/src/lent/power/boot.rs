//! Identity of the current boot: a restarted host is not a restarted machine.

use std::path::{Path, PathBuf};

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
    fn a_boot_has_the_kernels_id() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name| folder.path().join(name);
        let machine = Machine { boot_id: file("id"), uptime: file("uptime") };
        assert_eq!(Boot::of(&machine), None);

        std::fs::write(&machine.boot_id, "4f9c\n").unwrap();
        assert_eq!(Boot::of(&machine), Some(Boot { id: "4f9c".into() }));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_tells_the_same_boot_twice() {
        let boot = || Boot::of(&Machine::default()).unwrap().id;
        assert_eq!(boot(), boot());
    }
}
