//! The record of a project's last build. A build is skipped if its inputs have the same
//! contents as those of the last one.

use std::collections::BTreeMap;
use std::env;
use std::fs;
use std::path::{Path, PathBuf};

use program::FileStamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::files::{self, entries, file_name};
use super::{BuildError, glue};

/// Folders of a project that a build does not read. Packages in `node_modules` are inputs if
/// the bundler names them.
const SKIPPED_FOLDERS: [&str; 5] = ["target", "node_modules", "cases", "__pycache__", glue::FOLDER];

/// Files that cargo also reads from the folders that enclose a project.
const CARGO_FILES: [&str; 5] =
    ["Cargo.toml", "Cargo.lock", ".cargo/config.toml", "rust-toolchain.toml", "rust-toolchain"];

/// The digest of each file; `None` if it cannot be read.
type Digests = BTreeMap<PathBuf, Option<String>>;

/// The inputs of a build of one project in one target directory.
pub(super) struct BuildInputs {
    /// The folder of the record.
    folder: PathBuf,
    project: PathBuf,
    /// The identity of the tools and settings, in one line.
    tools: String,
    /// The project's own files at the start of the build.
    files: Digests,
}

/// The record of the last build, as a JSON file.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct BuildRecord {
    /// The identity of the tools and settings.
    tools: String,
    /// The project's own files.
    files: Digests,
    /// Other files that the tools have read: packages, and files outside the project.
    others: Digests,
    /// The glue in the project.
    generated: Digests,
    /// The digest of the component.
    component: String,
    /// The stamp of the component's file. If the file has it, its digest need not be computed,
    /// which takes a third of the time of a command with a component of 18 MB.
    component_stamp: Option<String>,
}

impl BuildInputs {
    /// Reads the files of a project. The record of its last build is in `folder`. `tools` must
    /// identify everything else that determines the component.
    pub(super) fn read(folder: &Path, project: &Path, tools: &str) -> BuildInputs {
        let program = env::current_exe().ok().and_then(|path| FileStamp::at(&path));
        let mut files = digests_below(project, &SKIPPED_FOLDERS);
        for file in
            CARGO_FILES.iter().flat_map(|name| project.ancestors().map(move |dir| dir.join(name)))
        {
            if file.is_file() {
                files.insert(file.clone(), digest_of(&file));
            }
        }
        BuildInputs {
            folder: folder.to_owned(),
            project: project.to_owned(),
            tools: format!("{program:?} {tools}"),
            files,
        }
    }

    /// Returns the component of the last build if that build had the same inputs.
    pub(super) fn last_component(&self) -> Option<Vec<u8>> {
        let record: BuildRecord =
            serde_json::from_slice(&fs::read(self.record_file()).ok()?).ok()?;
        let others = record.others.keys().map(|path| (path.clone(), digest_of(path))).collect();
        let is_unchanged = record.tools == self.tools
            && record.files == self.files
            && record.others == others
            && record.generated == self.generated();
        let stamp = self.component_stamp();
        let component = is_unchanged.then(|| fs::read(self.component_file()).ok()).flatten()?;
        let is_untouched = stamp.is_some() && stamp == record.component_stamp;
        (is_untouched || digest(&component) == record.component).then_some(component)
    }

    /// Records a finished build. `tool_inputs` are the files that the tools have read.
    pub(super) fn record(
        self,
        component: &[u8],
        tool_inputs: impl IntoIterator<Item = PathBuf>,
    ) -> Result<(), BuildError> {
        files::write_atomically(&self.component_file(), component)?;
        let others = tool_inputs.into_iter().filter(|path| !self.files.contains_key(path));
        let record = BuildRecord {
            generated: self.generated(),
            others: others.map(|path| (path.clone(), digest_of(&path))).collect(),
            component: digest(component),
            component_stamp: self.component_stamp(),
            tools: self.tools.clone(),
            files: self.files.clone(),
        };
        // A path that is not UTF-8 cannot be JSON, so such a project is built each time.
        let Ok(text) = serde_json::to_vec(&record) else { return Ok(()) };
        files::write_atomically(&self.record_file(), &text)
    }

    /// Returns `true` if a file of the project may refer to a file outside of it, such as
    /// `#include "../bolt.h"` in the project's folder.
    pub(super) fn may_refer_outside(&self) -> bool {
        let refers = |path: &PathBuf| {
            let Ok(inside) = path.strip_prefix(&self.project) else { return false };
            let depth = inside.components().count() - 1;
            fs::read(path).is_ok_and(|bytes| leaves(&bytes, depth))
        };
        self.files.keys().any(refers)
    }

    fn generated(&self) -> Digests {
        digests_below(&self.project.join(glue::FOLDER), &[])
    }

    fn component_stamp(&self) -> Option<String> {
        FileStamp::at(&self.component_file()).map(|stamp| format!("{stamp:?}"))
    }

    fn record_file(&self) -> PathBuf {
        self.folder.join("last-build.json")
    }

    fn component_file(&self) -> PathBuf {
        self.folder.join("last-build.wasm")
    }
}

/// Returns the digests of all files below a folder, except those in hidden folders and in
/// folders with one of the `skipped` names.
fn digests_below(folder: &Path, skipped: &[&str]) -> Digests {
    let mut digests = Digests::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for path in entries(&folder) {
            let name = file_name(&path);
            let is_folder = path.is_dir();
            if is_folder
                && !path.is_symlink()
                && !name.starts_with('.')
                && !skipped.contains(&&*name)
            {
                folders.push(path);
            } else if !is_folder {
                digests.insert(path.clone(), digest_of(&path));
            }
        }
    }
    digests
}

fn digest_of(path: &Path) -> Option<String> {
    fs::read(path).ok().map(|bytes| digest(&bytes))
}

fn digest(bytes: &[u8]) -> String {
    Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Returns `true` if a text contains a path that leads out of a folder of this depth, because
/// it has more `..` than that.
fn leaves(text: &[u8], depth: usize) -> bool {
    let is_in_path = |octet: &u8| octet.is_ascii_alphanumeric() || b"./_-@+".contains(octet);
    let parents = |path: &[u8]| {
        let is_parent = |part: &&[u8]| *part == b"..";
        path.split(|octet| *octet == b'/').filter(is_parent).count()
    };
    let mut paths = text.split(|octet| !is_in_path(octet));
    paths.any(|path| path.windows(3).any(|octets| octets == b"../") && parents(path) > depth)
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    #[test]
    fn a_path_leaves_a_folder_if_it_has_more_parents_than_the_folder() {
        let gen_from_subfolder = b"import '../gen/behaviour'; // ../a ../b ...";
        assert!(!leaves(gen_from_subfolder, 1) && leaves(gen_from_subfolder, 0));
        assert!(leaves(b"#include \"a/../../bolt.h\"", 1));
        assert!(!leaves(b"a.b ... c.. /", 0));
    }

    #[test]
    fn a_build_is_repeated_only_if_an_input_a_tool_or_the_component_has_changed() {
        let dir = tempfile::tempdir().unwrap();
        let (project, work) = (dir.path().join("door"), dir.path().join("work"));
        let write = |name: &str, text: &str| {
            let path = project.join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("plugin.js", "a");
        write("node_modules/lib/index.js", "a");
        let inputs = |tools: &str| BuildInputs::read(&work, &project, tools);
        let unchanged = |tools: &str| inputs(tools).last_component() == Some(b"wasm".to_vec());
        let build = || {
            let package = project.join("node_modules/lib/index.js");
            write("gen/types.ts", "generated");
            inputs("1").record(b"wasm", [package]).unwrap();
        };
        assert!(!unchanged("1"));
        build();
        assert!(unchanged("1"));
        assert!(!unchanged("2"), "other tools");

        for ignored in ["cases/a.json", "target/x", "node_modules/other/index.js", ".git/x"] {
            write(ignored, "b");
            assert!(unchanged("1"), "{ignored}");
        }
        for changed in ["plugin.js", "new.js", "node_modules/lib/index.js", "gen/types.ts"] {
            write(changed, "b");
            assert!(!unchanged("1"), "{changed}");
            build();
            assert!(unchanged("1"), "{changed}");
        }
        fs::remove_file(project.join("new.js")).unwrap();
        assert!(!unchanged("1"), "a deleted file");
        build();
        fs::write(work.join("last-build.wasm"), "other").unwrap();
        assert!(!unchanged("1"), "a corrupt component");
    }

    #[test]
    fn a_project_with_a_file_name_that_is_not_utf_8_is_built_each_time() {
        let dir = tempfile::tempdir().unwrap();
        let (project, work) = (dir.path().join("door"), dir.path().join("work"));
        fs::create_dir_all(&project).unwrap();
        fs::write(project.join(OsStr::from_bytes(b"caf\xe9.txt")), "a").unwrap();
        let inputs = || BuildInputs::read(&work, &project, "1");
        inputs().record(b"wasm", []).unwrap();
        assert_eq!(inputs().last_component(), None);
    }
}
