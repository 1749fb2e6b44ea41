//! Files of the compile cache: the input is a kind of damage, and bytes for it.

use std::fs::{self, DirBuilder, File};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

use plugin::{Engine, EngineSettings, Limits};

const COMPONENT: &[u8] = b"(component)";

/// The name and the bytes of the file of [`COMPONENT`].
static WHOLE: LazyLock<(String, Vec<u8>)> = LazyLock::new(|| {
    let folder = Folder::new();
    compile(&folder.0);
    folder.only_file()
});

/// Checks that damaged code is never used: the component is compiled anew, and its file is
/// whole again.
pub(crate) fn cache_files(bytes: &[u8]) {
    let Some((kind, rest)) = bytes.split_first() else { return };
    let (name, whole) = &*WHOLE;
    let mut code = whole.clone();
    let at = match rest.first_chunk::<4>() {
        Some(at) => u32::from_le_bytes(*at) as usize % code.len(),
        None => 0,
    };
    match kind % 5 {
        0 => code = rest.to_vec(),
        1 => code.truncate(at),
        2 => code[at] ^= rest.get(4).copied().unwrap_or(1),
        3 => code.extend_from_slice(rest),
        _ => {
            let piece = rest.get(4..).unwrap_or_default();
            let end = code.len().min(at + piece.len());
            code[at..end].copy_from_slice(&piece[..end - at]);
        }
    }
    let folder = Folder::new();
    let mut options = File::options();
    let file = options.write(true).create_new(true).mode(0o600).open(folder.0.join(name));
    file.and_then(|mut file| file.write_all(&code)).expect("a file in a new folder");

    compile(&folder.0);
    let (name_after, after) = folder.only_file();
    assert!(&name_after == name && &after == whole, "{:?}", bytes.escape_ascii().to_string());
}

fn compile(cache: &Path) {
    let cache = Some(cache.to_owned());
    let settings = EngineSettings { instances: 1, cache, ..EngineSettings::default() };
    let engine = Engine::new(&settings).expect("an engine with a cache");
    engine.compile(COMPONENT, &Limits::default()).expect("an empty component");
}

/// A folder for one input, which is removed with its files.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Folder {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Relaxed);
        let name = format!("behaviour-fuzz-{}-{number}", process::id());
        let folder = Folder(std::env::temp_dir().join(name));
        DirBuilder::new().mode(0o700).create(&folder.0).expect("a new folder");
        folder
    }

    fn only_file(&self) -> (String, Vec<u8>) {
        let mut files = fs::read_dir(&self.0).expect("the folder exists");
        let file = files.next().expect("a file").expect("the folder can be read");
        assert!(files.next().is_none(), "one component has one file");
        let name = file.file_name().into_string().expect("an ASCII name");
        (name, fs::read(file.path()).expect("the file can be read"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // It is below the system's folder for temporary files.
        let _ = fs::remove_dir_all(&self.0);
    }
}
