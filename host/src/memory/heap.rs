//! The heap of glibc. Other C libraries return memory by themselves or offer no function for
//! it.

/// Makes all threads share one heap. By default, glibc creates several heaps, each of which
/// keeps the memory that a burst has freed. Must be called before the first thread starts.
pub fn share() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code, reason = "only the C library knows its heap")]
    // SAFETY: the call sets a parameter of the allocator, before the first thread starts.
    unsafe {
        libc::mallopt(libc::M_ARENA_MAX, 1);
    }
}

/// Returns free memory to the system, even between allocations in use. Blocks for some
/// milliseconds.
pub(super) fn trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    #[allow(unsafe_code, reason = "only the C library knows its heap")]
    // SAFETY: malloc_trim(3) is thread-safe and has no preconditions.
    unsafe {
        libc::malloc_trim(0);
    }
}
