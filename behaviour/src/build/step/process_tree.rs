//! Termination of a process together with its descendants.
//!
//! A process group is not an alternative. The terminal sends Ctrl-C only to its foreground
//! group, so a tool in another group would outlive this program.

use rustix::process::{Pid, Signal, kill_process};

/// Kills a process and its descendants, except processes whose parent has already ended.
pub(crate) fn kill(root: u32) {
    let mut members = vec![root];
    // A stopped process cannot start children, so the list is complete once all are stopped.
    let mut known = 0;
    while known < members.len() {
        members[known..].iter().for_each(|member| send(*member, Signal::STOP));
        known = members.len();
        let children = processes().into_iter().filter(|(_, parent)| members.contains(parent));
        let new: Vec<u32> =
            children.map(|(child, _)| child).filter(|child| !members.contains(child)).collect();
        members.extend(new);
    }
    members.into_iter().for_each(|member| send(member, Signal::KILL));
}

fn send(process: u32, signal: Signal) {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
    // The process may have ended.
    let _ = pid.map(|pid| kill_process(pid, signal));
}

/// Returns the ids of every process and its parent.
#[cfg(target_os = "linux")]
fn processes() -> Vec<(u32, u32)> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let parent = |process: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // In `7 (a name) S 1 ...`, the name can contain any character.
        let (_, behind) = stat.rsplit_once(')')?;
        Some((process, behind.split_whitespace().nth(1)?.parse().ok()?))
    };
    numbers.filter_map(parent).collect()
}

/// Returns the ids of every process and its parent on systems without /proc.
#[cfg(not(target_os = "linux"))]
fn processes() -> Vec<(u32, u32)> {
    let output = std::process::Command::new("ps").args(["-A", "-o", "pid=,ppid="]).output();
    let output = output.map(|output| output.stdout).unwrap_or_default();
    let pair = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    };
    String::from_utf8_lossy(&output).lines().filter_map(pair).collect()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::fs;
    use std::process::Command;
    use std::thread;
    use std::time::Duration;
    use std::time::Instant;

    /// Returns `true` if a process is still running and is not a zombie.
    fn runs(process: u32) -> bool {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, behind)| !behind.starts_with(" Z"))
    }

    /// Polls until the condition holds, for at most a minute.
    fn until(condition: impl Fn() -> bool) {
        let started = Instant::now();
        while !condition() {
            assert!(started.elapsed() < Duration::from_secs(60), "not within a minute");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_process_is_killed_with_its_descendants() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("grandchild");
        let script = "sh -c 'echo $$ > new; mv new grandchild; exec sleep 1000' & wait";
        let mut child =
            Command::new("sh").args(["-c", script]).current_dir(dir.path()).spawn().unwrap();
        until(|| file.is_file());
        let grandchild: u32 = fs::read_to_string(file).unwrap().trim().parse().unwrap();
        assert!(runs(child.id()) && runs(grandchild) && runs(std::process::id()));

        kill(child.id());

        assert!(!child.wait().unwrap().success());
        until(|| !runs(grandchild));
        assert!(runs(std::process::id()));
    }
}
