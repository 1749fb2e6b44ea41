//! Identity of the current boot: a restarted host is not a restarted machine.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

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
    /// Time of the boot, by the wall clock.
    pub(crate) at: Timestamp,
}

impl Boot {
    /// Returns the current boot of the machine; `None` if the machine does not name it.
    pub(crate) fn of(machine: &Machine, now: Timestamp) -> Option<Boot> {
        let id = std::fs::read_to_string(&machine.boot_id).ok()?.trim().to_owned();
        let uptime = std::fs::read_to_string(&machine.uptime).ok();
        let seconds = uptime.as_deref().and_then(|text| text.split_whitespace().next());
        let seconds: f64 = seconds.and_then(|text| text.parse().ok()).unwrap_or_default();
        let uptime = Duration::try_from_secs_f64(seconds).unwrap_or_default();
        let at = now.checked_sub(uptime).unwrap_or(now);
        (!id.is_empty()).then_some(Boot { id, at })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boot_has_the_kernels_id_and_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let machine =
            Machine { boot_id: folder.path().join("id"), uptime: folder.path().join("uptime") };
        let now: Timestamp = "2026-01-01T00:01:00Z".parse().unwrap();
        assert_eq!(Boot::of(&machine, now), None);

        std::fs::write(&machine.boot_id, "4f9c\n").unwrap();
        std::fs::write(&machine.uptime, "60.00 120.00\n").unwrap();
        let at = "2026-01-01T00:00:00Z".parse().unwrap();
        assert_eq!(Boot::of(&machine, now), Some(Boot { id: "4f9c".into(), at }));
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn this_machine_tells_the_same_boot_twice() {
        let boot = || Boot::of(&Machine::default(), Timestamp::now()).unwrap().id;
        assert_eq!(boot(), boot());
    }
}
