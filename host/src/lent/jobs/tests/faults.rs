//! Faults of a runner and of the journal, and plugins that hold up others.

use super::*;

#[tokio::test(start_paused = true)]
async fn a_panic_in_an_attempt_is_a_failed_attempt() {
    let directory = tempfile::tempdir().unwrap();
    let jobs = jobs(journal(&directory), "1");
    let plugin = Plugin::told([JobEnd::Rejected(PANIC.into())]);
    let _run = run(&jobs, &plugin);
    add(&jobs, "1", JobWhen::AfterDelay(Duration::ZERO)).await.unwrap();
    let ran = plugin.ran(2).await;
    assert_eq!(ran[1], ("1".into(), 2, BootOutcome::NotWaitedFor));
    until_empty(&jobs).await;
}

#[tokio::test]
async fn jobs_are_on_disk_again_when_a_damaged_journal_was_begun_anew() {
    let directory = tempfile::tempdir().unwrap();
    let disk = TestDisk::default();
    let first = jobs(disk.journal(directory.path()), "1");
    let later = JobWhen::AfterDelay(Duration::from_secs(3600));
    add(&first, "1", later).await.unwrap();
    let path = directory.path().join("journal.redb");
    let mut bytes = std::fs::read(&path).unwrap();
    bytes[4096..].fill(0xA5);
    std::fs::write(&path, bytes).unwrap();
    disk.panic_at_next_write();

    add(&first, "2", later).await.unwrap_err();
    add(&first, "3", later).await.unwrap();
    first.journal.close().await;
    drop(first);

    let second = jobs(journal(&directory), "1");
    assert_eq!(second.queue.lock().plugins()["p"], 2);
}

#[tokio::test]
async fn long_jobs_of_one_plugin_leave_places_for_those_of_another() {
    let directory = tempfile::tempdir().unwrap();
    let jobs = jobs(journal(&directory), "1");
    let plugin = Arc::new(Plugin { stuck: Some("loud"), ..Plugin::default() });
    for payload in 0..2 * super::super::AT_ONCE {
        let job = NewJob {
            name: "job".into(),
            payload: payload.to_string(),
            when: JobWhen::AfterDelay(Duration::ZERO),
        };
        jobs.add("loud", "call-1", job, 64).await.unwrap();
    }
    let _run = run(&jobs, &plugin);
    assert_eq!(plugin.ran(super::super::AT_ONCE / 2).await.len(), super::super::AT_ONCE / 2);

    add(&jobs, "quiet", JobWhen::AfterDelay(Duration::ZERO)).await.unwrap();
    let ran = plugin.ran(super::super::AT_ONCE / 2 + 1).await;
    assert_eq!(ran.last().unwrap().0, "quiet");
}
