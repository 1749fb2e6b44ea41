//! The closed WASI.

use crate::rig::{Host, load};

#[tokio::test]
async fn wasi_has_no_files_and_no_environment_and_its_stderr_is_the_log() {
    let host = Host::default();
    let plugin = load("wasi.wat");

    let answer = host.call(&plugin, "look", "null").await.unwrap();
    assert_eq!(answer.status, 200);
    let line = |text| format!("reboot look call-1 Warn: {text} []");
    assert_eq!(host.log(), [line("nothing"), line(""), line("here")]);
}

#[tokio::test(start_paused = true)]
async fn a_sleep_by_wasis_clock_takes_its_time_virtual_or_not() {
    let answer = Host::default().call(&load("dozes.wat"), "monotonic", "null").await.unwrap();
    assert_eq!(answer.status, 200 + 20);
}
