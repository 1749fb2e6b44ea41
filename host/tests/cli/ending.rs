//! The end of a host after a fault of its own.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::rig::{Running, identity, plugin, program};

/// A library that refuses the monotonic clock to the thread `journal`, once for each file
/// `clock-fails`, as a container's filter of system calls may do. The standard library panics
/// then.
const FAILING_CLOCK: &str = r#"
#define _GNU_SOURCE
#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

int clock_gettime(clockid_t clock, struct timespec *time) {
    char name[16];
    if (clock == CLOCK_MONOTONIC
        && pthread_getname_np(pthread_self(), name, sizeof name) == 0
        && strcmp(name, "journal") == 0
        && unlink("clock-fails") == 0) {
        errno = EPERM;
        return -1;
    }
    return syscall(SYS_clock_gettime, clock, time);
}
"#;

/// Compiles [`FAILING_CLOCK`] in a directory, and preloads it into a program.
fn preload(program: &mut Command, directory: &Path) {
    let (source, library) = (directory.join("clock.c"), directory.join("clock.so"));
    fs::write(&source, FAILING_CLOCK).unwrap();
    let compiled =
        Command::new("cc").args(["-shared", "-fPIC", "-o"]).arg(&library).arg(&source).status();
    assert!(compiled.unwrap().success());
    program.env("LD_PRELOAD", library);
}

#[test]
fn the_end_of_an_essential_task_ends_the_host_with_the_reason_in_one_line() {
    let toml = format!("[hub]\nport = 1\n{}", plugin("reply.wasm"));
    let mut host = Running::start_with(&toml, &identity(), |program| {
        let directory = program.get_current_dir().unwrap().to_owned();
        preload(program, &directory);
    });
    host.line_with("control socket open");
    fs::write(host.directory.path().join("clock-fails"), "").unwrap();
    // Its change of the journal wakes the thread. The host may end before it answers.
    let mut order = program(host.directory.path(), &["plugins", "disable", "p"], None);
    order.output().unwrap();

    let logged = host.line_with("the host stops, because it cannot work without this task");
    assert!(logged.contains("task `journal` panicked: "), "{logged}");
    let error = host.line_with("error: the host has a fault: ");
    let reason = error.strip_prefix("error: the host has a fault: task `journal` panicked: ");
    assert!(reason.unwrap().contains("PermissionDenied"), "{error}");
    assert_eq!(host.child.wait().unwrap().code(), Some(1));
}
