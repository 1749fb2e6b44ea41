//! Watch over files: reports when they may have changed.
//!
//! Every directory on the path of a file is watched, including those that symbolic links
//! lead to, so that renamed files, replaced directories and switched links are noticed. An
//! event only triggers a check, which compares the files themselves. The files are also
//! checked every few seconds, for file systems without events such as network shares.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use notify::{Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher, event::AccessKind};
use parking_lot::Mutex;
use tokio::sync::Notify;
use tokio::time::{Instant, sleep, timeout};
use tracing::{debug, warn};

pub(crate) use writer::FileWriter;

mod writer;

/// Time without an event after which the files are checked. Programs often write a file in
/// several steps.
const QUIET: Duration = Duration::from_millis(10);

/// Longest delay of a check while events continue.
const MAX_DELAY: Duration = Duration::from_secs(1);

/// Interval of checks without an event.
const POLL_INTERVAL: Duration = Duration::from_secs(5);

/// Interval of checks if the files cannot be watched.
const UNWATCHED_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// Maximum number of symbolic links in a path, the same as in the kernel. A path with more is
/// taken for a loop.
const MAX_LINKS: usize = 40;

/// Watch over a set of files.
pub(crate) struct Watch {
    events: Arc<Notify>,
    /// Dropped before another set of files is watched.
    watcher: Option<RecommendedWatcher>,
    watched: Watched,
    /// State of the configuration's writer.
    writer: Arc<Mutex<FileWriter>>,
    warned: bool,
}

/// Watched paths, and the directories that contain them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Watched {
    names: BTreeSet<PathBuf>,
    /// Paths that lead to the configuration.
    configuration: BTreeSet<PathBuf>,
    /// Directories by path, with their device and inode, which distinguish a directory from
    /// its replacement.
    directories: BTreeMap<PathBuf, Option<(u64, u64)>>,
}

impl Watch {
    pub(crate) fn new() -> Watch {
        Watch {
            events: Arc::new(Notify::new()),
            watcher: None,
            watched: Watched::default(),
            writer: Arc::default(),
            warned: false,
        }
    }

    /// Replaces the watched files, one of which may be the configuration. Returns `true` if
    /// the set has changed, so that a change of a file may have been missed. Blocks briefly.
    pub(crate) fn set(&mut self, files: &BTreeSet<PathBuf>, configuration: Option<&Path>) -> bool {
        let mut watched = Watched::of(files);
        if let Some(file) = configuration {
            steps(file, &mut watched.configuration);
        }
        if watched == self.watched {
            return false;
        }
        self.watcher = None;
        match self.watcher_of(&watched) {
            Ok(watcher) => self.watcher = Some(watcher),
            Err(error) if !self.warned => {
                self.warned = true;
                warn!(every = ?UNWATCHED_POLL_INTERVAL, "files are polled, the system does not watch them: {error}");
            }
            Err(error) => debug!("no watch: {error}"),
        }
        self.watched = watched;
        true
    }

    /// Returns the state of the configuration's writer.
    pub(crate) fn writer(&self) -> FileWriter {
        *self.writer.lock()
    }

    /// Waits until the files must be checked.
    pub(crate) async fn changed(&self) {
        let interval = if self.watcher.is_some() { POLL_INTERVAL } else { UNWATCHED_POLL_INTERVAL };
        tokio::select! {
            () = self.events.notified() => {}
            () = sleep(interval) => return,
        }
        let begun = Instant::now();
        while begun.elapsed() < MAX_DELAY && timeout(QUIET, self.events.notified()).await.is_ok() {}
    }

    /// Starts a watcher of these directories.
    fn watcher_of(&self, watched: &Watched) -> notify::Result<RecommendedWatcher> {
        let (events, names) = (Arc::clone(&self.events), watched.names.clone());
        let (writer, configuration) = (Arc::clone(&self.writer), watched.configuration.clone());
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if let Ok(event) = &event
                && event.paths.iter().any(|path| configuration.contains(path))
                && let Some(now) = FileWriter::after(event)
            {
                *writer.lock() = now;
            }
            if event.map_or(true, |event| concerns(&event, &names)) {
                events.notify_one();
            }
        })?;
        for directory in watched.directories.keys() {
            match watcher.watch(directory, RecursiveMode::NonRecursive) {
                Ok(()) => {}
                // An unreadable directory is polled. If the system has no watches left, all
                // directories are polled.
                Err(error) if matches!(error.kind, notify::ErrorKind::MaxFilesWatch) => {
                    return Err(error);
                }
                Err(error) => debug!(directory = %directory.display(), "not watched: {error}"),
            }
        }
        Ok(watcher)
    }
}

impl Watched {
    /// Returns the paths and directories that lead to these files.
    fn of(files: &BTreeSet<PathBuf>) -> Watched {
        let mut watched = Watched::default();
        for file in files {
            steps(file, &mut watched.names);
        }
        for directory in watched.names.iter().filter_map(|name| name.parent()) {
            watched.directories.entry(directory.to_owned()).or_insert_with(|| identity(directory));
        }
        watched
    }
}

/// Returns `true` if an event may have changed one of the names. Reads are ignored.
fn concerns(event: &Event, names: &BTreeSet<PathBuf>) -> bool {
    match event.kind {
        EventKind::Access(AccessKind::Close(notify::event::AccessMode::Write)) => {}
        EventKind::Access(_) => return false,
        _ => {}
    }
    event.need_rescan() || event.paths.iter().any(|path| names.contains(path))
}

/// Collects every path that is looked up to reach a file, including the file, directories,
/// and the targets of links.
fn steps(file: &Path, names: &mut BTreeSet<PathBuf>) {
    use std::path::Component;
    let Ok(file) = std::path::absolute(file) else { return };
    let parts = |path: &Path| -> Vec<PathBuf> {
        let owned = |part: Component<'_>| PathBuf::from(part.as_os_str());
        path.components().rev().map(owned).collect()
    };
    let (mut at, mut left, mut links) = (PathBuf::new(), parts(&file), 0);
    while let Some(part) = left.pop() {
        match part.components().next() {
            Some(Component::Normal(name)) => {
                let next = at.join(name);
                match std::fs::read_link(&next) {
                    Ok(target) if links < MAX_LINKS => {
                        links += 1;
                        left.extend(parts(&target));
                    }
                    _ => at.clone_from(&next),
                }
                names.insert(next);
            }
            Some(Component::ParentDir) => drop(at.pop()),
            Some(Component::CurDir) | None => {}
            // The start of an absolute path or of the target of an absolute link.
            Some(Component::RootDir | Component::Prefix(_)) => at = at.join(part),
        }
    }
}

/// Returns the device and inode of a directory.
fn identity(directory: &Path) -> Option<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;
    let metadata = std::fs::metadata(directory).ok()?;
    Some((metadata.dev(), metadata.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    /// Watches `file`, makes a change, and waits for the event.
    async fn check_seen(file: PathBuf, change: impl FnOnce()) {
        let mut watch = Watch::new();
        assert!(watch.set(&[file.clone()].into(), None));
        assert!(!watch.set(&[file].into(), None));
        change();
        watch.events.notified().await;
    }

    fn directory() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        fs::create_dir(root.join("in")).unwrap();
        fs::write(root.join("in/file"), "old").unwrap();
        (directory, root)
    }

    #[tokio::test]
    async fn an_overwritten_file_is_noticed() {
        let (_directory, root) = directory();
        let file = root.join("in/file");
        check_seen(file.clone(), || fs::write(&file, "new").unwrap()).await;
    }

    #[tokio::test]
    async fn a_file_that_is_renamed_into_place_is_noticed() {
        let (_directory, root) = directory();
        fs::write(root.join("in/.file.new"), "new").unwrap();
        check_seen(root.join("in/file"), || {
            fs::rename(root.join("in/.file.new"), root.join("in/file")).unwrap();
        })
        .await;
    }

    #[tokio::test]
    async fn a_replaced_directory_is_noticed_and_watched() {
        let (_directory, root) = directory();
        let file = root.join("in/file");
        fs::create_dir(root.join("next")).unwrap();
        fs::write(root.join("next/file"), "new").unwrap();
        let mut watch = Watch::new();
        watch.set(&[file.clone()].into(), None);

        fs::rename(root.join("in"), root.join("old")).unwrap();
        fs::rename(root.join("next"), root.join("in")).unwrap();
        watch.changed().await;
        assert!(watch.set(&[file.clone()].into(), None));

        fs::write(&file, "newer").unwrap();
        watch.events.notified().await;
    }

    #[tokio::test]
    async fn a_switched_link_in_a_mounted_volume_is_noticed() {
        let (_directory, root) = directory();
        for version in ["..1", "..2"] {
            fs::create_dir(root.join(version)).unwrap();
            fs::write(root.join(version).join("mounted"), version).unwrap();
        }
        symlink("..1", root.join("..data")).unwrap();
        symlink("..data/mounted", root.join("mounted")).unwrap();
        check_seen(root.join("mounted"), || {
            symlink("..2", root.join("..data_tmp")).unwrap();
            fs::rename(root.join("..data_tmp"), root.join("..data")).unwrap();
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn without_a_watch_files_are_polled_every_second() {
        let begun = Instant::now();
        Watch::new().changed().await;
        assert_eq!(begun.elapsed(), UNWATCHED_POLL_INTERVAL);
    }

    #[test]
    fn a_path_is_followed_through_its_links() {
        let (_directory, root) = directory();
        symlink(root.join("in"), root.join("absolute")).unwrap();
        symlink("in/../absolute", root.join("relative")).unwrap();
        let mut names = BTreeSet::new();
        steps(&root.join("relative/file"), &mut names);
        let mut found: Vec<_> =
            names.iter().filter_map(|name| name.strip_prefix(&root).ok()?.to_str()).collect();
        found.retain(|name| !name.is_empty());
        assert_eq!(found, ["absolute", "in", "in/file", "relative"]);
    }

    #[test]
    fn a_loop_of_links_ends() {
        let (_directory, root) = directory();
        symlink("b", root.join("a")).unwrap();
        symlink("a", root.join("b")).unwrap();
        let mut names = BTreeSet::new();
        steps(&root.join("a/file"), &mut names);
        assert!(names.contains(&root.join("b")));
    }
}
