//! The package archives that apt is configured to use on this machine.
//!
//! The module needs no root privileges and installs nothing. It fetches its own package
//! lists, since the machine's lists may be missing or outdated.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::build::{BuildError, Progress, files, step};

/// The archives, with their own package lists.
pub(crate) struct Archives<'a> {
    /// The first error or warning of apt while it fetched the lists, if any.
    pub(crate) message: Option<String>,
    dir: PathBuf,
    progress: Progress<'a>,
}

/// A package of an archive.
#[derive(Debug, PartialEq)]
pub(crate) struct Package {
    pub(crate) name: String,
    /// The first alternative of each dependency.
    pub(crate) depends: Vec<String>,
    pub(crate) bytes: u64,
}

impl<'a> Archives<'a> {
    /// Fetches the lists into `dir`.
    pub(crate) fn open(dir: &Path, progress: Progress<'a>) -> Result<Archives<'a>, BuildError> {
        let mut archives = Archives { message: None, dir: dir.to_owned(), progress };
        for folder in ["lists/partial", "cache/archives/partial"] {
            let folder = dir.join(folder);
            std::fs::create_dir_all(&folder).map_err(BuildError::io(&folder))?;
        }
        let mut update = archives.apt("apt-get");
        update.arg("update");
        // The command fails if one archive is unreachable. The status is ignored, since the
        // other archives may have the packages.
        let ended = step::run(&mut update, "reading the distribution's package lists", progress)?;
        let mut messages = ["E: ", "W: "].into_iter().filter_map(|kind| {
            let line = ended.stderr.lines().find_map(|line| line.strip_prefix(kind))?;
            Some(line.split_whitespace().collect::<Vec<_>>().join(" "))
        });
        archives.message = messages.next();
        Ok(archives)
    }

    /// Returns the archives' entries for these packages. Omits unknown packages.
    pub(crate) fn show(&self, names: &[String]) -> Result<Vec<Package>, BuildError> {
        let mut show = self.apt("apt-cache");
        show.args(["show", "--no-all-versions"]).args(names);
        let ended = step::run(&mut show, "", self.progress)?;
        Ok(parse(&ended.stdout))
    }

    /// Returns these packages, and those of their dependencies that are not installed.
    pub(crate) fn with_dependencies(&self, names: Vec<String>) -> Result<Vec<Package>, BuildError> {
        let mut seen: BTreeSet<String> = names.iter().cloned().collect();
        let mut found = Vec::new();
        let mut pending = names;
        while !pending.is_empty() {
            let packages = self.show(&pending)?;
            let needed = packages.iter().flat_map(|package| package.depends.iter().cloned());
            let new: Vec<String> = needed.filter(|name| seen.insert(name.clone())).collect();
            let installed = self.installed(&new)?;
            pending = new.into_iter().filter(|name| !installed.contains(name)).collect();
            found.extend(packages);
        }
        Ok(found)
    }

    fn installed(&self, names: &[String]) -> Result<BTreeSet<String>, BuildError> {
        if names.is_empty() {
            return Ok(BTreeSet::new());
        }
        let mut query = step::command("dpkg-query", &self.dir);
        query.args(["-W", "-f", "${Package} ${db:Status-Status}\n"]).args(names);
        // The command fails if a package is unknown, but still lists the others.
        let ended = step::run(&mut query, "", self.progress)?;
        let lines = ended.stdout.lines();
        Ok(lines.filter_map(|line| line.strip_suffix(" installed")).map(str::to_owned).collect())
    }

    /// Downloads packages, verifies them against the signed lists, and unpacks them.
    pub(crate) fn unpack(
        &self,
        packages: &[Package],
        step_name: &str,
        root: &Path,
    ) -> Result<(), BuildError> {
        let mut download = self.apt("apt-get");
        download.arg("download").args(packages.iter().map(|package| &package.name));
        step::run_checked(&mut download, step_name, self.progress)?;

        (self.progress)("unpacking");
        for path in files::entries(&self.dir) {
            if path.extension().is_some_and(|extension| extension == "deb") {
                let mut dpkg = step::command("dpkg", &self.dir);
                step::run_checked(dpkg.arg("-x").arg(&path).arg(root), "", self.progress)?;
            }
        }
        Ok(())
    }

    fn apt(&self, program: &str) -> Command {
        let mut apt = step::command(program, &self.dir);
        apt.env("LC_ALL", "C");
        let lists = format!("Dir::State::lists={}", self.dir.join("lists").display());
        let cache = format!("Dir::Cache={}", self.dir.join("cache").display());
        for option in [
            lists.as_str(),
            cache.as_str(),
            "Acquire::Retries=2",
            "Acquire::http::Timeout=30",
            "Acquire::https::Timeout=30",
            // No translations and icons.
            "Acquire::Languages=none",
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false",
            // As root, apt would switch to a user without write access to this folder.
            "APT::Sandbox::User=root",
        ] {
            apt.args(["-o", option]);
        }
        apt
    }
}

/// Parses the output of `apt-cache show`: paragraphs of `Field: value`.
fn parse(text: &str) -> Vec<Package> {
    text.split("\n\n").filter_map(parse_package).collect()
}

fn parse_package(paragraph: &str) -> Option<Package> {
    let field =
        |name: &str| paragraph.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
    // `a (>= 1) | b, c:any`: names, each with a version or an architecture.
    let depends = field("Depends").unwrap_or_default().split(", ");
    let first = |choice: &str| choice.split([' ', ':', '|']).next().map(str::to_owned);
    Some(Package {
        name: field("Package")?.to_owned(),
        depends: depends.filter_map(first).filter(|name| !name.is_empty()).collect(),
        bytes: field("Size")?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const OUTPUT: &str = "\
Package: libstd-rust-web-1.96
Source: rustc-web
Version: 1.96.0+dfsg1-1~deb12u2
Installed-Size: 93130
Depends: libc6 (>= 2.34), libllvm22, libz:any | other (>= 1), libstdc++6 (>= 11)
Description: Rust standard libraries
 Size: not a field
Size: 21977620

Package: rust-web-src
Size: 45012756

";

    #[test]
    fn packages_are_parsed_with_their_dependencies() {
        let packages = parse(OUTPUT);
        assert_eq!(packages.len(), 2);
        assert_eq!(packages[0].name, "libstd-rust-web-1.96");
        assert_eq!(packages[0].bytes, 21_977_620);
        assert_eq!(packages[0].depends, ["libc6", "libllvm22", "libz", "libstdc++6"]);
        assert_eq!(packages[1].name, "rust-web-src");
        assert!(packages[1].depends.is_empty());
    }

    #[test]
    fn output_without_packages_yields_no_packages() {
        assert_eq!(parse(""), []);
        assert_eq!(parse("N: Unable to locate package rustc-web\n"), []);
    }
}
