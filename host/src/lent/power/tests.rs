//! Reboots that are asked for, on a machine whose reboot is a file.

use std::path::Path;

use plugin::Power as _;
use tempfile::TempDir;

use super::*;
use crate::journal::tests::{TestDisk, journal};

const HOUR: Duration = Duration::from_secs(3600);

const NO_LIMITS: RebootLimits = RebootLimits { per_hour: 255, min_uptime: Duration::ZERO };

/// A power in a boot of the machine, whose command is a script.
async fn power_with(
    directory: &TempDir,
    journal: Journal,
    boot: &str,
    limits: RebootLimits,
    script: &str,
) -> Power {
    let command = ["sh", "-c", script].map(str::to_owned).to_vec();
    let file = |name| directory.path().join(name);
    let machine = Machine { boot_id: file("boot_id"), uptime: file("uptime") };
    let boot = Some(Boot { id: boot.to_owned() });
    let command = RebootCommand { command, dry_run: false };
    Power::open((command, limits), machine, boot, Arc::new(journal)).await
}

/// A power without limits, whose command makes the file `rebooted`, and fails.
async fn power(directory: &TempDir, journal: Journal, boot: &str) -> Power {
    let file = directory.path().join("rebooted");
    let script = format!("touch '{}'; echo not today >&2; exit 3", file.display());
    power_with(directory, journal, boot, NO_LIMITS, &script).await
}

async fn ask(power: &Power, delay: Duration) -> Result<(), HostError> {
    power.request_reboot("p", delay, "asked").await
}

fn rebooted(directory: &Path) -> bool {
    directory.join("rebooted").exists()
}

async fn close(power: Power) {
    power.journal.close().await;
}

fn set_uptime(directory: &TempDir, minutes: u64) {
    std::fs::write(directory.path().join("uptime"), format!("{}.00 0.00\n", minutes * 60)).unwrap();
}

#[tokio::test]
async fn a_reboot_runs_the_command_and_one_that_fails_may_be_asked_for_again() {
    let directory = tempfile::tempdir().unwrap();
    let power = power(&directory, journal(&directory), "b1").await;
    ask(&power, Duration::ZERO).await.unwrap();
    let error = ask(&power, Duration::ZERO).await.unwrap_err();
    let why = "a reboot is pending already, for `p`";
    assert_eq!(error, HostError::QuotaExceeded(why.into()));
    assert!(!rebooted(directory.path()));

    power.due().await;
    let why = command::run(&power.command.command).await.unwrap_err();
    assert!(why.ends_with("not today"), "{why}");
    power.reboot().await;

    assert!(rebooted(directory.path()));
    assert_eq!(kept(&power.journal), None);
    ask(&power, HOUR).await.unwrap();
}

#[tokio::test]
async fn a_host_that_is_started_again_keeps_its_word_and_after_a_boot_it_has() {
    let directory = tempfile::tempdir().unwrap();
    let first = power(&directory, journal(&directory), "b1").await;
    ask(&first, HOUR).await.unwrap();
    close(first).await;

    let second = power(&directory, journal(&directory), "b1").await;
    let due = second.shared.lock().as_ref().unwrap().1;
    assert!(due <= Instant::now() + HOUR);
    close(second).await;

    let third = power(&directory, journal(&directory), "b2").await;
    assert!(third.shared.lock().is_none());
    assert_eq!(kept(&third.journal), None);
    ask(&third, HOUR).await.unwrap();
}

/// The host that runs the command ends while it runs.
#[tokio::test]
async fn a_command_that_ended_the_host_is_not_run_again_in_the_same_boot() {
    let directory = tempfile::tempdir().unwrap();
    let first = power(&directory, journal(&directory), "b1").await;
    ask(&first, Duration::ZERO).await.unwrap();
    let request = first.shared.lock().clone().unwrap().0;
    first.begin(&request).await.unwrap();
    close(first).await;

    let second = power(&directory, journal(&directory), "b1").await;
    assert!(second.shared.lock().is_none(), "it is over");
    assert_eq!(kept(&second.journal), None);
    second.reboot().await;
    assert!(!rebooted(directory.path()));
    ask(&second, HOUR).await.unwrap();
}

#[tokio::test]
async fn the_journal_says_that_the_command_has_begun_before_it_begins() {
    let directory = tempfile::tempdir().unwrap();
    let disk = TestDisk::default();
    let power = power(&directory, disk.journal(directory.path()), "b1").await;
    ask(&power, Duration::ZERO).await.unwrap();
    disk.fill_after(0);
    power.reboot().await;
    assert!(!rebooted(directory.path()), "what cannot be noted is not done");
    assert!(power.shared.lock().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_command_that_never_ends_is_given_up_after_one_try() {
    let directory = tempfile::tempdir().unwrap();
    let script = "exec sleep 1000";
    let power = power_with(&directory, journal(&directory), "b1", NO_LIMITS, script).await;
    ask(&power, Duration::ZERO).await.unwrap();
    let begun = Instant::now();
    power.reboot().await;
    assert!(begun.elapsed() >= command::COMMAND_WAIT);
    assert_eq!(kept(&power.journal), None);
    assert!(power.shared.lock().is_none());
}

#[tokio::test]
async fn a_command_that_does_nothing_is_given_up_after_one_try() {
    let directory = tempfile::tempdir().unwrap();
    let mut power = power_with(&directory, journal(&directory), "b1", NO_LIMITS, "true").await;
    power.reboot_wait = Duration::ZERO;
    ask(&power, Duration::ZERO).await.unwrap();
    power.reboot().await;
    assert_eq!(kept(&power.journal), None);
    assert!(power.shared.lock().is_none());
}

#[tokio::test]
async fn only_so_many_reboots_happen_within_an_hour_whatever_boots_they_are_of() {
    let directory = tempfile::tempdir().unwrap();
    let limits = RebootLimits { per_hour: 2, min_uptime: Duration::ZERO };
    set_uptime(&directory, 1);
    for boot in ["b1", "b2"] {
        let power = power_with(&directory, journal(&directory), boot, limits, "true").await;
        ask(&power, Duration::ZERO).await.unwrap();
        let request = power.shared.lock().clone().unwrap().0;
        power.begin(&request).await.unwrap();
        close(power).await;
    }
    let power = power_with(&directory, journal(&directory), "b3", limits, "true").await;
    let why = "2 reboots within an hour; `reboots_per_hour` is 2";
    let refused = ask(&power, Duration::ZERO).await.unwrap_err();
    assert_eq!(refused, HostError::QuotaExceeded(why.into()));
    assert_eq!(kept(&power.journal), None);

    set_uptime(&directory, 60);
    ask(&power, Duration::ZERO).await.unwrap();
}

#[tokio::test]
async fn a_command_that_fails_does_not_count_as_a_reboot() {
    let directory = tempfile::tempdir().unwrap();
    let limits = RebootLimits { per_hour: 1, min_uptime: Duration::ZERO };
    let power = power_with(&directory, journal(&directory), "b1", limits, "exit 1").await;
    for _ in 0..3 {
        ask(&power, Duration::ZERO).await.unwrap();
        power.reboot().await;
    }
}

#[tokio::test]
async fn a_machine_that_has_just_booted_is_not_rebooted() {
    let directory = tempfile::tempdir().unwrap();
    let limits = RebootLimits { min_uptime: Duration::from_secs(300), ..NO_LIMITS };
    set_uptime(&directory, 4);
    let power = power_with(&directory, journal(&directory), "b1", limits, "true").await;
    let refused = ask(&power, Duration::from_secs(59)).await.unwrap_err();
    let why = "the machine has been up for 240 s; `reboot_min_uptime` is 300 s";
    assert_eq!(refused, HostError::QuotaExceeded(why.into()));
    // It counts until the reboot, not until the request.
    ask(&power, Duration::from_secs(60)).await.unwrap();
}

#[tokio::test]
async fn a_dry_run_only_says_what_it_would_do() {
    let directory = tempfile::tempdir().unwrap();
    let mut power = power(&directory, journal(&directory), "b1").await;
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
    let power = power(&directory, disk.journal(directory.path()), "b1").await;
    disk.fill_after(0);
    ask(&power, Duration::ZERO).await.unwrap_err();
    assert!(power.shared.lock().is_none());
    disk.make_room();
    ask(&power, HOUR).await.unwrap();
}
