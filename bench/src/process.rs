//! A measured process, which is observed through `/proc`.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, bail};
use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// A running program. Dropping it kills the process.
pub(crate) struct Process {
    child: Child,
    name: String,
    log: PathBuf,
}

/// The memory of a process.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Memory {
    pub(crate) resident_bytes: u64,
    /// Resident bytes, with shared pages divided among the processes that share them.
    pub(crate) proportional_bytes: u64,
    /// The peak of the resident bytes.
    pub(crate) peak_bytes: u64,
}

/// Counters of a process, from the kernel.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Events {
    pub(crate) page_faults: u64,
    /// Context switches of all threads.
    pub(crate) switches: u64,
}

/// A running `perf` that counts the system calls of a process.
pub(crate) struct SystemCalls(Option<Child>);

impl Process {
    /// Starts a program that logs to a file in a subfolder of `folder`. The host watches the
    /// folder of its configuration, so each line in a file in `folder` itself would wake it.
    pub(crate) fn start(
        name: &str,
        folder: &Path,
        mut command: Command,
    ) -> anyhow::Result<Process> {
        let folder = folder.join("logs");
        fs::create_dir_all(&folder)?;
        let log = folder.join(name).with_extension("log");
        let file = File::create(&log).with_context(|| log.display().to_string())?;
        let child = command
            .stdin(Stdio::null())
            .stderr(file.try_clone()?)
            .stdout(file)
            .spawn()
            .with_context(|| format!("cannot start `{name}`"))?;
        Ok(Process { child, name: name.to_owned(), log })
    }

    /// Returns the complete output of the program.
    pub(crate) fn printed(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Returns an error with the last lines of the log if the process has ended.
    pub(crate) fn check(&mut self) -> anyhow::Result<()> {
        if let Some(status) = self.child.try_wait()? {
            let printed = self.printed();
            let last: Vec<_> = printed.lines().rev().take(5).collect();
            bail!("{} ended with {status}: {}", self.name, last.join(" / "));
        }
        Ok(())
    }

    /// Returns the processor time of all threads, including those that have ended.
    pub(crate) fn processor_time(&self) -> Duration {
        let id = i32::try_from(self.child.id()).expect("the kernel's process ids are positive");
        // `/proc/PID/stat` has the same time in steps of 10 ms.
        let clock = clock_getcpuclockid(Pid::from_raw(id)).and_then(clock_gettime);
        clock.expect("a process has a clock until its parent has waited for it").into()
    }

    /// Returns the counters of the process. Threads that have ended are not included.
    pub(crate) fn events(&self) -> Events {
        let stat = fs::read_to_string(self.file("stat")).unwrap_or_default();
        // After the name in brackets, field 8 is the number of minor page faults.
        let fields = stat.rsplit(')').next().unwrap_or_default();
        let page_faults = fields.split_whitespace().nth(7).and_then(|field| field.parse().ok());
        let threads = fs::read_dir(self.file("task")).into_iter().flatten().flatten();
        let switches = threads.map(|thread| {
            let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
            let lines = status.lines().filter_map(|line| line.split_once("ctxt_switches:"));
            lines.filter_map(|(_, number)| number.trim().parse::<u64>().ok()).sum::<u64>()
        });
        Events { page_faults: page_faults.unwrap_or_default(), switches: switches.sum() }
    }

    /// Starts counting the system calls of all threads.
    pub(crate) fn count_system_calls(&self) -> SystemCalls {
        let mut perf = Command::new("perf");
        perf.args(["stat", "-x", ",", "-e", "raw_syscalls:sys_enter", "-p"]);
        perf.arg(self.child.id().to_string());
        let streams = perf.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        SystemCalls(streams.spawn().ok())
    }

    pub(crate) fn memory(&self) -> Memory {
        let status = fs::read_to_string(self.file("status")).unwrap_or_default();
        let rollup = fs::read_to_string(self.file("smaps_rollup")).unwrap_or_default();
        Memory {
            resident_bytes: kib(&status, "VmRSS:"),
            proportional_bytes: kib(&rollup, "Pss:"),
            peak_bytes: kib(&status, "VmHWM:"),
        }
    }

    /// Sends SIGTERM, as a service manager does, and waits until the process has ended.
    pub(crate) fn stop(mut self) -> anyhow::Result<()> {
        let id = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &id]).status().context("kill")?;
        self.child.wait()?;
        Ok(())
    }

    fn file(&self, name: &str) -> PathBuf {
        Path::new("/proc").join(self.child.id().to_string()).join(name)
    }
}

impl SystemCalls {
    /// Stops counting and returns the number of system calls, or `None` if `perf` is missing or
    /// not permitted.
    pub(crate) fn end(self) -> Option<u64> {
        let perf = self.0?;
        // `perf` prints its counts when it is interrupted.
        Command::new("kill").args(["-INT", &perf.id().to_string()]).status().ok()?;
        let output = perf.wait_with_output().ok()?;
        String::from_utf8_lossy(&output.stderr).split(',').next()?.trim().parse().ok()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may already have ended.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn kib(text: &str, name: &str) -> u64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    number.unwrap_or_default() * 1024
}
