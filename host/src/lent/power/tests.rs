//! Reboots that are asked for, on a machine whose reboot is a file.

use std::path::Path;

use plugin::Power as _;
use tempfile::TempDir;

use super::*;
use crate::journal::tests::{TestDisk, journal};

fn boot(id: &str) -> Option<Boot> {
    Some(Boot { id: id.to_owned() })
}

/// A power whose command makes the file `rebooted`, and fails.
fn power(directory: &TempDir, journal: Journal, boot_id: &str) -> Power {
    let file = directory.path().join("rebooted");
    let script = format!("touch '{}'; echo not today >&2; exit 3", file.display());
    let command = ["sh", "-c", &script].map(str::to_owned).to_vec();
    Power::new(RebootCommand { command, dry_run: false }, boot(boot_id), Arc::new(journal))
}

async fn ask(power: &Power, delay: Duration) -> Result<(), HostError> {
    power.request_reboot("p", delay, "asked").await
}

fn rebooted(directory: &Path) -> bool {
    directory.join("rebooted").exists()
}

const HOUR: Duration = Duration::from_secs(3600);

#[tokio::test]
async fn a_reboot_runs_the_command_and_one_that_fails_may_be_asked_for_again() {
    let directory = tempfile::tempdir().unwrap();
    let power = power(&directory, journal(&directory), "b1");
    ask(&power, Duration::ZERO).await.unwrap();
    let error = ask(&power, Duration::ZERO).await.unwrap_err();
    let why = "a reboot is pending already, for `p`";
    assert_eq!(error, HostError::QuotaExceeded(why.into()));
    assert!(!rebooted(directory.path()));

    power.due().await;
    assert!(power.run().await.unwrap_err().ends_with("not today"));
    power.reboot().await;

    assert!(rebooted(directory.path()));
    assert_eq!(kept(&power.journal), None);
    ask(&power, HOUR).await.unwrap();
}

#[tokio::test]
async fn a_host_that_is_started_again_keeps_its_word_and_after_a_boot_it_has() {
    let directory = tempfile::tempdir().unwrap();
    let first = power(&directory, journal(&directory), "b1");
    ask(&first, HOUR).await.unwrap();
    first.journal.close().await;
    drop(first);

    let second = power(&directory, journal(&directory), "b1");
    let due = second.shared.lock().as_ref().unwrap().1;
    assert!(due <= Instant::now() + HOUR);
    second.journal.close().await;
    drop(second);

    let third = power(&directory, journal(&directory), "b2");
    assert!(third.shared.lock().is_none());
    ask(&third, HOUR).await.unwrap();
}

#[tokio::test]
async fn a_dry_run_only_says_what_it_would_do() {
    let directory = tempfile::tempdir().unwrap();
    let mut power = power(&directory, journal(&directory), "b1");
    power.command.dry_run = true;
    ask(&power, Duration::ZERO).await.unwrap();
    power.due().await;
    power.reboot().await;

    assert!(!rebooted(directory.path()));
    assert!(power.shared.lock().is_none());
}

#[tokio::test]
async fn a_full_disk_takes_no_reboot() {
    let directory = tempfile::tempdir().unwrap();
    let disk = TestDisk::default();
    let power = power(&directory, disk.journal(directory.path()), "b1");
    disk.fill_after(0);
    ask(&power, Duration::ZERO).await.unwrap_err();
    assert!(power.shared.lock().is_none());
    disk.make_room();
    ask(&power, HOUR).await.unwrap();
}
