//! Tests of requested reboots, with a command that creates a file.

use std::path::Path;

use plugin::Power as _;
use tempfile::TempDir;

use super::*;
use crate::journal::tests::{TestDisk, journal};

const HOUR: Duration = Duration::from_secs(3600);

const NO_LIMITS: RebootLimits = RebootLimits { per_hour: 255, min_uptime: Duration::ZERO };

/// Returns the power of a machine in the given boot. Its reboot command is a shell script.
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

/// Returns a power without limits. Its command creates the file `rebooted` and fails.
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
async fn a_reboot_runs_the_command_and_can_be_requested_again_after_a_failure() {
    let directory = tempfile::tempdir().unwrap();
    let power = power(&directory, journal(&directory), "b1").await;
    ask(&power, Duration::ZERO).await.unwrap();
    let error = ask(&power, Duration::ZERO).await.unwrap_err();
    let reason = "a reboot is pending already, for `p`";
    assert_eq!(error, HostError::QuotaExceeded(reason.into()));
    assert!(!rebooted(directory.path()));

    power.due().await;
    let reason = command::run(&power.command.command).await.unwrap_err();
    assert!(reason.ends_with("not today"), "{reason}");
    power.reboot().await;

    assert!(rebooted(directory.path()));
    assert_eq!(persisted_request(&power.journal), None);
    ask(&power, HOUR).await.unwrap();
}

#[tokio::test]
async fn a_request_survives_a_restart_of_the_host_and_ends_with_a_boot() {
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
    assert_eq!(persisted_request(&third.journal), None);
    ask(&third, HOUR).await.unwrap();
}

/// The command ends the host while it runs.
#[tokio::test]
async fn a_command_that_ended_the_host_does_not_run_again_in_the_same_boot() {
    let directory = tempfile::tempdir().unwrap();
    let first = power(&directory, journal(&directory), "b1").await;
    ask(&first, Duration::ZERO).await.unwrap();
    let request = first.shared.lock().clone().unwrap().0;
    first.begin(&request).await.unwrap();
    close(first).await;

    let second = power(&directory, journal(&directory), "b1").await;
    assert!(second.shared.lock().is_none(), "the request has ended");
    assert_eq!(persisted_request(&second.journal), None);
    second.reboot().await;
    assert!(!rebooted(directory.path()));
    ask(&second, HOUR).await.unwrap();
}

#[tokio::test]
async fn the_command_runs_only_after_its_start_was_persisted() {
    let directory = tempfile::tempdir().unwrap();
    let disk = TestDisk::default();
    let power = power(&directory, disk.journal(directory.path()), "b1").await;
    ask(&power, Duration::ZERO).await.unwrap();
    disk.fill_after(0);
    power.reboot().await;
    assert!(!rebooted(directory.path()), "the start was not persisted");
    assert!(power.shared.lock().is_none());
}

#[tokio::test(start_paused = true)]
async fn a_command_that_never_ends_runs_once() {
    let directory = tempfile::tempdir().unwrap();
    let script = "exec sleep 1000";
    let power = power_with(&directory, journal(&directory), "b1", NO_LIMITS, script).await;
    ask(&power, Duration::ZERO).await.unwrap();
    let begun = Instant::now();
    power.reboot().await;
    assert!(begun.elapsed() >= command::COMMAND_WAIT);
    assert_eq!(persisted_request(&power.journal), None);
    assert!(power.shared.lock().is_none());
}

#[tokio::test]
async fn a_command_without_effect_runs_once() {
    let directory = tempfile::tempdir().unwrap();
    let mut power = power_with(&directory, journal(&directory), "b1", NO_LIMITS, "true").await;
    power.reboot_wait = Duration::ZERO;
    ask(&power, Duration::ZERO).await.unwrap();
    power.reboot().await;
    assert_eq!(persisted_request(&power.journal), None);
    assert!(power.shared.lock().is_none());
}

#[tokio::test]
async fn the_number_of_reboots_per_hour_is_limited_across_boots() {
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
    let reason = "2 reboots within an hour; `reboots_per_hour` is 2";
    let refused = ask(&power, Duration::ZERO).await.unwrap_err();
    assert_eq!(refused, HostError::QuotaExceeded(reason.into()));
    assert_eq!(persisted_request(&power.journal), None);

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
    let reason = "the machine has been up for 240 s; `reboot_min_uptime` is 300 s";
    assert_eq!(refused, HostError::QuotaExceeded(reason.into()));
    // The uptime at the reboot counts, not at the request.
    ask(&power, Duration::from_secs(60)).await.unwrap();
}

#[tokio::test]
async fn a_dry_run_does_not_run_the_command() {
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
async fn a_full_disk_accepts_no_reboot() {
    let directory = tempfile::tempdir().unwrap();
    let disk = TestDisk::default();
    let power = power(&directory, disk.journal(directory.path()), "b1").await;
    disk.fill_after(0);
    ask(&power, Duration::ZERO).await.unwrap_err();
    assert!(power.shared.lock().is_none());
    disk.make_room();
    ask(&power, HOUR).await.unwrap();
}
