//! The results of system calls that a traced command sees.

use std::collections::HashMap;
use std::fs::File;
use std::mem::{offset_of, size_of};
use std::os::unix::fs::FileExt as _;

use nix::libc::{self, c_long};
use nix::unistd::Pid;

use super::memory::Memory;

/// The time that a command sees, in seconds since 1970.
pub(super) const SECONDS: i32 = 1_000_000_000;

/// The device that all files are on.
const DEVICE: u64 = 1;

/// The inode of all files and folders.
const SHARED_INODE: u64 = 1;

/// A descriptor that no process has.
const NO_FILE: u64 = u32::MAX as u64;

/// The number of blocks of each file.
const BLOCKS: u64 = 8;

/// The number of links and the size of each directory, which depend on the file system.
const DIRECTORY_LINKS: u64 = 1;
const DIRECTORY_SIZE: u64 = 4096;

/// The fixed part of an entry of a directory: inode, offset, length and type.
const ENTRY_HEADER: usize = 19;

/// Replaces the results of system calls that differ from run to run.
#[derive(Default)]
pub(super) struct Answers {
    /// The inodes of programs and links, each with its number for the command: the dynamic
    /// linker and Node.js need them to be different.
    inodes: HashMap<(u64, u64), u64>,
}

impl Answers {
    /// Replaces the result of a system call that returned `returned`.
    pub(super) fn replace(
        &mut self,
        thread: Pid,
        number: u64,
        arguments: &[u64; 6],
        returned: usize,
    ) -> nix::Result<()> {
        let Ok(number) = c_long::try_from(number) else { return Ok(()) };
        let memory = || Memory::of(thread);
        match number {
            libc::SYS_clock_gettime => memory()?.write(arguments[1], &time()),
            libc::SYS_gettimeofday if arguments[0] != 0 => memory()?.write(arguments[0], &time()),
            libc::SYS_getrandom => memory()?.write(arguments[0], &random(returned)),
            libc::SYS_statx => self.statx(&memory()?, arguments[0], arguments[4]),
            libc::SYS_newfstatat => self.stat(&memory()?, arguments[0], arguments[2]),
            libc::SYS_fstat => self.stat(&memory()?, arguments[0], arguments[1]),
            libc::SYS_stat | libc::SYS_lstat => self.stat(&memory()?, NO_FILE, arguments[1]),
            libc::SYS_getdents64 => entries(&memory()?, arguments[1], returned),
            _ => Ok(()),
        }
    }

    fn stat(&mut self, memory: &Memory, file: u64, address: u64) -> nix::Result<()> {
        let mut stat = memory.read(address, size_of::<libc::stat>())?;
        for field in [
            offset_of!(libc::stat, st_atime),
            offset_of!(libc::stat, st_mtime),
            offset_of!(libc::stat, st_ctime),
        ] {
            put(&mut stat, field, &time());
        }
        let device = offset_of!(libc::stat, st_dev);
        let inode = offset_of!(libc::stat, st_ino);
        let mode = offset_of!(libc::stat, st_mode);
        let kind = u32::from_ne_bytes([stat[mode], stat[mode + 1], 0, 0]) & libc::S_IFMT;
        let identity = (get(&stat, device), get(&stat, inode));
        let number = self.inode(memory.pid, file, kind, identity);
        put(&mut stat, inode, &number.to_ne_bytes());
        put(&mut stat, device, &DEVICE.to_ne_bytes());
        put(&mut stat, offset_of!(libc::stat, st_blocks), &BLOCKS.to_ne_bytes());
        if kind == libc::S_IFDIR {
            put(&mut stat, offset_of!(libc::stat, st_nlink), &DIRECTORY_LINKS.to_ne_bytes());
            put(&mut stat, offset_of!(libc::stat, st_size), &DIRECTORY_SIZE.to_ne_bytes());
        }
        memory.write(address, &stat)
    }

    fn statx(&mut self, memory: &Memory, file: u64, address: u64) -> nix::Result<()> {
        let mut statx = memory.read(address, size_of::<libc::statx>())?;
        for field in [
            offset_of!(libc::statx, stx_atime),
            offset_of!(libc::statx, stx_btime),
            offset_of!(libc::statx, stx_ctime),
            offset_of!(libc::statx, stx_mtime),
        ] {
            put(&mut statx, field, &time());
        }
        let device = offset_of!(libc::statx, stx_dev_major);
        let inode = offset_of!(libc::statx, stx_ino);
        let mode = offset_of!(libc::statx, stx_mode);
        let kind = u32::from_ne_bytes([statx[mode], statx[mode + 1], 0, 0]) & libc::S_IFMT;
        // The two halves of a device's number, in either order, distinguish devices.
        let identity = (get(&statx, device), get(&statx, inode));
        let number = self.inode(memory.pid, file, kind, identity);
        put(&mut statx, inode, &number.to_ne_bytes());
        put(&mut statx, device, &DEVICE.to_ne_bytes());
        put(&mut statx, offset_of!(libc::statx, stx_blocks), &BLOCKS.to_ne_bytes());
        put(&mut statx, offset_of!(libc::statx, stx_mnt_id), &DEVICE.to_ne_bytes());
        if kind == libc::S_IFDIR {
            put(
                &mut statx,
                offset_of!(libc::statx, stx_nlink),
                &(DIRECTORY_LINKS as u32).to_ne_bytes(),
            );
            put(&mut statx, offset_of!(libc::statx, stx_size), &DIRECTORY_SIZE.to_ne_bytes());
        }
        memory.write(address, &statx)
    }

    /// Returns the inode that the command sees. Files and folders, which a snapshot may
    /// contain, all have the same one.
    fn inode(&mut self, thread: Pid, file: u64, kind: u32, identity: (u64, u64)) -> u64 {
        let shared = match kind {
            libc::S_IFDIR => true,
            libc::S_IFREG => !is_program(thread, file),
            _ => false,
        };
        if shared {
            return SHARED_INODE;
        }
        let next = SHARED_INODE + 1 + self.inodes.len() as u64;
        *self.inodes.entry(identity).or_insert(next)
    }
}

/// Returns whether an open file of a thread is a program or a library.
fn is_program(thread: Pid, file: u64) -> bool {
    // Descriptors are `int`s; the upper half of the argument's register is undefined.
    let Ok(file) = u32::try_from(file & u64::from(u32::MAX)) else { return false };
    let mut magic = [0; 4];
    let read = File::open(format!("/proc/{thread}/fd/{file}"));
    read.and_then(|file| file.read_exact_at(&mut magic, 0)).is_ok() && magic == *b"\x7fELF"
}

/// Sorts the entries of a directory, whose order is the file system's.
fn entries(memory: &Memory, address: u64, length: usize) -> nix::Result<()> {
    let bytes = memory.read(address, length)?;
    let (mut entries, mut offsets, mut rest) = (Vec::new(), Vec::new(), &*bytes);
    while rest.len() >= ENTRY_HEADER {
        let length = usize::from(u16::from_ne_bytes([rest[16], rest[17]]));
        let Some((entry, others)) = rest.split_at_checked(length.max(ENTRY_HEADER)) else { break };
        offsets.push(get(entry, 8));
        entries.push(entry.to_vec());
        rest = others;
    }
    entries.sort_by(|one, other| one[ENTRY_HEADER..].cmp(&other[ENTRY_HEADER..]));
    for (entry, offset) in entries.iter_mut().zip(offsets) {
        put(entry, 0, &1_u64.to_ne_bytes());
        // An offset is the position of the next entry, so it stays where it was.
        put(entry, 8, &offset.to_ne_bytes());
    }
    memory.write(address, &entries.concat())
}

/// Returns the constant time as seconds and nanoseconds; microseconds have the same form.
fn time() -> [u8; 16] {
    let mut time = [0; 16];
    put(&mut time, 0, &i64::from(SECONDS).to_ne_bytes());
    time
}

/// Returns bytes that no program takes for a failure of the generator, such as zeros.
fn random(length: usize) -> Vec<u8> {
    (0..=u8::MAX).map(|byte| byte.wrapping_mul(37).wrapping_add(11)).cycle().take(length).collect()
}

fn get(bytes: &[u8], at: usize) -> u64 {
    let mut field = [0; 8];
    field.copy_from_slice(&bytes[at..at + 8]);
    u64::from_ne_bytes(field)
}

fn put(bytes: &mut [u8], at: usize, field: &[u8]) {
    bytes[at..at + field.len()].copy_from_slice(field);
}
