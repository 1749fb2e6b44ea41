//! Debian's packages, unpacked below `target/`, so nothing is installed. The tests of the host use
//! this file as well.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Downloads and unpacks packages, once for each `target/` and `name`. Returns their root
/// directory once it has the file `needed`.
pub(crate) fn unpacked(name: &str, packages: &[&str], needed: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
    let found = || root.join(needed).exists().then(|| root.clone());
    if let Some(found) = found() {
        return Some(found);
    }
    let unpacking = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let run = |program: &str, arguments: &[&str]| {
        let mut command = Command::new(program);
        let output = command.args(arguments).current_dir(unpacking.path()).output();
        output.is_ok_and(|output| output.status.success())
    };
    let download = || run("apt-get", &[&["download"], packages].concat());
    // A machine that was just installed has no lists of packages.
    let downloaded = download() || (run("apt-get", &["update"]) && download());
    if !downloaded {
        return None;
    }
    let new = unpacking.path().join("root");
    for entry in fs::read_dir(unpacking.path()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "deb")
            && !run("dpkg", &["-x", path.to_str()?, new.to_str()?])
        {
            return None;
        }
    }
    // Another test binary may have done the same meanwhile.
    fs::rename(&new, &root).ok();
    found()
}
