//! A process and all that it has started, ended together.
//!
//! Not by a process group: a program of another group would not hear of the
//! Ctrl-C that ends us, and go on.

use rustix::process::{Pid, Signal, kill_process};

/// Ends the process and those that it has started, and they, as far as none of
/// them has given up its own.
pub(crate) fn end(root: u32) {
    let mut members = vec![root];
    // Who is stopped starts no more; so those of whom is stopped are all there are.
    let mut known = 0;
    while known < members.len() {
        members[known..].iter().for_each(|member| send(*member, Signal::STOP));
        known = members.len();
        let children = living().into_iter().filter(|(_, parent)| members.contains(parent));
        let new: Vec<u32> =
            children.map(|(child, _)| child).filter(|child| !members.contains(child)).collect();
        members.extend(new);
    }
    members.into_iter().for_each(|member| send(member, Signal::KILL));
}

fn send(process: u32, signal: Signal) {
    let pid = i32::try_from(process).ok().and_then(Pid::from_raw);
    // It may have ended by itself.
    let _ = pid.map(|pid| kill_process(pid, signal));
}

/// Every process, with the one that has started it.
#[cfg(target_os = "linux")]
fn living() -> Vec<(u32, u32)> {
    let processes = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let numbers = processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let parent = |process: u32| {
        let stat = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        // `7 (a name) S 1 ...`: the name may have anything in it.
        let (_, behind) = stat.rsplit_once(')')?;
        Some((process, behind.split_whitespace().nth(1)?.parse().ok()?))
    };
    numbers.filter_map(parent).collect()
}

/// The same, where there is no /proc.
#[cfg(not(target_os = "linux"))]
fn living() -> Vec<(u32, u32)> {
    let listed = std::process::Command::new("ps").args(["-A", "-o", "pid=,ppid="]).output();
    let listed = listed.map(|output| output.stdout).unwrap_or_default();
    let pair = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.parse().ok()?, words.next()?.parse().ok()?))
    };
    String::from_utf8_lossy(&listed).lines().filter_map(pair).collect()
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use super::*;
    use std::fs;
    use std::process::Command;
    use std::thread;
    use std::time::Duration;
    use std::time::Instant;

    /// Returns whether a process still runs and is not a zombie.
    fn runs(process: u32) -> bool {
        let stat = fs::read_to_string(format!("/proc/{process}/stat")).unwrap_or_default();
        stat.rsplit_once(')').is_some_and(|(_, behind)| !behind.starts_with(" Z"))
    }

    /// Polls until the condition holds, for at most a minute.
    fn until(condition: impl Fn() -> bool) {
        let begun = Instant::now();
        while !condition() {
            assert!(begun.elapsed() < Duration::from_secs(60), "not within a minute");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn a_process_ends_with_all_that_it_has_started() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("grandchild");
        let script = "sh -c 'echo $$ > new; mv new grandchild; exec sleep 1000' & wait";
        let mut child =
            Command::new("sh").args(["-c", script]).current_dir(dir.path()).spawn().unwrap();
        until(|| file.is_file());
        let grandchild: u32 = fs::read_to_string(file).unwrap().trim().parse().unwrap();
        assert!(runs(child.id()) && runs(grandchild) && runs(std::process::id()));

        end(child.id());

        assert!(!child.wait().unwrap().success());
        until(|| !runs(grandchild));
        assert!(runs(std::process::id()));
    }
}
