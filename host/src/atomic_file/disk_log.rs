//! A log of what a test has written, and the disk after a loss of power at any point of it.
//!
//! The disk keeps what was synced. Of the rest it keeps some: content that was not synced is
//! whole, empty or zeros, and of the names that were changed since the last sync of a directory,
//! the first ones are kept.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// Operation on the disk.
#[derive(Debug, Clone)]
pub(crate) enum DiskStep {
    Written(PathBuf, Vec<u8>),
    Synced(PathBuf),
    Renamed(PathBuf, PathBuf),
    /// Mark of the test, such as a report that was sent.
    Mark(&'static str),
}

thread_local! {
    static LOG: RefCell<Vec<DiskStep>> = const { RefCell::new(Vec::new()) };
}

pub(crate) fn written(path: &Path, bytes: &[u8]) {
    push(DiskStep::Written(path.to_owned(), bytes.to_owned()));
}

pub(crate) fn synced(path: &Path) {
    push(DiskStep::Synced(path.to_owned()));
}

pub(crate) fn renamed(from: &Path, to: &Path) {
    push(DiskStep::Renamed(from.to_owned(), to.to_owned()));
}

pub(crate) fn mark(name: &'static str) {
    push(DiskStep::Mark(name));
}

fn push(step: DiskStep) {
    LOG.with_borrow_mut(|log| log.push(step));
}

/// Returns the steps of this thread so far, and forgets them.
pub(crate) fn take() -> Vec<DiskStep> {
    LOG.take()
}

/// Content of a file, by the order of its creation.
struct Inode {
    bytes: Vec<u8>,
    is_synced: bool,
}

/// Files below `root` after these steps and a loss of power. `choose` returns a number below its
/// argument for each choice of the disk.
pub(crate) fn files_after(
    steps: &[DiskStep],
    mut choose: impl FnMut(usize) -> usize,
) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut inodes: Vec<Inode> = Vec::new();
    let mut names: BTreeMap<PathBuf, usize> = BTreeMap::new();
    let mut synced_names = names.clone();
    // The names after each change since the last sync of their directory.
    let mut pending: Vec<BTreeMap<PathBuf, usize>> = Vec::new();
    for step in steps {
        match step {
            DiskStep::Written(path, bytes) => {
                inodes.push(Inode { bytes: bytes.clone(), is_synced: false });
                names.insert(path.clone(), inodes.len() - 1);
                pending.push(names.clone());
            }
            DiskStep::Renamed(from, to) => {
                let inode = names.remove(from).expect("the file exists");
                names.insert(to.clone(), inode);
                pending.push(names.clone());
            }
            DiskStep::Synced(path) => match names.get(path) {
                Some(inode) => inodes[*inode].is_synced = true,
                None => {
                    let is_inside = |name: &PathBuf| name.parent() == Some(path);
                    synced_names.retain(|name, _| !is_inside(name));
                    let inside = names.iter().filter(|(name, _)| is_inside(name));
                    synced_names.extend(inside.map(|(name, inode)| (name.clone(), *inode)));
                    pending.clear();
                }
            },
            DiskStep::Mark(_) => {}
        }
    }
    let kept = choose(pending.len() + 1);
    let names = if kept == 0 { synced_names } else { pending.swap_remove(kept - 1) };
    let mut content = |inode: &Inode| match if inode.is_synced { 0 } else { choose(3) } {
        0 => inode.bytes.clone(),
        1 => Vec::new(),
        _ => vec![0; inode.bytes.len()],
    };
    names.into_iter().map(|(name, inode)| (name, content(&inodes[inode]))).collect()
}

/// Writes files that are below `from` to the same places below `to`.
pub(crate) fn restore(files: &BTreeMap<PathBuf, Vec<u8>>, from: &Path, to: &Path) {
    for (path, bytes) in files {
        let path = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, bytes).unwrap();
    }
}
