//! Tests of faults of a runner and of the journal, and of plugins that delay others.

use super::*;

#[tokio::test(start_paused = true)]
async fn an_attempt_that_panics_counts_as_failed() {
    let directory = tempfile::tempdir().unwrap();
    let jobs = jobs(journal(&directory), "1");
    let plugin = Plugin::scripted([JobEnd::Rejected(PANIC.into())]);
    let _run = run(&jobs, &plugin);
    add(&jobs, "1", JobWhen::AfterDelay(Duration::ZERO)).await.unwrap();
    let ran = plugin.ran(2).await;
    assert_eq!(ran[1], ("1".into(), 2, BootOutcome::NotWaitedFor));
    until_empty(&jobs).await;
}

#[tokio::test]
async fn jobs_are_persisted_again_after_a_corrupt_journal_was_replaced() {
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
async fn long_jobs_of_one_plugin_leave_capacity_for_those_of_another() {
    let directory = tempfile::tempdir().unwrap();
    let jobs = jobs(journal(&directory), "1");
    let plugin = Arc::new(Plugin { stuck: Some("loud"), ..Plugin::default() });
    for payload in 0..2 * MAX_RUNNING {
        let job = NewJob {
            name: "job".into(),
            payload: payload.to_string(),
            when: JobWhen::AfterDelay(Duration::ZERO),
        };
        jobs.add("loud", "call-1", job, 64).await.unwrap();
    }
    let _run = run(&jobs, &plugin);
    assert_eq!(plugin.ran(MAX_RUNNING / 2).await.len(), MAX_RUNNING / 2);

    add(&jobs, "quiet", JobWhen::AfterDelay(Duration::ZERO)).await.unwrap();
    let ran = plugin.ran(MAX_RUNNING / 2 + 1).await;
    assert_eq!(ran.last().unwrap().0, "quiet");
}

#[tokio::test]
async fn all_jobs_together_occupy_at_most_a_quarter_of_the_memory_budget() {
    const BUDGET: usize = 4 * 1024 * 1024;
    let directory = tempfile::tempdir().unwrap();
    let engine = crate::lent::size::tests::engine(BUDGET);
    let jobs = jobs(journal(&directory), "boot-1");
    let payload = format!("\"{}\"", "a".repeat(100_000));
    let restored = add(&jobs, &payload, JobWhen::AfterDelay(HOUR)).await.unwrap();
    jobs.count_in(&engine.queue_memory());
    assert!(engine.memory_in_use() > payload.len());

    let mut accepted = vec![("p".to_owned(), restored)];
    let refused = loop {
        let plugin = format!("p{}", accepted.len());
        let when = JobWhen::AfterDelay(HOUR);
        let job = NewJob { name: "job".into(), payload: payload.clone(), when };
        match JobQueue::add(&*jobs, &plugin, "call-1", job, 3).await {
            Ok(id) => accepted.push((plugin, id)),
            Err(error) => break error,
        }
        assert!(engine.memory_in_use() <= BUDGET / 4);
    };
    assert!(matches!(refused, HostError::QuotaExceeded(reason) if reason.contains("memory")));
    for (plugin, id) in accepted {
        assert!(jobs.cancel(&plugin, &id).await.unwrap());
    }
    assert_eq!(engine.memory_in_use(), 0);
}
