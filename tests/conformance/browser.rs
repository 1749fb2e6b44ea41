//! The explorer page of the hub in Chromium.
//!
//! Chromium is Debian's package, installed or unpacked below the target directory, and
//! Playwright from npm drives it. The script measures and prints, but asserts no times.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use protocol::sas;
use rig::{Rig, config};
use tokio::time::timeout;

use super::sdk::{available, exclusively, run, scripts};

const MANIFEST: &str = include_str!("browser/package.json");
const LOCK: &str = include_str!("browser/package-lock.json");
const SCRIPT: &str = "explorer.js";

/// Number of devices beside the one that is connected and the one with an odd id.
const DEVICES: usize = 5000;

/// Id with characters that are special in HTML, in scripts and in paths.
const ODD_DEVICE: &str = "a'+alert(1)+'%2f*$?:,=@#";

/// Time limit of the script, which takes two minutes on two cores that are not busy otherwise.
const LIMIT: Duration = Duration::from_secs(600);

/// The installed browser and the folder of the script.
struct Browser {
    chromium: PathBuf,
    folder: PathBuf,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_explores_a_hub_with_5000_devices_in_chromium() {
    static BROWSER: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    let Some(folder) = available(BROWSER.get_or_init(prepare)) else { return };
    let browser = Browser { chromium: folder.join("chromium"), folder: folder.to_owned() };
    let rig = Rig::new().reboot(config("delay_seconds", 0)).start().await;
    let hub = rig.hub();
    for number in 0..DEVICES {
        hub.create_device(&format!("pump-{number:05}").parse().unwrap()).unwrap();
    }
    hub.create_device(&ODD_DEVICE.parse().unwrap()).unwrap();

    let output = browser.explore(&rig).await;
    show(&output);
    assert!(output.trim_end().ends_with("done"), "{output}");
}

/// Prints the measured figures, which `--nocapture` shows.
#[allow(clippy::print_stdout, reason = "figures for a person, who compares them between runs")]
fn show(output: &str) {
    println!("{output}");
}

impl Browser {
    /// Runs the script, and returns its output.
    async fn explore(&self, rig: &rig::Running) -> String {
        let owner = rig.hub().service_connection_string();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let token = sas::sign(owner.host.name(), Some(&owner.policy), &owner.key, now + 3600);
        let mut command = tokio::process::Command::new("node");
        command
            .arg(self.folder.join(SCRIPT))
            .env("EXPLORER_LINK", rig.hub().explorer_link().unwrap())
            .env("HUB_TOKEN", token.to_string())
            .env("NODE_EXTRA_CA_CERTS", rig.ca_file())
            .env("CHROMIUM", &self.chromium)
            .env("DEVICE", rig::DEVICE)
            .env("ODD_DEVICE", ODD_DEVICE)
            .kill_on_drop(true);
        // The images of the documentation are made by this test, on request.
        if std::env::var_os("WRITE_DOCS").is_some() {
            command.env("SHOTS", rig::workspace().join("docs/images"));
        }
        let output = timeout(LIMIT, command.output()).await.unwrap().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        text(&output.stderr) + &text(&output.stdout)
    }
}

/// Returns a folder with the script, Playwright and a program `chromium`.
fn prepare() -> Result<PathBuf, String> {
    let version = run(Command::new("node").arg("--version"))?;
    let folder = exclusively("conformance-browser", &format!("{version}{LOCK}"), |folder| {
        for (file, text) in [("package.json", MANIFEST), ("package-lock.json", LOCK)] {
            fs::write(folder.join(file), text).map_err(|e| format!("{file}: {e}"))?;
        }
        let arguments = ["ci", "--no-audit", "--no-fund", "--ignore-scripts", "--silent"];
        run(Command::new("npm").args(arguments).current_dir(folder))?;
        let chromium = match Path::new("/usr/bin/chromium") {
            installed if installed.exists() => {
                format!("#!/bin/sh\nexec {} \"$@\"\n", installed.display())
            }
            _ => unpack(folder)?,
        };
        let program = folder.join("chromium");
        fs::write(&program, chromium).map_err(|e| format!("chromium: {e}"))?;
        let executable = fs::Permissions::from_mode(0o755);
        fs::set_permissions(&program, executable).map_err(|e| format!("chromium: {e}"))
    })?;
    let script = scripts().join("browser").join(SCRIPT);
    fs::copy(script, folder.join(SCRIPT)).map_err(|e| format!("{SCRIPT}: {e}"))?;
    Ok(folder)
}

/// Downloads Chromium and the libraries that it lacks, and unpacks them. Returns a script that
/// starts it.
fn unpack(folder: &Path) -> Result<String, String> {
    let (packages, root) = (folder.join("packages"), folder.join("root"));
    fs::remove_dir_all(&packages).ok();
    fs::remove_dir_all(&root).ok();
    fs::create_dir_all(&packages).map_err(|e| format!("packages: {e}"))?;
    // A machine that was just installed has no lists of packages.
    if missing_packages().is_err() {
        run(Command::new("apt-get").arg("update"))?;
    }
    let download = Command::new("apt-get")
        .args(["--quiet=2", "download"])
        .args(missing_packages()?)
        .current_dir(&packages)
        .output()
        .map_err(|e| format!("apt-get: {e}"))?;
    if !download.status.success() {
        return Err(format!("apt-get: {}", String::from_utf8_lossy(&download.stderr)));
    }
    for package in fs::read_dir(&packages).map_err(|e| format!("packages: {e}"))? {
        let package = package.map_err(|e| format!("packages: {e}"))?.path();
        run(Command::new("dpkg").arg("-x").arg(package).arg(&root))?;
    }
    fs::remove_dir_all(&packages).ok();
    let root = root.display();
    let libraries = ["", "/pulseaudio"]
        .map(|inner| format!("{root}/usr/lib/{}-linux-gnu{inner}", std::env::consts::ARCH));
    Ok(format!(
        "#!/bin/sh\nLD_LIBRARY_PATH={} exec {root}/usr/lib/chromium/chromium \"$@\"\n",
        libraries.join(":")
    ))
}

/// Returns the names of Chromium's package and of those that it needs and the system lacks.
fn missing_packages() -> Result<Vec<String>, String> {
    let arguments = ["--quiet=2", "--print-uris", "--no-install-recommends", "install"];
    let listed = run(Command::new("apt-get").args(arguments).arg("chromium"))?;
    // Each line has an address, the name of a file, its size and its digest.
    let names = listed.lines().filter_map(|line| line.split(' ').nth(1)?.split('_').next());
    Ok(names.map(str::to_owned).collect())
}
