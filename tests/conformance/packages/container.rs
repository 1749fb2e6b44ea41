//! Containers that runc starts without privileges.
//!
//! Root maps a range of user ids that nobody has into a user namespace. Its root has no rights
//! outside, and runc, like every user's runc, creates the containers in it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use rig::until;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::process::{Child, Command};

use super::super::sdk::available;
use super::{libraries, tools};

/// First of the user ids outside, and their number.
const IDS: (u32, u32) = (1_000_000, 65_536);

/// Folder of bundles of containers, which belongs to the root of the user namespace.
pub(super) struct Containers {
    tools: &'static Path,
    folder: TempDir,
}

/// Running container. Dropping it kills its processes.
pub(super) struct Container {
    process: Child,
    folder: PathBuf,
}

impl Containers {
    /// Creates a folder for bundles. Returns `None` after a message without umoci and runc.
    pub(super) fn new() -> Option<Containers> {
        let tools = available(tools())?;
        let folder = tempfile::tempdir().unwrap();
        chown(folder.path(), Some(IDS.0), Some(IDS.0)).unwrap();
        Some(Containers { tools, folder })
    }

    /// Returns a folder for the files that a container gets.
    pub(super) fn path(&self) -> &Path {
        self.folder.path()
    }

    /// Unpacks an image, and starts it with further arguments and environment variables. `mount`
    /// is a folder of this machine and its path in the container.
    pub(super) async fn start(
        &self,
        image: &Path,
        arguments: &[&str],
        variables: &[(&str, &str)],
        mount: Option<(&Path, &str)>,
    ) -> Container {
        let name = image.file_name().unwrap().to_str().unwrap();
        let bundle = self.path().join(name);
        let copy = self.path().join(format!("{name}.image"));
        copy_for_root(image, &copy);
        let (first, count) = (0, IDS.1);
        let map = format!("{first}:{first}:{count}");
        let unpack = ["unpack", "--uid-map", &map, "--gid-map", &map, "--image"];
        let mut umoci = self.command("umoci");
        umoci.args(unpack).arg(format!("{}:1.0.0", copy.display())).arg(&bundle);
        let output = in_namespace(umoci.stdout(Stdio::piped())).await.wait_with_output().await;
        assert!(output.unwrap().status.success(), "umoci cannot unpack {name}");

        let config = bundle.join("config.json");
        let mut settings: Value = serde_json::from_slice(&fs::read(&config).unwrap()).unwrap();
        adapt(&mut settings, arguments, variables, mount);
        fs::write(&config, settings.to_string()).unwrap();
        let stderr = self.path().join(format!("{name}.stderr"));
        let mut runc = self.command("runc");
        runc.arg("--root").arg(self.path().join("runc")).args(["run", "--bundle"]).arg(&bundle);
        runc.arg("--pid-file").arg(self.path().join(format!("{name}.pid"))).arg(name);
        runc.stdout(Stdio::piped()).stderr(File::create(stderr).unwrap());
        Container { process: in_namespace(&mut runc).await, folder: bundle }
    }

    fn command(&self, tool: &str) -> Command {
        let mut command = namespace_command();
        let folders = ["usr/bin", "usr/sbin"].map(|folder| self.tools.join(folder).join(tool));
        command.arg(folders.into_iter().find(|path| path.exists()).unwrap());
        command.env("LD_LIBRARY_PATH", self.tools.join("usr/lib").join(libraries()));
        command.env("XDG_RUNTIME_DIR", self.path()).env("HOME", self.path());
        command
    }
}

impl Container {
    /// Returns the next line of the program's output.
    pub(super) async fn line(&mut self) -> String {
        let output = self.process.stdout.take().expect("the output is read once");
        let mut line = String::new();
        let mut output = BufReader::new(output);
        rig::within("the container prints a line", output.read_line(&mut line)).await.unwrap();
        assert!(!line.is_empty(), "{}", self.errors());
        line
    }

    /// Returns a file of the container.
    pub(super) fn file(&self, path: &str) -> PathBuf {
        self.folder.join("rootfs").join(path.trim_start_matches('/'))
    }

    /// Returns the user id of the program, as it is in the container.
    pub(super) fn user(&self) -> u32 {
        let process = self.process_id().unwrap();
        let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
        let user = status.lines().find_map(|line| line.strip_prefix("Uid:")).unwrap();
        user.split_whitespace().next().unwrap().parse::<u32>().unwrap() - IDS.0
    }

    /// Returns everything that the program has printed as errors, with its log.
    pub(super) fn errors(&self) -> String {
        fs::read_to_string(self.folder.with_extension("stderr")).unwrap_or_default()
    }

    /// Sends SIGTERM to the program, and waits until the container has ended.
    pub(super) async fn stop(mut self) {
        self.signal("-TERM");
        let ended = rig::within("the container ends", self.process.wait()).await.unwrap();
        assert!(ended.success(), "{ended}: {}", self.errors());
    }

    /// Returns the process id of the program.
    fn process_id(&self) -> Option<String> {
        fs::read_to_string(self.folder.with_extension("pid")).ok()
    }

    fn signal(&self, signal: &str) {
        let id = self.process_id();
        id.map(|id| std::process::Command::new("kill").args([signal, &id]).output().unwrap());
    }
}

impl Drop for Container {
    fn drop(&mut self) {
        // Without it, the container would outlive runc. An ended one has no process.
        if self.process.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.signal("-KILL");
        }
        if std::thread::panicking() {
            writeln!(io::stderr(), "{}: {}", self.folder.display(), self.errors()).ok();
        }
    }
}

/// Changes the settings of a bundle: the container shares the network of this machine, and is in
/// the user namespace of runc.
fn adapt(
    settings: &mut Value,
    arguments: &[&str],
    variables: &[(&str, &str)],
    mount: Option<(&Path, &str)>,
) {
    settings["process"]["terminal"] = false.into();
    settings["process"]["capabilities"] = json!({});
    let list = |value: &mut Value, keep: &dyn Fn(&Value) -> bool, add: Vec<Value>| {
        let list = value.as_array_mut().unwrap();
        list.retain(keep);
        list.extend(add);
    };
    let texts = arguments.iter().map(|&argument| argument.into()).collect();
    list(&mut settings["process"]["args"], &|_| true, texts);
    let texts = variables.iter().map(|(name, value)| format!("{name}={value}").into()).collect();
    list(&mut settings["process"]["env"], &|_| true, texts);
    // Without a network of its own, a container cannot mount /sys. Volumes keep the folders of the
    // image.
    let kept = |mount: &Value| {
        let path = mount["destination"].as_str().unwrap();
        path != "/sys" && !path.starts_with("/var/")
    };
    let mounts = mount.map(|(folder, path)| {
        json!({"destination": path, "source": folder, "type": "bind", "options": ["rbind", "ro"]})
    });
    list(&mut settings["mounts"], &kept, mounts.into_iter().collect());
    let shared = |namespace: &Value| namespace["type"] != "network" && namespace["type"] != "user";
    list(&mut settings["linux"]["namespaces"], &shared, Vec::new());
    for key in ["uidMappings", "gidMappings", "resources"] {
        settings["linux"].as_object_mut().unwrap().remove(key);
    }
}

/// Returns a command that waits for a line, and then runs its arguments as root of a user
/// namespace.
fn namespace_command() -> Command {
    let mut command = Command::new("unshare");
    let run = "read -r _; exec setpriv --reuid=0 --regid=0 --clear-groups \"$@\" </dev/null";
    command.args(["--user", "--keep-caps", "sh", "-c", run, "sh"]);
    command.stdin(Stdio::piped()).kill_on_drop(true);
    command
}

/// Starts such a command, after the ids of its user namespace are mapped.
async fn in_namespace(command: &mut Command) -> Child {
    let mut child = command.spawn().unwrap();
    let process = PathBuf::from(format!("/proc/{}", child.id().unwrap()));
    let own = fs::read_link("/proc/self/ns/user").unwrap();
    until("the user namespace is created", || async {
        fs::read_link(process.join("ns/user")).ok().filter(|namespace| *namespace != own)
    })
    .await;
    for map in ["uid_map", "gid_map"] {
        fs::write(process.join(map), format!("0 {} {}", IDS.0, IDS.1)).unwrap();
    }
    child.stdin.take().unwrap().write_all(b"\n").await.unwrap();
    child
}

/// Copies a folder for the root of the user namespace.
fn copy_for_root(from: &Path, to: &Path) {
    fs::create_dir(to).unwrap();
    chown(to, Some(IDS.0), Some(IDS.0)).unwrap();
    for entry in fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let copy = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_for_root(&entry.path(), &copy);
        } else {
            fs::copy(entry.path(), &copy).unwrap();
            chown(&copy, Some(IDS.0), Some(IDS.0)).unwrap();
        }
    }
}
