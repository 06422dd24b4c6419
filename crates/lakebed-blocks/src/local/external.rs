//! Files outside the root that may be read, never written: sources of imports (`operations.md` §7).
//!
//! `local:///abs/dir/file` is a file below one of the configured directories. As inside the root the kernel confines:
//! nothing above such a directory is reached, and nothing through a symbolic link below it. The store's own root is no
//! source, even if it lies in one: what is in it belongs to repositories.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use parking_lot::Mutex;

use super::tree::Tree;
use super::walk::Walks;
use crate::BlockError;

/// What may be imported (`blockstore.local.import_enabled`, `import_hidden`, `allowed_external_prefixes`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LocalImport {
    /// Allow it at all.
    pub enabled: bool,
    /// Take files with a part of their path that begins with a dot, too.
    pub hidden: bool,
    /// Absolute directories below which files may be read.
    pub directories: Vec<PathBuf>,
}

/// One of the directories.
pub(crate) struct External {
    /// Its path without a slash at the end; empty for `/`.
    base: String,
    /// The path below which the store's own root lies, relative to this directory.
    own: Option<String>,
    tree: Mutex<Option<Arc<Tree>>>,
    pub(crate) walks: Arc<Walks>,
}

impl External {
    /// For a configured directory. It need not exist yet.
    pub(crate) fn new(directory: &Path, root: &Path) -> Result<Self, BlockError> {
        let refuse = |why: &str| {
            Err(BlockError::Io {
                what: "read the directories that may be imported from",
                source: io::Error::other(format!("'{}' {why}", directory.display())),
            })
        };
        let Some(text) = directory.to_str().filter(|_| directory.is_absolute()) else {
            return refuse("is not an absolute path");
        };
        let base = text.trim_end_matches('/').to_owned();
        if base.split('/').any(|part| part == "." || part == "..") {
            return refuse("has a '.' or '..' in it");
        }
        // Both as the file system knows them: either may be named through links.
        let real = |path: &Path| std::fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let (real, root) = (real(directory), real(root));
        if real.starts_with(&root) {
            return refuse("lies in the store's own root");
        }
        let own = root.strip_prefix(&real).ok().map(|own| own.to_string_lossy().into_owned());
        Ok(Self { base, own, tree: Mutex::new(None), walks: Arc::default() })
    }

    /// A path relative to this directory, if it lies in it.
    pub(crate) fn relative<'a>(&self, path: &'a str) -> Option<&'a str> {
        let rest = path.strip_prefix(&self.base)?;
        if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
    }

    /// The full path of a relative one.
    pub(crate) fn absolute(&self, relative: &str) -> String {
        format!("{}/{relative}", self.base)
    }

    /// Whether a relative path is the store's own root or lies in it.
    pub(crate) fn is_own(&self, relative: &str) -> bool {
        self.own.as_ref().is_some_and(|own| {
            relative.strip_prefix(own.as_str()).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }

    /// The store's root below this directory, for listings to leave out.
    pub(crate) fn own(&self) -> Option<&str> {
        self.own.as_deref()
    }

    /// The open directory.
    pub(crate) fn tree(&self) -> io::Result<Arc<Tree>> {
        let mut slot = self.tree.lock();
        if let Some(tree) = &*slot {
            return Ok(tree.clone());
        }
        let base = if self.base.is_empty() { "/" } else { &self.base };
        let tree = Arc::new(Tree::open(Path::new(base))?);
        *slot = Some(tree.clone());
        Ok(tree)
    }
}
