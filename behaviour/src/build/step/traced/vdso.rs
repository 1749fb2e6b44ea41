//! The vDSO: the kernel's code in each process that reads the clock without a system call.

use nix::errno::Errno;
use object::{Object as _, ObjectSymbol as _};

use super::answers::SECONDS;
use super::memory::Memory;

/// Replaces the functions of a process that read the clock, by code that returns a constant.
pub(super) fn stop_clock(memory: &Memory) -> nix::Result<()> {
    let Some((start, length)) = range(memory)? else { return Ok(()) };
    let image = memory.read(start, length)?;
    let image = object::File::parse(&*image).map_err(|_| Errno::ENOEXEC)?;
    for symbol in image.dynamic_symbols() {
        let code = match symbol.name() {
            Ok("__vdso_clock_gettime") => clock_gettime(),
            Ok("__vdso_gettimeofday") => gettimeofday(),
            Ok("__vdso_time") => time(),
            Ok("__vdso_getrandom") => no_system_call(),
            _ => continue,
        };
        memory.write(start + symbol.address(), &code)?;
    }
    Ok(())
}

/// Returns the address and length of the vDSO, if the process has one.
fn range(memory: &Memory) -> nix::Result<Option<(u64, usize)>> {
    let maps = std::fs::read_to_string(format!("/proc/{}/maps", memory.pid));
    let maps = maps.map_err(|_| Errno::EIO)?;
    let line = maps.lines().find(|line| line.ends_with("[vdso]"));
    Ok(line.and_then(|line| {
        let (start, end) = line.split_whitespace().next()?.split_once('-')?;
        let start = u64::from_str_radix(start, 16).ok()?;
        let end = u64::from_str_radix(end, 16).ok()?;
        Some((start, usize::try_from(end.checked_sub(start)?).ok()?))
    }))
}

/// Stores the time at the address in `rsi`, and returns 0.
fn clock_gettime() -> Vec<u8> {
    [&store_seconds(0x06)[..], &[0x48, 0xc7, 0x46, 8, 0, 0, 0, 0], &RETURN_0].concat()
}

/// Stores the time at the address in `rdi` unless it is null, and returns 0.
fn gettimeofday() -> Vec<u8> {
    let store = [&store_seconds(0x07)[..], &[0x48, 0xc7, 0x47, 8, 0, 0, 0, 0]].concat();
    [&unless_null(store.len())[..], &store, &RETURN_0].concat()
}

/// Stores the time at the address in `rdi` unless it is null, and returns it.
fn time() -> Vec<u8> {
    let store = store_seconds(0x07);
    // mov eax, SECONDS; ret
    [&unless_null(store.len())[..], &store, &[0xb8], &SECONDS.to_le_bytes(), &[0xc3]].concat()
}

/// Returns `ENOSYS`, so that the C library makes the system call.
fn no_system_call() -> Vec<u8> {
    let code = (-(Errno::ENOSYS as i32)).to_le_bytes();
    // mov rax, code; ret
    [&[0x48, 0xc7, 0xc0][..], &code, &[0xc3]].concat()
}

/// xor eax, eax; ret
const RETURN_0: [u8; 3] = [0x31, 0xc0, 0xc3];

/// mov qword [register], SECONDS
fn store_seconds(register: u8) -> Vec<u8> {
    [&[0x48, 0xc7, register][..], &SECONDS.to_le_bytes()].concat()
}

/// test rdi, rdi; jz over `length` bytes
fn unless_null(length: usize) -> [u8; 5] {
    let length = u8::try_from(length).expect("a few instructions");
    [0x48, 0x85, 0xff, 0x74, length]
}
