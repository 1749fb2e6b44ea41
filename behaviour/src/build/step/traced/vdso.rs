//! The vDSO: functions of the kernel in the memory of each process. They read the clock and
//! random numbers without a system call. Their replacements here are x86-64 code.

use nix::errno::Errno;
use object::{Object as _, ObjectSymbol as _};

use super::answers::SECONDS;
use super::memory::Memory;

/// The number of the register `rsi` in an instruction.
const RSI: u8 = 6;

/// The number of the register `rdi` in an instruction.
const RDI: u8 = 7;

/// The instructions `xor eax, eax; ret`.
const RETURN_0: [u8; 3] = [0x31, 0xc0, 0xc3];

/// Patches the vDSO of a process: its clock returns a constant, and random numbers require a
/// system call, whose result can be replaced.
pub(super) fn patch(memory: &Memory) -> nix::Result<()> {
    let Some((start, length)) = range(memory)? else { return Ok(()) };
    let image = memory.read(start, length)?;
    let image = object::File::parse(&*image).map_err(|_| Errno::ENOEXEC)?;
    for symbol in image.dynamic_symbols() {
        let code = match symbol.name() {
            Ok("__vdso_clock_gettime") => clock_gettime_code(),
            Ok("__vdso_gettimeofday") => gettimeofday_code(),
            Ok("__vdso_time") => time_code(),
            Ok("__vdso_getrandom") => getrandom_code(),
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

/// Returns code that stores the time at the address in `rsi`, and returns 0.
fn clock_gettime_code() -> Vec<u8> {
    [&store_seconds(RSI)[..], &store_zero_fraction(RSI), &RETURN_0].concat()
}

/// Returns code that stores the time at the address in `rdi` unless it is null, and returns 0.
fn gettimeofday_code() -> Vec<u8> {
    let store = [&store_seconds(RDI)[..], &store_zero_fraction(RDI)].concat();
    [&skip_if_null(store.len())[..], &store, &RETURN_0].concat()
}

/// Returns code that stores the time at the address in `rdi` unless it is null, and returns the
/// time.
fn time_code() -> Vec<u8> {
    let store = store_seconds(RDI);
    // mov eax, SECONDS; ret
    [&skip_if_null(store.len())[..], &store, &[0xb8], &SECONDS.to_le_bytes(), &[0xc3]].concat()
}

/// Returns code that returns `ENOSYS`, so that the C library makes the system call.
fn getrandom_code() -> Vec<u8> {
    let code = (-(Errno::ENOSYS as i32)).to_le_bytes();
    // mov rax, code; ret
    [&[0x48, 0xc7, 0xc0][..], &code, &[0xc3]].concat()
}

/// Returns the instruction `mov qword [register], SECONDS`.
fn store_seconds(register: u8) -> Vec<u8> {
    [&[0x48, 0xc7, register][..], &SECONDS.to_le_bytes()].concat()
}

/// Returns the instruction `mov qword [register + 8], 0`, which stores the nanoseconds or
/// microseconds.
fn store_zero_fraction(register: u8) -> [u8; 8] {
    [0x48, 0xc7, 0x40 | register, 8, 0, 0, 0, 0]
}

/// Returns the instructions `test rdi, rdi; jz`, which jump over `length` bytes of code if the
/// address in `rdi` is null.
fn skip_if_null(length: usize) -> [u8; 5] {
    let length = i8::try_from(length).expect("two instructions are shorter than 128 bytes");
    let [offset] = length.to_le_bytes();
    [0x48, 0x85, 0xff, 0x74, offset]
}
