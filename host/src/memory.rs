//! Returns unused memory to the system after the start and after bursts of calls.

mod code;
mod heap;

use std::sync::Arc;
use std::time::Duration;

use plugin::Plugin;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::device::counts::Counts;

pub use heap::share as share_heap;

/// Delay before the first release. The start has freed its memory by then.
const AFTER_START: Duration = Duration::from_secs(1);

/// Interval of later releases.
const EVERY: Duration = Duration::from_secs(15);

/// Returns unused memory to the system once after the start and then periodically; never
/// completes. `plugins` lists the loaded plugins, whose calls may hold unused memory.
pub(crate) async fn release_unused(plugins: impl Fn() -> Vec<Plugin>, counts: Arc<Counts>) {
    sleep(AFTER_START).await;
    blocking(|| {
        heap::trim();
        code::drop_pages();
    })
    .await;
    let (mut last, _) = counts.methods();
    loop {
        sleep(EVERY).await;
        let (answered, _) = counts.methods();
        let had_calls = std::mem::replace(&mut last, answered) != answered;
        let plugins = plugins();
        blocking(move || {
            plugins.iter().for_each(Plugin::release_unused);
            if had_calls {
                heap::trim();
            }
        })
        .await;
    }
}

/// Runs `work`, which may block for milliseconds, on a blocking thread.
async fn blocking(work: impl FnOnce() + Send + 'static) {
    spawn_blocking(work).await.ok();
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    /// Returns a field of `/proc/self/status`, in KiB (proc(5)).
    pub(super) fn resident(kind: &str) -> i64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(kind)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn memory_of_a_burst_is_returned_to_the_system() {
        let counts = Arc::new(Counts::default());
        let _task = tokio::spawn(release_unused(Vec::new, Arc::clone(&counts)));
        tokio::time::sleep(2 * AFTER_START).await;

        let mut burst: Vec<_> = (0..100_000).map(|_| vec![1_u8; 1024]).collect();
        // The last allocation keeps the heap below it in use, as any long-lived one does.
        burst.drain(..burst.len() - 1);
        counts.answered(200);
        let before = resident("RssAnon:");
        tokio::time::sleep(2 * EVERY).await;
        let returned = before - resident("RssAnon:");
        assert!(returned > 50 * 1024, "{returned} KiB of 100,000");
    }
}
