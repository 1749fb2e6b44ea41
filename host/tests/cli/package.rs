//! The Debian package of the host.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Returns the root of the workspace.
fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Runs a command, and returns its output or, if it fails, the reason.
fn run(command: &mut Command) -> Result<String, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|error| format!("{name}: {error}"))?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(format!("{name}: {}: {}", output.status, text(&output.stderr))),
    }
}

/// Builds a package of this program. Returns `None` without the tools of Debian, unless `CI` is
/// set.
#[expect(clippy::print_stdout, reason = "a skipped test says so")]
fn package(version: &str, out: &Path) -> Option<PathBuf> {
    if let Err(reason) = run(Command::new("dpkg-shlibdeps").arg("--version")) {
        assert!(std::env::var_os("CI").is_none(), "{reason}");
        println!("skipped: {reason}");
        return None;
    }
    let manual = out.join("man");
    fs::create_dir_all(&manual).unwrap();
    fs::write(manual.join("behaviour-host.1"), ".TH behaviour-host 1\n").unwrap();
    let mut packages = Command::new("bash");
    packages.arg(workspace().join(".ci/packages"));
    packages.args(["--program", env!("CARGO_BIN_EXE_behaviour-host"), "--version", version]);
    packages.arg("--man").arg(manual).arg("--out").arg(out);
    // A fast compression, and a time that does not depend on the repository.
    packages.env("BEHAVIOUR_DEB_COMPRESSION", "none").env("SOURCE_DATE_EPOCH", "1700000000");
    let printed = run(&mut packages).unwrap();
    Some(PathBuf::from(printed.trim()))
}

#[test]
fn the_package_is_the_same_each_time_and_has_everything_in_its_place() {
    let folder = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let (one, two) = (folder.path().join("one"), folder.path().join("two"));
    let Some(package) = package("0.1.0", &one) else { return };
    let again = self::package("0.1.0", &two).unwrap();
    for end in ["deb", "cdx.json", "sha256"] {
        let read = |package: &Path| fs::read(package.with_extension(end)).unwrap();
        assert!(read(&package) == read(&again), "another {end} from the same program");
    }

    let listed = run(Command::new("dpkg-deb").arg("--contents").arg(&package)).unwrap();
    for (mode, path) in [
        ("-rwxr-xr-x root/root", "./usr/bin/behaviour-host"),
        ("-rw-r--r-- root/root", "./etc/behaviour-host/host.toml"),
        ("-rw-r--r-- root/root", "./usr/lib/systemd/system/behaviour-host.service"),
        ("-rw-r--r-- root/root", "./usr/share/man/man1/behaviour-host.1.gz"),
        ("-rw-r--r-- root/root", "./usr/share/bash-completion/completions/behaviour-host"),
        ("-rw-r--r-- root/root", "./usr/share/doc/behaviour-host/copyright"),
    ] {
        let is_there = |line: &str| line.starts_with(mode) && line.ends_with(path);
        assert!(listed.lines().any(is_there), "no {path} in\n{listed}");
    }
    let field =
        |name| run(Command::new("dpkg-deb").arg("--field").arg(&package).arg(name)).unwrap();
    assert!(field("Depends").contains("libc6 (>= 2."), "{}", field("Depends"));

    let bill = fs::read(package.with_extension("cdx.json")).unwrap();
    let bill: serde_json::Value = serde_json::from_slice(&bill).unwrap();
    let names = bill["components"].as_array().unwrap().iter();
    let names: BTreeSet<_> = names.map(|it| it["name"].as_str().unwrap()).collect();
    assert!(names.contains("wasmtime") && names.contains("rustls"), "{names:?}");
    // The hub and the frameworks of tests are not in the program.
    assert!(!names.contains("behaviour-hub") && !names.contains("proptest"), "{names:?}");
}
