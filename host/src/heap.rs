//! Gives back to the system what calls have left free on the heap.
//!
//! glibc keeps what was freed between pieces that are still in use, for each of its
//! arenas. After a burst of calls those are megabytes which nobody needs before the
//! next one. Other C libraries give memory back by themselves, or cannot be asked.

use std::sync::Arc;
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::counts::Counts;

/// The start leaves much behind; after it, bursts do.
const AFTER_START: Duration = Duration::from_secs(1);
const EVERY: Duration = Duration::from_secs(15);

/// Does so after the start, and then once in a while if there were calls. Runs for
/// ever.
pub(crate) async fn give_back(counts: Arc<Counts>) {
    let (mut wait, mut last) = (AFTER_START, None);
    loop {
        sleep(wait).await;
        wait = EVERY;
        let (answered, _) = counts.methods();
        if last.replace(answered) != Some(answered) {
            // It may take milliseconds, and cannot fail.
            spawn_blocking(trim).await.ok();
        }
    }
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn trim() {
    #[allow(unsafe_code, reason = "only the C library knows its heap")]
    // SAFETY: it may be called at any time, from any thread.
    unsafe {
        libc::malloc_trim(0);
    }
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn trim() {}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    /// What this process has in memory, in KiB.
    fn resident() -> i64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_burst_has_left_goes_back_to_the_system() {
        let counts = Arc::new(Counts::default());
        let _giving_back = tokio::spawn(give_back(Arc::clone(&counts)));
        tokio::time::sleep(2 * AFTER_START).await;

        let mut burst: Vec<_> = (0..100_000).map(|_| vec![1_u8; 1024]).collect();
        // Everything below it is kept, as by any allocation that lasts.
        burst.drain(..burst.len() - 1);
        counts.answered(200);
        let before = resident();
        tokio::time::sleep(2 * EVERY).await;
        let given_back = before - resident();
        assert!(given_back > 50 * 1024, "{given_back} KiB of 100,000");
    }
}
