//! The program's own code.
//!
//! Two thirds of what a host has in memory after its start are code, most of which
//! only the start has run: the system maps 64 KB around every piece that runs.

/// Drops the pages of code and constants that were used so far. The system keeps them
/// while it has room; code that runs again is mapped again, 64 KB for each page fault,
/// and the rest is the first to go when memory is short. If the system refuses, nothing
/// changes.
pub(super) fn give_back() {
    #[cfg(target_os = "linux")]
    for part in never_written() {
        #[allow(unsafe_code, reason = "only the system knows what it has mapped")]
        // SAFETY: these pages are those of the file, and cannot be written: all
        // that the program has of them is read from the file again.
        unsafe {
            libc::madvise(part.start as *mut libc::c_void, part.len(), libc::MADV_DONTNEED);
        }
    }
}

/// Returns the parts of the program that are never written to, in whole pages. Pages
/// that the loader has written to and then made read-only are not among them.
#[cfg(target_os = "linux")]
fn never_written() -> Vec<std::ops::Range<usize>> {
    /// Called for each loaded object; the first is the executable.
    #[allow(unsafe_code, reason = "only the loader knows where it has put the program")]
    unsafe extern "C" fn program(
        module: *mut libc::dl_phdr_info,
        _size: libc::size_t,
        parts: *mut libc::c_void,
    ) -> libc::c_int {
        // SAFETY: the loader lends a module, and hands on what it was given below.
        let (module, parts) = unsafe { (&*module, &mut *parts.cast::<Vec<_>>()) };
        // SAFETY: as many headers follow one another, and stay while it runs.
        let headers =
            unsafe { std::slice::from_raw_parts(module.dlpi_phdr, usize::from(module.dlpi_phnum)) };
        for header in headers {
            if header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0 {
                let start = (module.dlpi_addr + header.p_vaddr) as usize;
                parts.push(start..start + header.p_memsz as usize);
            }
        }
        1
    }
    let mut parts = Vec::<std::ops::Range<usize>>::new();
    #[allow(unsafe_code, reason = "only the loader knows where it has put the program")]
    // SAFETY: `program` takes what it is given here for what it is.
    unsafe {
        libc::dl_iterate_phdr(Some(program), (&raw mut parts).cast());
    }
    let page = page_size();
    for part in &mut parts {
        *part = part.start.next_multiple_of(page)..part.end / page * page;
    }
    parts.retain(|part| !part.is_empty());
    parts
}

#[cfg(target_os = "linux")]
fn page_size() -> usize {
    #[allow(unsafe_code, reason = "only the system knows how large a page is")]
    // SAFETY: the call returns a number and changes nothing.
    let bytes = unsafe { libc::sysconf(libc::_SC_PAGESIZE) };
    bytes as usize
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

    use super::*;
    use crate::memory::tests::resident;

    static WRITTEN: AtomicUsize = AtomicUsize::new(1);
    static POINTS: &(dyn std::fmt::Debug + Sync) = &"relocated when the program is loaded";

    fn runs() -> usize {
        WRITTEN.fetch_add(1, Relaxed)
    }

    #[test]
    fn code_that_has_run_leaves_the_memory_and_runs_again() {
        let pages = never_written().into_iter().flat_map(|part| part.step_by(page_size()));
        for page in pages.clone() {
            #[allow(unsafe_code, reason = "nothing else reads all of a program")]
            // SAFETY: the range is mapped, and readable, while the program runs.
            unsafe {
                std::ptr::read_volatile(page as *const u8);
            }
        }
        let before = resident("RssFile:");
        give_back();
        let given_back = before - resident("RssFile:");
        let all = (pages.count() * page_size() / 1024) as i64;
        assert!(given_back > all / 2, "{given_back} KiB of {all}");
        assert_eq!(runs(), 1);
    }

    #[test]
    fn what_was_ever_written_is_no_part_of_it() {
        let parts = never_written();
        let has = |address: usize| parts.iter().any(|part| part.contains(&address));
        assert!(has(runs as fn() -> usize as usize), "code: {parts:x?}");
        assert!(has("constant".as_ptr() as usize), "constants: {parts:x?}");
        assert!(!has(&raw const WRITTEN as usize), "variables: {parts:x?}");
        assert!(!has(&raw const POINTS as usize), "relocated: {parts:x?}");
    }
}
