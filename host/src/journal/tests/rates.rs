//! Tests of the limits on the rate of commits.

use super::*;

fn commits(per_minute: u32, per_plugin: u32) -> CommitLimits {
    CommitLimits { per_minute, per_plugin }
}

async fn put_for(journal: &Journal, plugin: &str, key: &str) -> Result<(), HostError> {
    let key = key.to_owned();
    let put = move |pages: &Pages<'_>| Ok(pages.put(RecordKind::Desired, key.as_bytes(), b"1")?);
    journal.write_for(plugin, put, drop).await
}

#[tokio::test]
async fn changes_beyond_the_rate_of_the_host_are_delayed_and_share_commits() {
    let directory = tempfile::tempdir().unwrap();
    let disk = TestDisk::default();
    let first = disk.journal_with(directory.path(), commits(1, 1_000));
    // This uses up the commits of an hour.
    for n in 0..60 {
        put(&first, &n.to_string(), "1").await.unwrap();
    }
    let before = disk.syncs.load(Ordering::SeqCst);
    let keys: Vec<String> = (0..100).map(|n| format!("late-{n}")).collect();
    let mut late = std::pin::pin!(join_all(keys.iter().map(|key| put(&first, key, "1"))));
    assert!(late.as_mut().now_or_never().is_none());
    assert_eq!(get(&first, "late-0"), None);

    // Closing the journal does not wait for the rate limit.
    let (late, ()) = tokio::join!(late, first.close());

    assert!(late.iter().all(Result::is_ok), "{late:?}");
    let syncs = disk.syncs.load(Ordering::SeqCst) - before;
    assert!(syncs <= 10, "{syncs} syncs");
    let again = journal(&directory);
    assert!(keys.iter().all(|key| get(&again, key).is_some()));
}

#[tokio::test(start_paused = true)]
async fn a_plugin_that_exceeds_its_rate_does_not_delay_others() {
    let directory = tempfile::tempdir().unwrap();
    let journal = TestDisk::default().journal_with(directory.path(), commits(100_000, 1));
    for n in 0..60 {
        put_for(&journal, "busy", &n.to_string()).await.unwrap();
    }
    let begun = tokio::time::Instant::now();
    put_for(&journal, "other", "a").await.unwrap();
    put(&journal, "host", "1").await.unwrap();
    assert!(begun.elapsed().is_zero());

    let keys: Vec<String> = (0..100).map(|n| format!("late-{n}")).collect();
    let late = join_all(keys.iter().map(|key| put_for(&journal, "busy", key))).await;

    assert!(late.iter().all(Result::is_ok), "{late:?}");
    let waited = begun.elapsed().as_secs();
    assert!((55..=65).contains(&waited), "changes delayed by {waited} s");
    assert!(keys.iter().all(|key| get(&journal, key).is_some()));
}
