//! The memory of a traced process.

use std::fs::File;
use std::os::unix::fs::FileExt as _;

use nix::errno::Errno;
use nix::unistd::Pid;

/// The memory of a process that this thread traces. Writes ignore the protection of pages.
pub(super) struct Memory {
    pub(super) pid: Pid,
    file: File,
}

impl Memory {
    pub(super) fn of(pid: Pid) -> nix::Result<Memory> {
        let file = File::options().read(true).write(true).open(format!("/proc/{pid}/mem"));
        Ok(Memory { pid, file: file.map_err(errno)? })
    }

    pub(super) fn read(&self, address: u64, length: usize) -> nix::Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.file.read_exact_at(&mut bytes, address).map_err(errno)?;
        Ok(bytes)
    }

    pub(super) fn write(&self, address: u64, bytes: &[u8]) -> nix::Result<()> {
        self.file.write_all_at(bytes, address).map_err(errno)
    }
}

fn errno(error: std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
