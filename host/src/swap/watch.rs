//! Times to look at files: on an event of the file system, or after an interval.
//!
//! Every directory on the path of a file is watched, symbolic links included, so that a
//! renamed file, a replaced directory and a switched link are all noticed. An event
//! means no more than "look": the reader decides whether a file has changed. So a file
//! system without events, such as a network share, costs time only: the files are
//! examined every few seconds anyway.

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

/// Writers make several changes in a row: look when they have paused this long.
/// What was looked at too early is looked at again at its next change.
const QUIET: Duration = Duration::from_millis(10);

/// Something that changes without a pause is looked at this often.
const LONGEST_STIR: Duration = Duration::from_secs(1);

/// Interval of checks without an event.
const PATROL: Duration = Duration::from_secs(5);

/// Interval of checks where the system gives no events.
const PATROL_ALONE: Duration = Duration::from_secs(1);

/// More symbolic links than this in one path are taken for a circle, as the
/// kernel does.
const MOST_LINKS: usize = 40;

/// A watch over some files.
pub(crate) struct Watch {
    stirs: Arc<Notify>,
    /// Dropped first when another set of files is watched.
    watcher: Option<RecommendedWatcher>,
    watched: Watched,
    /// Writer of the configuration.
    writer: Arc<Mutex<FileWriter>>,
    warned: bool,
}

/// Names of interest, and the directories that hold them.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
struct Watched {
    names: BTreeSet<PathBuf>,
    /// Those on the way to the configuration.
    configuration: BTreeSet<PathBuf>,
    /// Directories by path, with the identity that distinguishes one from its
    /// successor.
    directories: BTreeMap<PathBuf, Option<(u64, u64)>>,
}

impl Watch {
    pub(crate) fn new() -> Watch {
        Watch {
            stirs: Arc::new(Notify::new()),
            watcher: None,
            watched: Watched::default(),
            writer: Arc::default(),
            warned: false,
        }
    }

    /// Watches these files from now on, one of which may be the configuration. Returns
    /// `true` if anything is watched anew: then a change may have been missed. Blocks for
    /// a moment.
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
                warn!(every = ?PATROL_ALONE, "files are polled, the system does not watch them: {error}");
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

    /// Waits until it is time to look again.
    pub(crate) async fn stirred(&self) {
        let patrol = if self.watcher.is_some() { PATROL } else { PATROL_ALONE };
        tokio::select! {
            () = self.stirs.notified() => {}
            () = sleep(patrol) => return,
        }
        let begun = Instant::now();
        while begun.elapsed() < LONGEST_STIR && timeout(QUIET, self.stirs.notified()).await.is_ok()
        {
        }
    }

    fn watcher_of(&self, watched: &Watched) -> notify::Result<RecommendedWatcher> {
        let (stirs, names) = (Arc::clone(&self.stirs), watched.names.clone());
        let (writer, configuration) = (Arc::clone(&self.writer), watched.configuration.clone());
        let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
            if let Ok(event) = &event
                && event.paths.iter().any(|path| configuration.contains(path))
                && let Some(now) = FileWriter::after(event)
            {
                *writer.lock() = now;
            }
            if event.map_or(true, |event| concerns(&event, &names)) {
                stirs.notify_one();
            }
        })?;
        for directory in watched.directories.keys() {
            match watcher.watch(directory, RecursiveMode::NonRecursive) {
                Ok(()) => {}
                // A directory that may not be read is left to the interval; a lack of
                // watches concerns all of them.
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

/// Checks whether an event concerns one of the names. A read does not.
fn concerns(event: &Event, names: &BTreeSet<PathBuf>) -> bool {
    match event.kind {
        EventKind::Access(AccessKind::Close(notify::event::AccessMode::Write)) => {}
        EventKind::Access(_) => return false,
        _ => {}
    }
    event.need_rescan() || event.paths.iter().any(|path| names.contains(path))
}

/// Every name that is looked up on the way to a file, itself included: of
/// directories and of links, wherever they lead.
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
                    Ok(target) if links < MOST_LINKS => {
                        links += 1;
                        left.extend(parts(&target));
                    }
                    _ => at.clone_from(&next),
                }
                names.insert(next);
            }
            Some(Component::ParentDir) => drop(at.pop()),
            Some(Component::CurDir) | None => {}
            // Where an absolute path begins, or an absolute link leads.
            Some(Component::RootDir | Component::Prefix(_)) => at = at.join(part),
        }
    }
}

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

    /// Watches `file`, makes a change, and waits for the event: no interval passes,
    /// since time is paused.
    async fn check_seen(file: PathBuf, change: impl FnOnce()) {
        let mut watch = Watch::new();
        assert!(watch.set(&[file.clone()].into(), None));
        assert!(!watch.set(&[file].into(), None));
        change();
        watch.stirs.notified().await;
    }

    fn directory() -> (tempfile::TempDir, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        fs::create_dir(root.join("in")).unwrap();
        fs::write(root.join("in/file"), "old").unwrap();
        (directory, root)
    }

    #[tokio::test]
    async fn a_file_that_is_written_over_is_seen() {
        let (_directory, root) = directory();
        let file = root.join("in/file");
        check_seen(file.clone(), || fs::write(&file, "new").unwrap()).await;
    }

    #[tokio::test]
    async fn a_file_that_is_renamed_into_place_is_seen() {
        let (_directory, root) = directory();
        fs::write(root.join("in/.file.new"), "new").unwrap();
        check_seen(root.join("in/file"), || {
            fs::rename(root.join("in/.file.new"), root.join("in/file")).unwrap();
        })
        .await;
    }

    #[tokio::test]
    async fn a_directory_that_is_replaced_is_seen_and_what_changes_in_the_new_one() {
        let (_directory, root) = directory();
        let file = root.join("in/file");
        fs::create_dir(root.join("next")).unwrap();
        fs::write(root.join("next/file"), "new").unwrap();
        let mut watch = Watch::new();
        watch.set(&[file.clone()].into(), None);

        fs::rename(root.join("in"), root.join("old")).unwrap();
        fs::rename(root.join("next"), root.join("in")).unwrap();
        watch.stirred().await;
        assert!(watch.set(&[file.clone()].into(), None));

        fs::write(&file, "newer").unwrap();
        watch.stirs.notified().await;
    }

    #[tokio::test]
    async fn a_link_that_is_switched_as_in_a_mounted_volume_is_seen() {
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
    async fn where_the_system_gives_no_signs_files_are_polled_every_second() {
        let begun = Instant::now();
        Watch::new().stirred().await;
        assert_eq!(begun.elapsed(), PATROL_ALONE);
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
    fn links_in_a_circle_end() {
        let (_directory, root) = directory();
        symlink("b", root.join("a")).unwrap();
        symlink("a", root.join("b")).unwrap();
        let mut names = BTreeSet::new();
        steps(&root.join("a/file"), &mut names);
        assert!(names.contains(&root.join("b")));
    }
}
