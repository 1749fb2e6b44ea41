//! Builds the programs and the guest of a run, and installs the official SDKs.
//!
//! Everything is built once, below the target directory. The SDKs are installed from their
//! registries with pip and npm.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, bail};

/// The profile in Cargo.toml for distribution builds.
const PROFILE: &str = "dist";

/// The files of the built programs.
#[derive(Clone)]
pub(crate) struct Programs {
    pub(crate) bench: PathBuf,
    pub(crate) hub: PathBuf,
    pub(crate) host: PathBuf,
    /// Another build of the host, for comparison.
    pub(crate) other_host: Option<PathBuf>,
    pub(crate) service: PathBuf,
    /// The author's tool.
    pub(crate) behaviour: PathBuf,
    /// The component of `bench/probe`.
    pub(crate) probe: PathBuf,
    pub(crate) target: PathBuf,
    sdks: PathBuf,
}

/// The installed official SDKs.
#[derive(Clone)]
pub(crate) struct Sdks {
    pub(crate) python: PathBuf,
    pub(crate) node_modules: PathBuf,
}

impl Programs {
    /// Builds the programs of this workspace with the profile for distribution. This program
    /// is one of them, since it is also the bare device. Their profile is that of distribution
    /// builds unless they are `unoptimised`.
    pub(crate) fn build(unoptimised: bool) -> anyhow::Result<Programs> {
        let (profile, folder) = if unoptimised { ("dev", "debug") } else { (PROFILE, PROFILE) };
        let this_program = std::env::current_exe()?;
        let target =
            this_program.ancestors().nth(2).context("the program is in the target directory")?;
        let (target, folder) = (target.to_owned(), target.join(folder));
        let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
        let mut build = Command::new(cargo);
        build.current_dir(workspace()).args(["build", "--profile", profile]);
        // Selecting the whole workspace avoids a second build with other features.
        build.args(["--workspace", "--bin=behaviour-hub", "--bin=behaviour-host"]);
        build.args(["--bin=behaviour-service", "--bin=behaviour", "--bin=bench"]);
        build.arg("--target-dir").arg(&target);
        crate::say("building the programs, which takes minutes the first time");
        run(build)?;

        let progress = |line: &str| crate::say(&format!("probe: {line}"));
        let options = behaviour::BuildOptions { progress: &progress, ..Default::default() };
        let probe = behaviour::build(&workspace().join("bench/probe"), &options)?.path;
        Ok(Programs {
            hub: folder.join("behaviour-hub"),
            host: folder.join("behaviour-host"),
            other_host: None,
            service: folder.join("behaviour-service"),
            behaviour: folder.join("behaviour"),
            bench: folder.join("bench"),
            probe,
            sdks: target.join("bench"),
            target,
        })
    }

    /// Returns the folder of the tools of the guests' languages.
    pub(crate) fn tools(&self) -> PathBuf {
        self.sdks.join("toolchains")
    }

    /// Returns Debian's `docker-registry`, which is unpacked below the target directory unless it
    /// is installed.
    pub(crate) fn docker_registry(&self) -> anyhow::Result<PathBuf> {
        let (name, program) = ("docker-registry", "usr/bin/docker-registry");
        let installed = Path::new("/").join(program);
        let (folder, unpacked) = (self.sdks.join(name), self.sdks.join(name).join(program));
        if let Some(found) = [installed, unpacked.clone()].into_iter().find(|it| it.exists()) {
            return Ok(found);
        }
        let hint = "cannot get `docker-registry`; install Debian's package of this name";
        fs::create_dir_all(&self.sdks)?;
        let download = tempfile::tempdir_in(&self.sdks)?;
        let apt_get = |arguments: &[&str]| {
            let mut command = Command::new("apt-get");
            command.args(arguments).current_dir(download.path());
            run(command)
        };
        // A machine that was just installed has no lists of packages.
        apt_get(&["download", name])
            .or_else(|_| apt_get(&["update"]).and_then(|()| apt_get(&["download", name])))
            .context(hint)?;
        let package = fs::read_dir(download.path())?.next().context(hint)??.path();
        let mut dpkg = Command::new("dpkg");
        dpkg.arg("-x").args([&package, &folder]);
        run(dpkg).context(hint)?;
        Ok(unpacked)
    }

    /// Installs the SDKs unless an earlier run has installed them.
    pub(crate) fn sdks(&self) -> anyhow::Result<Sdks> {
        let sdks = Sdks {
            python: self.sdks.join("venv/bin/python"),
            node_modules: self.sdks.join("node/node_modules"),
        };
        let requirements = workspace().join("tests/conformance/requirements.txt");
        once(&self.sdks.join("venv"), &requirements, |folder| {
            let mut venv = Command::new("python3");
            venv.args(["-m", "venv"]).arg(folder);
            run(venv)?;
            let mut pip = Command::new(folder.join("bin/python"));
            pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
            pip.arg("--requirement").arg(&requirements);
            run(pip)
        })?;
        let package = devices().join("package.json");
        once(&self.sdks.join("node"), &package, |folder| {
            fs::create_dir_all(folder)?;
            fs::copy(&package, folder.join("package.json"))?;
            let mut npm = Command::new("npm");
            npm.current_dir(folder).args(["install", "--no-audit", "--no-fund", "--silent"]);
            run(npm)
        })?;
        Ok(sdks)
    }
}

/// Returns the folder with the scripts of the SDK devices.
pub(crate) fn devices() -> PathBuf {
    workspace().join("bench/devices")
}

/// Returns the root of the workspace.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("`bench` is a folder of the workspace")
}

/// Creates a folder from a list of packages unless it was created from the same list.
fn once(
    folder: &Path,
    list: &Path,
    make: impl FnOnce(&Path) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let wanted = fs::read_to_string(list).with_context(|| list.display().to_string())?;
    let made_from = folder.join("made-from");
    if fs::read_to_string(&made_from).is_ok_and(|found| found == wanted) {
        return Ok(());
    }
    crate::say(&format!("installing the packages of {}", list.display()));
    if folder.exists() {
        fs::remove_dir_all(folder)?;
    }
    make(folder)?;
    Ok(fs::write(made_from, wanted)?)
}

/// Runs a command and waits until it ends. The error contains the last line of its output.
pub(crate) fn run(mut command: Command) -> anyhow::Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| name.clone())?;
    if !output.status.success() {
        let stderr = String::from_utf8_lossy(&output.stderr);
        let reason =
            stderr.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("no reason printed");
        bail!("{name} ended with {}: {reason}", output.status);
    }
    Ok(())
}
