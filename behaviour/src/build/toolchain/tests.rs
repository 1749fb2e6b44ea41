//! Tests of the lock files and of their names.

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
            Registry::Crates(manifest, _) => {
                let manifest: toml::Table = manifest.parse().unwrap();
                let crates = manifest["dependencies"].as_table().unwrap().iter();
                crates
                    .map(|(name, it)| {
                        owned((name, it.as_str().unwrap().strip_prefix('=').unwrap()))
                    })
                    .collect()
            }
            Registry::Debian(..) => Vec::new(),
        }
    }
}

fn all_toolchains() -> impl Iterator<Item = &'static Toolchain> {
    Language::ALL.into_iter().flat_map(Toolchain::all).copied()
}

#[test]
fn the_name_of_a_folder_contains_the_locked_versions() {
    for toolchain in all_toolchains() {
        let named = |(name, version)| format!("{name}-{version}");
        let packages: Vec<String> = toolchain.packages().into_iter().map(named).collect();
        match toolchain.registry {
            Registry::Debian(package, _) => {
                assert_eq!(toolchain.folder, format!("debian-{package}"));
            }
            _ => assert_eq!(toolchain.folder, packages.join("-")),
        }
    }
}

#[test]
fn the_page_of_a_language_names_the_versions_and_the_size_of_its_tools() {
    for (language, toolchain) in Language::ALL
        .into_iter()
        .flat_map(|language| Toolchain::all(language).iter().map(move |it| (language, it)))
    {
        let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/languages");
        let page = fs::read_to_string(page.join(format!("{language}.md"))).unwrap();
        // A line may end between a name and its version.
        let page = page.split_whitespace().collect::<Vec<_>>().join(" ");
        for (name, version) in toolchain.packages() {
            assert!(page.contains(&format!("{name} {version}")), "{language}: {name} {version}");
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
        let Registry::Pip(requirements) = toolchain.registry else { panic!("not a pip toolchain") };
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
