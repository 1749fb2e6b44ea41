//! Memory that is returned to the system: what the start and bursts of calls have left.

mod code;
mod heap;

use std::sync::Arc;
use std::time::Duration;

use plugin::Plugin;
use tokio::task::spawn_blocking;
use tokio::time::sleep;

use crate::device::counts::Counts;

pub use heap::share as share_heap;

const AFTER_START: Duration = Duration::from_secs(1);
const EVERY: Duration = Duration::from_secs(15);

/// Runs once after the start and then periodically; never returns. `plugins` lists
/// those whose calls may have left memory.
pub(crate) async fn give_back(plugins: impl Fn() -> Vec<Plugin>, counts: Arc<Counts>) {
    sleep(AFTER_START).await;
    blocking(|| {
        heap::give_back();
        code::give_back();
    })
    .await;
    let (mut last, _) = counts.methods();
    loop {
        sleep(EVERY).await;
        let (answered, _) = counts.methods();
        let had_calls = std::mem::replace(&mut last, answered) != answered;
        let plugins = plugins();
        blocking(move || {
            plugins.iter().for_each(Plugin::give_back);
            if had_calls {
                heap::give_back();
            }
        })
        .await;
    }
}

/// Runs work that may block for milliseconds and does not fail.
async fn blocking(work: impl FnOnce() + Send + 'static) {
    spawn_blocking(work).await.ok();
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::*;

    /// Returns a figure of this process's memory, in KiB (proc(5), status).
    pub(super) fn resident(kind: &str) -> i64 {
        let status = std::fs::read_to_string("/proc/self/status").unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(kind)).unwrap();
        line.split_whitespace().next().unwrap().parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn what_a_burst_has_left_goes_back_to_the_system() {
        let counts = Arc::new(Counts::default());
        let _giving_back = tokio::spawn(give_back(Vec::new, Arc::clone(&counts)));
        tokio::time::sleep(2 * AFTER_START).await;

        let mut burst: Vec<_> = (0..100_000).map(|_| vec![1_u8; 1024]).collect();
        // Everything below it is kept, as by any allocation that lasts.
        burst.drain(..burst.len() - 1);
        counts.answered(200);
        let before = resident("RssAnon:");
        tokio::time::sleep(2 * EVERY).await;
        let given_back = before - resident("RssAnon:");
        assert!(given_back > 50 * 1024, "{given_back} KiB of 100,000");
    }
}
