//! More commits than allowed.

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
async fn past_the_rate_of_the_host_changes_wait_share_one_commit_and_none_is_lost() {
    let directory = tempfile::tempdir().unwrap();
    let disk = TestDisk::default();
    let first = disk.journal_with(directory.path(), commits(1, 1_000));
    // The commits of an hour.
    for n in 0..60 {
        put(&first, &n.to_string(), "1").await.unwrap();
    }
    let before = disk.syncs.load(Ordering::SeqCst);
    let keys: Vec<String> = (0..100).map(|n| format!("late-{n}")).collect();
    let mut late = std::pin::pin!(join_all(keys.iter().map(|key| put(&first, key, "1"))));
    assert!(late.as_mut().now_or_never().is_none());
    assert_eq!(get(&first, "late-0"), None);

    // The end of the host does not wait for the rate.
    let (late, ()) = tokio::join!(late, first.close());

    assert!(late.iter().all(Result::is_ok), "{late:?}");
    let syncs = disk.syncs.load(Ordering::SeqCst) - before;
    assert!(syncs <= 10, "{syncs} syncs");
    let again = journal(&directory);
    assert!(keys.iter().all(|key| get(&again, key).is_some()));
}

#[tokio::test(start_paused = true)]
async fn past_its_rate_a_plugin_waits_and_the_others_do_not() {
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
    assert!((55..=65).contains(&waited), "{waited} s for changes that wait together");
    assert!(keys.iter().all(|key| get(&journal, key).is_some()));
}
