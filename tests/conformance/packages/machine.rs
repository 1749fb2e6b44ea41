//! A Debian system that systemd-nspawn has booted. Its changes are in memory only.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

use rig::until;
use tokio::process::Child;

use super::super::sdk::{available, exclusively, run};
use super::{libraries, skip, tools};

/// Packages in the system beside those that every Debian system has, and apt.
const PACKAGES: &str = "ca-certificates,systemd-sysv";

/// A booted system. Dropping it ends all of its processes.
pub(super) struct Machine {
    /// Process id of its systemd.
    leader: u32,
    nspawn: Child,
}

impl Machine {
    /// Boots a system in which `folder` is `/packages`. The system shares the network of this
    /// machine. Returns `None` after a message if systemd cannot be started here.
    pub(super) async fn boot(folder: &Path) -> Option<Machine> {
        static ROOT: OnceLock<Result<PathBuf, String>> = OnceLock::new();
        let root = available(ROOT.get_or_init(prepare))?;
        let tools = available(tools())?;
        let console = folder.join("console");
        let output = File::create(&console).unwrap();
        let mut nspawn = tokio::process::Command::new(tools.join("usr/bin/systemd-nspawn"));
        nspawn
            .args(["--quiet", "--boot", "--register=no", "--keep-unit", "--volatile=overlay"])
            .args(["--console=read-only", "--link-journal=no", "--machine=device"])
            .arg(format!("--directory={}", root.display()))
            .arg(format!("--bind-ro={}:/packages", folder.display()))
            .env("LD_LIBRARY_PATH", tools.join("usr/lib").join(libraries()).join("systemd"))
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .kill_on_drop(true);
        let mut nspawn = nspawn.spawn().unwrap();
        let id = nspawn.id().unwrap();
        let leader = until("systemd is started", || {
            let ended = nspawn.try_wait().unwrap().map(Err);
            let leader = leader(id).map(Ok);
            async move { ended.or(leader) }
        })
        .await;
        let Ok(leader) = leader else {
            let printed = fs::read_to_string(&console).unwrap();
            skip(&format!("systemd cannot be started here: {}", printed.trim_end()));
            return None;
        };
        let machine = Machine { leader, nspawn };
        until("systemd has booted", || async {
            let state = machine.run("systemctl is-system-running --wait");
            let state = state.unwrap_or_else(|reason| reason);
            ["running", "degraded"].iter().any(|it| state.contains(it)).then_some(())
        })
        .await;
        // As the installer of Debian does.
        machine.write("/etc/hosts", "127.0.0.1 localhost\n");
        Some(machine)
    }

    /// Runs a command of the shell, and returns its output or, if it fails, everything that it
    /// has printed.
    pub(super) fn run(&self, command: &str) -> Result<String, String> {
        let output = Command::new("nsenter")
            .args(["--all", "--target", &self.leader.to_string(), "--"])
            .args(["/usr/bin/env", "-i", "PATH=/usr/sbin:/usr/bin", "LC_ALL=C.UTF-8"])
            .args(["DEBIAN_FRONTEND=noninteractive", "/bin/sh", "-c", command])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
        match output.status.success() {
            true => Ok(text(&output.stdout)),
            false => Err(format!("{}{}", text(&output.stdout), text(&output.stderr))),
        }
    }

    /// Runs a command of the shell that succeeds, and returns its output.
    pub(super) fn must(&self, command: &str) -> String {
        self.run(command).unwrap_or_else(|reason| panic!("`{command}`: {reason}"))
    }

    /// Writes a file of the system.
    pub(super) fn write(&self, path: &str, contents: impl AsRef<[u8]>) {
        fs::write(format!("/proc/{}/root{path}", self.leader), contents).unwrap();
    }

    /// Returns the files of the system, without those that it creates anew at each boot.
    pub(super) fn files(&self) -> Vec<String> {
        let skipped = "/dev /packages /proc /run /sys /tmp".split(' ');
        let skipped = skipped.map(|path| format!("-path {path}")).collect::<Vec<_>>().join(" -o ");
        let listed = self.must(&format!("find / \\( {skipped} \\) -prune -o -print | sort"));
        listed.lines().map(str::to_owned).collect()
    }

    /// Powers the system off, and waits until it has ended.
    pub(super) async fn power_off(mut self) {
        self.must("systemctl poweroff --no-block");
        rig::within("systemd ends", self.nspawn.wait()).await.unwrap();
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let journal = self.run("journalctl --no-pager --lines=60");
            let journal = journal.unwrap_or_else(|reason| reason);
            writeln!(io::stderr(), "the last lines of the system's journal:\n{journal}").ok();
        }
        // Without it, the system would outlive systemd-nspawn.
        Command::new("kill").args(["-KILL", &self.leader.to_string()]).output().ok();
    }
}

/// Returns the process id of the systemd that systemd-nspawn has started.
fn leader(nspawn: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{nspawn}/task/{nspawn}/children")).ok()?;
    children.split_whitespace().find_map(|child| {
        let name = fs::read_to_string(format!("/proc/{child}/comm")).ok()?;
        (name.trim_end() == "systemd").then(|| child.parse().unwrap())
    })
}

/// Returns the folder of a system of the same release as this one, created by mmdebstrap.
fn prepare() -> Result<PathBuf, String> {
    let tools = tools().as_ref().map_err(Clone::clone)?;
    let release = fs::read_to_string("/etc/os-release").map_err(|e| format!("os-release: {e}"))?;
    let release = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME="));
    let release = release.ok_or("os-release has no VERSION_CODENAME")?;
    let folder = exclusively("debian-root", &format!("{release} {PACKAGES}"), |folder| {
        let root = folder.join("root");
        fs::remove_dir_all(&root).ok();
        let mut mmdebstrap = Command::new(tools.join("usr/bin/mmdebstrap"));
        mmdebstrap.args(["--quiet", "--mode=root", "--variant=apt"]);
        mmdebstrap.arg(format!("--include={PACKAGES}")).arg(release).arg(&root);
        run(&mut mmdebstrap).map(drop)
    })?;
    Ok(folder.join("root"))
}
