//! The heap of glibc. Other C libraries return memory by themselves, or have no call
//! for it.

/// Has all threads share one heap, which can then be given back as a whole. By
/// itself, glibc makes one for every two or three threads, and each keeps what
/// its bursts have left. To be called before the first thread is started.
pub fn share() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code, reason = "only the C library knows its heap")]
    // SAFETY: it sets a number. Where it is refused, nothing is lost.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Returns free memory to the system, also between allocations in use. It may take
/// milliseconds, and cannot fail.
pub(super) fn give_back() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code, reason = "only the C library knows its heap")]
    // SAFETY: it may be called at any time, from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}
