//! Listing files in the byte order of their addresses, page after page.
//!
//! A directory is read in windows: of its names behind the last one shown the smallest are held, the others are found
//! when it is read again. So memory is bounded however many files a directory has, and listing all of `n` files reads
//! the directory `n / WINDOW` times, not once for every page. Between pages a walk is kept, and goes on if none of the
//! directories it stands in has changed since; else the directories are read again.

use std::collections::BinaryHeap;
use std::io;
use std::os::fd::OwnedFd;

use lakebed_core::{Clock, SystemClock, Timestamp};
use parking_lot::Mutex;

use super::tree::{FileStat, Kind, Tree, changed, each_entry, is_absent, split, stat};
use crate::address::RESERVED;

/// The names of one directory held at once.
const WINDOW: usize = 1 << 16;

/// Walks kept between pages.
const KEPT: usize = 4;

/// A directory's modification time moves in steps; one that changed so shortly before it was read may change again
/// without showing.
const STEP_NANOS: i128 = 100_000_000;

/// A file found.
pub(crate) struct Found {
    pub(crate) path: String,
    pub(crate) file: FileStat,
}

/// Which files a listing leaves out, besides the store's own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Leave {
    /// Those with a part that begins with a dot.
    pub(crate) hidden: bool,
}

/// A name as it sorts: a directory's files sort by its name and a slash, so `a-b` comes before `a/`, though `a` is
/// shorter.
fn order(name: &str, kind: Kind) -> Option<String> {
    match kind {
        Kind::File => Some(name.to_owned()),
        Kind::Directory => Some(format!("{name}/")),
        // Links lead nowhere, and pipes have no bytes to keep.
        Kind::Other => None,
    }
}

/// The names of one directory that are still to be visited.
struct Level {
    directory: String,
    open: OwnedFd,
    /// Last first; directories end with a slash.
    names: Vec<String>,
    /// The name visited last.
    visited: String,
    /// There are more behind the ones held.
    more: bool,
    /// When the directory changed last, before it was read; `None`: too shortly before to be sure.
    changed: Option<i128>,
}

/// Where the names of a directory begin that are wanted.
enum From {
    Start,
    /// Behind this name.
    Behind(String),
    /// At this name.
    At(String),
}

impl From {
    fn admits(&self, name: &str) -> bool {
        match self {
            Self::Start => true,
            Self::Behind(last) => name > last.as_str(),
            Self::At(first) => name >= first.as_str(),
        }
    }
}

fn is_ours(directory: &str, name: &str) -> bool {
    name.starts_with(".lakebed-") || (directory.is_empty() && name == RESERVED)
}

/// What a path is relative to a directory above it.
fn within<'a>(directory: &str, path: &'a str) -> Option<&'a str> {
    if directory.is_empty() { Some(path) } else { path.strip_prefix(directory)?.strip_prefix('/') }
}

fn join(directory: &str, name: &str) -> String {
    if directory.is_empty() { name.to_owned() } else { format!("{directory}/{name}") }
}

/// When a directory changed last, in nanoseconds; `None`: too shortly before `now` to tell it from another change.
fn settled(changed: i128, now: Timestamp) -> Option<i128> {
    (changed + STEP_NANOS < i128::from(now.millis()) * 1_000_000).then_some(changed)
}

/// A listing on its way.
struct Walk {
    prefix: String,
    leave: Leave,
    window: usize,
    stack: Vec<Level>,
    /// The last file given out.
    last: String,
}

impl Walk {
    /// A walk over the files whose path starts with `prefix`, behind `after`.
    fn begin(tree: &Tree, prefix: &str, after: &str, leave: Leave, window: usize) -> io::Result<Self> {
        let (prefix, last) = (prefix.to_owned(), after.to_owned());
        let directory = split(&prefix).0.to_owned();
        let mut walk = Self { prefix, leave, window, stack: Vec::new(), last };
        walk.enter(tree, directory)?;
        Ok(walk)
    }

    /// Reads a directory from its beginning, or from where `last` lies in it.
    fn enter(&mut self, tree: &Tree, directory: String) -> io::Result<()> {
        let from = match within(&directory, &self.last).filter(|rest| !rest.is_empty()) {
            None => From::Start,
            Some(rest) => match rest.find('/') {
                Some(slash) => From::At(rest[..=slash].to_owned()),
                None => From::Behind(rest.to_owned()),
            },
        };
        self.read(tree, directory, &from)
    }

    fn read(&mut self, tree: &Tree, directory: String, from: &From) -> io::Result<()> {
        let open = match tree.open_directory(&directory) {
            Err(error) if is_absent(&error) => return Ok(()),
            other => other?,
        };
        let changed = settled(changed(&open)?, SystemClock.now());
        let prefix = within(&directory, &self.prefix).unwrap_or_default();
        let mut smallest: BinaryHeap<String> = BinaryHeap::new();
        let mut more = false;
        each_entry(&open, &mut |name, kind| {
            if is_ours(&directory, name) || (self.leave.hidden && name.starts_with('.')) {
                return;
            }
            let Some(name) = order(name, kind) else { return };
            if !name.starts_with(prefix) || !from.admits(&name) {
                return;
            }
            if smallest.len() >= self.window {
                more = true;
                if smallest.peek().is_some_and(|greatest| *greatest <= name) {
                    return;
                }
                smallest.pop();
            }
            smallest.push(name);
        })?;
        let mut names = smallest.into_sorted_vec();
        names.reverse();
        self.stack.push(Level { directory, open, names, visited: String::new(), more, changed });
        Ok(())
    }

    /// Whether no directory it stands in has changed since it was read.
    fn stands(&self, tree: &Tree) -> bool {
        self.stack.iter().all(|level| {
            let now = tree.open_directory(&level.directory).and_then(|open| changed(&open));
            level.changed.is_some() && now.ok() == level.changed
        })
    }

    /// Up to `limit` more files.
    fn next(&mut self, tree: &Tree, limit: usize) -> io::Result<Vec<Found>> {
        let mut found = Vec::new();
        while found.len() < limit
            && let Some(top) = self.stack.last_mut()
        {
            let Some(name) = top.names.pop() else {
                if let Some(Level { directory, visited, more: true, .. }) = self.stack.pop() {
                    self.read(tree, directory, &From::Behind(visited))?;
                }
                continue;
            };
            top.visited.clone_from(&name);
            if let Some(name) = name.strip_suffix('/') {
                let directory = join(&top.directory, name);
                self.enter(tree, directory)?;
                continue;
            }
            // Deleted since its directory was read, or no file any more: not there.
            let Some(file) = stat(&top.open, &name)? else { continue };
            let path = join(&top.directory, &name);
            self.last.clone_from(&path);
            found.push(Found { path, file });
        }
        Ok(found)
    }
}

/// The listings on their way, so that the next page need not begin anew.
#[derive(Default)]
pub(crate) struct Walks(Mutex<Vec<Walk>>);

impl Walks {
    /// Up to `limit` files whose path starts with `prefix`, after `after`, in order.
    pub(crate) fn list(
        &self,
        tree: &Tree,
        prefix: &str,
        after: Option<&str>,
        leave: Leave,
        limit: usize,
    ) -> io::Result<Vec<Found>> {
        self.list_by(tree, prefix, after, leave, limit, WINDOW)
    }

    fn list_by(
        &self,
        tree: &Tree,
        prefix: &str,
        after: Option<&str>,
        leave: Leave,
        limit: usize,
        window: usize,
    ) -> io::Result<Vec<Found>> {
        let after = after.unwrap_or_default();
        let kept = if after.is_empty() { None } else { self.take(prefix, after, leave) };
        let mut walk = match kept.filter(|walk| walk.stands(tree)) {
            Some(walk) => walk,
            None => Walk::begin(tree, prefix, after, leave, window)?,
        };
        let found = walk.next(tree, limit)?;
        if !walk.stack.is_empty() && !found.is_empty() {
            let mut walks = self.0.lock();
            if walks.len() >= KEPT {
                walks.remove(0);
            }
            walks.push(walk);
        }
        Ok(found)
    }

    fn take(&self, prefix: &str, after: &str, leave: Leave) -> Option<Walk> {
        let mut walks = self.0.lock();
        let at = walks
            .iter()
            .position(|walk| walk.prefix == prefix && walk.last == after && walk.leave == leave)?;
        Some(walks.remove(at))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    fn make(root: &std::path::Path, paths: &BTreeSet<String>) {
        for path in paths {
            let path = root.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, b"x").unwrap();
        }
    }

    /// Every file there is, page by page.
    fn all(walks: &Walks, tree: &Tree, prefix: &str, page: usize, window: usize) -> Vec<String> {
        let mut found: Vec<String> = Vec::new();
        loop {
            let after = found.last().cloned();
            let more = walks.list_by(tree, prefix, after.as_deref(), Leave::default(), page, window).unwrap();
            if more.is_empty() {
                return found;
            }
            found.extend(more.into_iter().map(|found| found.path));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]

        /// Whatever the page, the window and the prefix: every file once, in order.
        #[test]
        fn pages_are_the_whole_in_order(
            names in proptest::collection::btree_set("[a-c-]{1,2}(/[a-b-]{1,2}){0,2}", 0..40),
            prefix in "[a-c]{0,2}(/[a-b]?)?",
            page in 1usize..8,
            window in 1usize..6,
        ) {
            // A name is a file or a directory, not both.
            let paths: BTreeSet<String> = names
                .iter()
                .filter(|name| !names.iter().any(|other| other.starts_with(&format!("{name}/"))))
                .cloned()
                .collect();
            let root = tempfile::tempdir().unwrap();
            make(root.path(), &paths);
            let tree = Tree::open(root.path()).unwrap();
            let expected: Vec<String> = paths.iter().filter(|path| path.starts_with(&prefix)).cloned().collect();
            prop_assert_eq!(all(&Walks::default(), &tree, &prefix, page, window), expected.clone());
            // From anywhere, without a walk to go on with.
            for at in &expected {
                let found = Walks::default()
                    .list_by(&tree, &prefix, Some(at), Leave::default(), 1000, window)
                    .unwrap();
                let behind: Vec<&String> = expected.iter().filter(|path| *path > at).collect();
                prop_assert_eq!(found.iter().map(|found| &found.path).collect::<Vec<_>>(), behind);
            }
        }
    }

    #[test]
    fn what_is_added_between_pages_is_found() {
        let root = tempfile::tempdir().unwrap();
        make(root.path(), &["d/a".to_owned(), "d/c".to_owned(), "d/e".to_owned()].into());
        let tree = Tree::open(root.path()).unwrap();
        let walks = Walks::default();
        let list = |after: Option<&str>| {
            let found = walks.list(&tree, "d/", after, Leave::default(), 1).unwrap();
            found.into_iter().map(|found| found.path).collect::<Vec<_>>()
        };
        assert_eq!(list(None), ["d/a"]);
        std::fs::write(root.path().join("d/b"), b"x").unwrap();
        assert_eq!(list(Some("d/a")), ["d/b"]);
        std::fs::remove_file(root.path().join("d/c")).unwrap();
        assert_eq!(list(Some("d/b")), ["d/e"]);
        assert!(list(Some("d/e")).is_empty());
    }

    #[test]
    fn a_page_goes_on_where_the_last_one_ended() {
        let root = tempfile::tempdir().unwrap();
        make(root.path(), &(0..50).map(|n| format!("d/{n:03}")).collect());
        // As if it had been written long ago.
        let old = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        std::fs::File::open(root.path().join("d")).unwrap().set_modified(old).unwrap();
        let tree = Tree::open(root.path()).unwrap();
        let walks = Walks::default();
        walks.list(&tree, "d/", None, Leave::default(), 10).unwrap();
        assert!(walks.0.lock()[0].stands(&tree));
        let held = walks.0.lock()[0].stack[0].names.len();
        walks.list(&tree, "d/", Some("d/009"), Leave::default(), 10).unwrap();
        let kept = walks.0.lock();
        assert_eq!((kept.len(), kept[0].stack[0].names.len()), (1, held - 10), "it was not read again");
    }

    #[test]
    fn links_and_hidden_files_are_left_out() {
        let root = tempfile::tempdir().unwrap();
        make(root.path(), &[".h/a", "b/.c", "b/d"].map(str::to_owned).into());
        std::os::unix::fs::symlink(root.path().join("b/d"), root.path().join("b/link")).unwrap();
        std::os::unix::fs::symlink(root.path().join("b"), root.path().join("linked")).unwrap();
        let tree = Tree::open(root.path()).unwrap();
        let paths = |hidden| {
            let found = Walks::default().list(&tree, "", None, Leave { hidden }, 100).unwrap();
            found.into_iter().map(|found| found.path).collect::<Vec<_>>()
        };
        assert_eq!(paths(false), [".h/a", "b/.c", "b/d"]);
        assert_eq!(paths(true), ["b/d"]);
    }
}
