//! Commands whose output depends on their input alone.
//!
//! The compilers of JavaScript and Python store a snapshot of an interpreter's memory, and
//! that memory contains the time, random numbers and metadata of files. So they run under
//! `ptrace`: the results of the system calls that return such values are replaced before the
//! command sees them, and the clock of the vDSO, which needs no system call, is replaced by
//! code that returns a constant.
//!
//! The [decision record](../../../../docs/decisions/traced-builds.md) has the reasons.

mod answers;
mod memory;
mod vdso;

use std::collections::HashMap;
use std::io::{self, Read};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::process::{Child, Command, ExitStatus, Output};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use nix::errno::Errno;
use nix::libc;
use nix::sys::ptrace::{self, Options};
use nix::sys::signal::Signal;
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

use super::Running;
use answers::Answers;
use memory::Memory;

/// The events that stop a traced thread, and the death of all threads with this program.
const OPTIONS: Options = Options::PTRACE_O_TRACESYSGOOD
    .union(Options::PTRACE_O_TRACECLONE)
    .union(Options::PTRACE_O_TRACEFORK)
    .union(Options::PTRACE_O_TRACEVFORK)
    .union(Options::PTRACE_O_TRACEEXEC)
    .union(Options::PTRACE_O_EXITKILL);

/// Checks that this process may trace its children; a sandbox may forbid it.
pub(super) fn available() -> io::Result<()> {
    let mut probe = Command::new("true");
    let child = spawn(&mut probe)?;
    let pid = pid(&child);
    let stopped = waitpid(pid, None)?;
    if !matches!(stopped, WaitStatus::Stopped(..)) {
        return Err(Errno::EPERM.into());
    }
    ptrace::kill(pid)?;
    waitpid(pid, None)?;
    Ok(())
}

/// Starts a command under a tracer.
pub(super) fn start(mut command: Command) -> io::Result<Running> {
    // `waitpid` waits for the group, so it never takes the status of another child.
    command.process_group(0);
    let (started, first) = sync_channel(1);
    let (ended, end) = sync_channel(1);
    // The thread that starts a process is its tracer.
    thread::spawn(move || trace(&mut command, &started, &ended));
    let process = first.recv().expect("the thread sends before it ends")?;
    Ok(Running { process, end })
}

fn trace(
    command: &mut Command,
    started: &SyncSender<io::Result<u32>>,
    ended: &SyncSender<io::Result<Output>>,
) {
    // A failed send means that the receiver has given up, which ends this thread and with
    // it the command.
    let mut child = match spawn(command) {
        Ok(child) => child,
        Err(error) => return drop(started.send(Err(error))),
    };
    let stdout = read_all(child.stdout.take());
    let stderr = read_all(child.stderr.take());
    if started.send(Ok(child.id())).is_err() {
        return;
    }
    let status = Tracer::new(pid(&child)).and_then(Tracer::run);
    let output =
        status.map(|status| Output { status, stdout: joined(stdout), stderr: joined(stderr) });
    let _ = ended.send(output.map_err(io::Error::from));
}

/// Starts a command that stops at its first instruction.
#[allow(unsafe_code, reason = "only `pre_exec` runs code between fork and exec")]
fn spawn(command: &mut Command) -> io::Result<Child> {
    // SAFETY: the closure makes one system call, which is safe after `fork`.
    unsafe { command.pre_exec(|| ptrace::traceme().map_err(io::Error::from)) };
    command.spawn()
}

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("process numbers are positive `i32`s"))
}

fn read_all(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<Vec<u8>> {
    thread::spawn(move || {
        let mut output = Vec::new();
        // What has arrived before an error is output as well.
        let _ = pipe.map(|mut pipe| pipe.read_to_end(&mut output));
        output
    })
}

fn joined(output: JoinHandle<Vec<u8>>) -> Vec<u8> {
    output.join().unwrap_or_default()
}

/// A system call that a thread has entered: its number and arguments.
type Entered = (u64, [u64; 6]);

struct Tracer {
    leader: Pid,
    /// The traced threads, each with the system call that it has entered.
    threads: HashMap<Pid, Option<Entered>>,
    answers: Answers,
}

impl Tracer {
    fn new(leader: Pid) -> nix::Result<Tracer> {
        waitpid(leader, None)?;
        ptrace::setoptions(leader, OPTIONS)?;
        vdso::patch(&Memory::of(leader)?)?;
        ptrace::syscall(leader, None)?;
        let threads = HashMap::from([(leader, None)]);
        Ok(Tracer { leader, threads, answers: Answers::default() })
    }

    /// Runs the command until it ends.
    fn run(mut self) -> nix::Result<ExitStatus> {
        let group = Pid::from_raw(-self.leader.as_raw());
        loop {
            let (thread, signal) = match waitpid(group, Some(WaitPidFlag::__WALL))? {
                WaitStatus::Exited(thread, code) if thread == self.leader => {
                    return Ok(ExitStatus::from_raw(code << 8));
                }
                WaitStatus::Signaled(thread, signal, _) if thread == self.leader => {
                    return Ok(ExitStatus::from_raw(signal as i32));
                }
                WaitStatus::Exited(thread, _) | WaitStatus::Signaled(thread, ..) => {
                    self.threads.remove(&thread);
                    continue;
                }
                WaitStatus::PtraceSyscall(thread) => {
                    self.at_syscall(thread);
                    (thread, None)
                }
                WaitStatus::PtraceEvent(thread, _, event) => {
                    if event == libc::PTRACE_EVENT_EXEC {
                        // A failure leaves the real clock, so the output may differ.
                        let _ = Memory::of(thread).and_then(|memory| vdso::patch(&memory));
                    }
                    (thread, None)
                }
                WaitStatus::Stopped(thread, signal) => {
                    let new = !self.threads.contains_key(&thread);
                    self.threads.entry(thread).or_default();
                    // A new thread starts with a stop that is not the command's own.
                    (thread, Some(signal).filter(|signal| !(new && *signal == Signal::SIGSTOP)))
                }
                _ => continue,
            };
            // The thread may have been killed in the meantime.
            match ptrace::syscall(thread, signal) {
                Ok(()) | Err(Errno::ESRCH) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Handles a thread that enters or leaves a system call.
    #[allow(unsafe_code, reason = "`op` tells which field of the union is valid")]
    fn at_syscall(&mut self, thread: Pid) {
        let Ok(info) = ptrace::syscall_info(thread) else { return };
        let entered = self.threads.entry(thread).or_default();
        match info.op {
            libc::PTRACE_SYSCALL_INFO_ENTRY => {
                // SAFETY: `op` says that `entry` is valid.
                let entry = unsafe { info.u.entry };
                *entered = Some((entry.nr, entry.args));
            }
            libc::PTRACE_SYSCALL_INFO_EXIT => {
                // SAFETY: `op` says that `exit` is valid.
                let exit = unsafe { info.u.exit };
                let Some((number, arguments)) = entered.take() else { return };
                let Ok(returned) = usize::try_from(exit.sval) else { return };
                // A failure leaves the real answer, so the output may differ.
                let _ = self.answers.replace(thread, number, &arguments, returned);
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;
    use std::time::Duration;

    use super::super::{capture_output, command};
    use super::*;

    fn output(script: &str, dir: &Path) -> Output {
        let mut python = command("python3", dir);
        python.args(["-I", "-c", script]);
        capture_output(&mut python);
        start(python).unwrap().end.recv_timeout(Duration::from_secs(60)).unwrap().unwrap()
    }

    #[test]
    fn time_random_numbers_and_metadata_of_files_are_the_same_in_each_run() {
        const SCRIPT: &str = "
import os, subprocess, threading, time
def seen():
    names = os.listdir('.')
    print(time.time(), time.monotonic(), os.urandom(8).hex(), names)
    for name in names:
        at = os.stat(name)
        print(at.st_mtime, at.st_ctime, at.st_ino, at.st_dev)
thread = threading.Thread(target=seen)
thread.start()
thread.join()
seen()
print(subprocess.run(['date', '+%s'], capture_output=True).stdout)
";
        let seen = |names: [&str; 3]| {
            let dir = tempfile::tempdir().unwrap();
            names.iter().for_each(|name| std::fs::write(dir.path().join(name), "").unwrap());
            let output = output(SCRIPT, dir.path());
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        let first = seen(["a", "b", "c"]);
        assert!(first.contains("1000000000.0 1000000000.0"), "{first}");
        assert!(first.contains("['a', 'b', 'c']"), "{first}");
        assert_eq!(seen(["c", "b", "a"]), first);
    }

    #[test]
    fn the_exit_status_and_both_outputs_are_those_of_the_command() {
        let dir = tempfile::tempdir().unwrap();
        let ended = output(
            "import sys; print('out'); print('err', file=sys.stderr); sys.exit(3)",
            dir.path(),
        );
        assert_eq!(ended.status.code(), Some(3));
        assert_eq!((&*ended.stdout, &*ended.stderr), (&b"out\n"[..], &b"err\n"[..]));
        let killed = output("import os; os.kill(os.getpid(), 9)", dir.path());
        assert_eq!(killed.status.signal(), Some(9));
    }

    #[test]
    fn a_missing_command_is_an_error() {
        let error = start(command("no-such-tool", Path::new("/"))).err().unwrap();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }
}
