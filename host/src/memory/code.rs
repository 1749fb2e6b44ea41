//! Resident pages of the program's code.
//!
//! Code makes up two thirds of a host's resident memory after the start, because the system
//! maps 64 KB around every page fault. Most of this code runs only during the start.

/// Unmaps the resident pages of code and constants.
///
/// The pages stay in the page cache while the system has free memory, and are mapped again when
/// the code runs. If the system refuses, the pages stay mapped.
pub(super) fn drop_pages() {
    #[cfg(target_os = "linux")]
    for range in read_only_ranges() {
        #[allow(unsafe_code, reason = "only the system can unmap pages")]
        // SAFETY: the pages are mapped from the file and never written, so the next access
        // reads the same bytes from the file.
        unsafe {
            libc::madvise(range.start as *mut libc::c_void, range.len(), libc::MADV_DONTNEED);
        }
    }
}

/// Returns the read-only address ranges of the program in whole pages, without the pages that
/// the loader has relocated.
#[cfg(target_os = "linux")]
fn read_only_ranges() -> Vec<std::ops::Range<usize>> {
    /// Collects the ranges of the first loaded object, which is the executable, and stops the
    /// iteration.
    #[allow(unsafe_code, reason = "only the loader knows the program's addresses")]
    unsafe extern "C" fn program(
        module: *mut libc::dl_phdr_info,
        _size: libc::size_t,
        ranges: *mut libc::c_void,
    ) -> libc::c_int {
        // SAFETY: `module` is valid for this call (dl_iterate_phdr(3)), and `ranges` is
        // the vector that is passed below.
        let (module, ranges) = unsafe { (&*module, &mut *ranges.cast::<Vec<_>>()) };
        // SAFETY: the array has `dlpi_phnum` headers and outlives this call.
        let headers =
            unsafe { std::slice::from_raw_parts(module.dlpi_phdr, usize::from(module.dlpi_phnum)) };
        for header in headers {
            if header.p_type == libc::PT_LOAD && header.p_flags & libc::PF_W == 0 {
                let start = (module.dlpi_addr + header.p_vaddr) as usize;
                ranges.push(start..start + header.p_memsz as usize);
            }
        }
        1
    }
    let mut ranges = Vec::<std::ops::Range<usize>>::new();
    #[allow(unsafe_code, reason = "only the loader knows the program's addresses")]
    // SAFETY: `program` casts the pointer back to the same type, and `ranges` outlives
    // the call.
    unsafe {
        libc::dl_iterate_phdr(Some(program), (&raw mut ranges).cast());
    }
    let page = page_size();
    for range in &mut ranges {
        *range = range.start.next_multiple_of(page)..range.end / page * page;
    }
    ranges.retain(|range| !range.is_empty());
    ranges
}

#[cfg(target_os = "linux")]
fn page_size() -> usize {
    #[allow(unsafe_code, reason = "only the system knows its page size")]
    // SAFETY: sysconf(3) has no preconditions.
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
    fn code_runs_again_after_its_pages_were_dropped() {
        let pages = read_only_ranges().into_iter().flat_map(|range| range.step_by(page_size()));
        for page in pages.clone() {
            #[allow(unsafe_code, reason = "the whole program must be resident")]
            // SAFETY: the range stays mapped and readable while the program runs.
            unsafe {
                std::ptr::read_volatile(page as *const u8);
            }
        }
        let before = resident("RssFile:");
        drop_pages();
        let returned = before - resident("RssFile:");
        let all = (pages.count() * page_size() / 1024) as i64;
        assert!(returned > all / 2, "{returned} KiB of {all}");
        assert_eq!(runs(), 1);
    }

    #[test]
    fn read_only_ranges_exclude_variables_and_relocated_constants() {
        let ranges = read_only_ranges();
        let has = |address: usize| ranges.iter().any(|range| range.contains(&address));
        assert!(has(runs as fn() -> usize as usize), "code: {ranges:x?}");
        assert!(has("constant".as_ptr() as usize), "constants: {ranges:x?}");
        assert!(!has(&raw const WRITTEN as usize), "variables: {ranges:x?}");
        assert!(!has(&raw const POINTS as usize), "relocated: {ranges:x?}");
    }
}
