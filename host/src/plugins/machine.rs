//! The memory of this machine.

use std::fs;
use std::path::Path;

/// The divisor of the machine's memory for calls. The rest is for the compiler, the host
/// itself and the machine's other programs.
const DIVISOR: u64 = 4;

/// The maximum, in bytes: an eighth of all addresses, 512 MiB on 32 bits. A process has only a part
/// of them, and calls need more addresses than memory.
const MAX_BYTES: usize = usize::MAX / 8;

/// The assumed memory of a machine that does not report it, in bytes.
const UNKNOWN_BYTES: u64 = 1024 * 1024 * 1024;

/// Returns a quarter of the memory that this process can use: the machine's memory, or less if
/// a control group limits it.
pub(super) fn quarter_of_memory() -> usize {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| total(&text));
    let group = fs::read_to_string("/proc/self/cgroup").ok().and_then(|text| {
        let path = text.lines().find_map(|line| line.strip_prefix("0::/"))?;
        limit(Path::new("/sys/fs/cgroup"), Path::new(path))
    });
    let bytes = machine.into_iter().chain(group).min().unwrap_or(UNKNOWN_BYTES);
    usize::try_from(bytes / DIVISOR).map_or(MAX_BYTES, |bytes| bytes.min(MAX_BYTES))
}

/// Parses the total memory in /proc/meminfo (proc(5)). Returns it in bytes.
fn total(text: &str) -> Option<u64> {
    let kib = text.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = kib.trim().strip_suffix("kB")?.trim_end().parse().ok()?;
    kib.checked_mul(1024)
}

/// Returns the lowest memory limit of a control group and its ancestors (cgroup version 2), in
/// bytes.
fn limit(root: &Path, group: &Path) -> Option<u64> {
    let limits = group.ancestors().filter_map(|group| {
        let text = fs::read_to_string(root.join(group).join("memory.max")).ok()?;
        text.trim().parse().ok()
    });
    limits.min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_total_is_converted_to_bytes() {
        assert_eq!(total("MemTotal:       507904 kB\nMemFree: 1 kB\n"), Some(520_093_696));
        assert_eq!(total("MemFree: 1 kB\n"), None);
    }

    #[test]
    fn the_lowest_limit_of_the_nested_groups_applies() {
        let root = tempfile::tempdir().unwrap();
        let group = root.path().join("system.slice/host.service");
        fs::create_dir_all(&group).unwrap();
        let find = || limit(root.path(), Path::new("system.slice/host.service"));
        assert_eq!(find(), None);

        fs::write(group.join("memory.max"), "max\n").unwrap();
        fs::write(root.path().join("system.slice/memory.max"), "300000000\n").unwrap();
        assert_eq!(find(), Some(300_000_000));
        fs::write(group.join("memory.max"), "200000000\n").unwrap();
        assert_eq!(find(), Some(200_000_000));
    }

    #[test]
    fn this_machine_has_memory_for_calls() {
        assert!(quarter_of_memory() > 1024 * 1024);
    }
}
