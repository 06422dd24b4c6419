//! The directory tree under the root: every file is opened relative to the root's descriptor, beneath it, through no
//! symbolic link. The kernel confines (`openat2`), not string checks alone.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::Arc;

use quick_cache::sync::Cache;
use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, statat};

/// Open directories kept. Each costs a descriptor.
const OPEN_DIRECTORIES: usize = 256;

/// Directories whose name is known to be durable in all their parents.
const DURABLE_DIRECTORIES: usize = 4096;

pub(crate) struct Tree {
    root: OwnedFd,
    open: Cache<String, Arc<OwnedFd>>,
    durable: Cache<String, ()>,
}

const CONFINED: ResolveFlags = ResolveFlags::BENEATH.union(ResolveFlags::NO_SYMLINKS);

/// The directory part and the name of a path.
pub(crate) fn split(path: &str) -> (&str, &str) {
    path.rsplit_once('/').unwrap_or(("", path))
}

impl Tree {
    pub(crate) fn open(root: &std::path::Path) -> io::Result<Self> {
        let root =
            rustix::fs::open(root, OFlags::DIRECTORY | OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        Ok(Self { root, open: Cache::new(OPEN_DIRECTORIES), durable: Cache::new(DURABLE_DIRECTORIES) })
    }

    fn confined(&self, path: &str, flags: OFlags, mode: Mode) -> io::Result<OwnedFd> {
        let path = if path.is_empty() { "." } else { path };
        Ok(rustix::fs::openat2(&self.root, path, flags | OFlags::CLOEXEC, mode, CONFINED)?)
    }

    /// An existing file, for reading.
    pub(crate) fn read(&self, path: &str) -> io::Result<File> {
        let file = File::from(self.confined(path, OFlags::RDONLY, Mode::empty())?);
        Ok(file)
    }

    /// An existing directory.
    pub(crate) fn directory(&self, path: &str) -> io::Result<Arc<OwnedFd>> {
        if let Some(open) = self.open.get(path) {
            return Ok(open);
        }
        let fd = Arc::new(self.confined(path, OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty())?);
        self.open.insert(path.to_owned(), fd.clone());
        Ok(fd)
    }

    /// A directory, made with its parents if it is not there. Not durable yet.
    pub(crate) fn make_directory(&self, path: &str) -> io::Result<Arc<OwnedFd>> {
        match self.directory(path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && !path.is_empty() => {}
            other => return other,
        }
        let (parent, name) = split(path);
        let parent = self.make_directory(parent)?;
        match rustix::fs::mkdirat(&*parent, name, Mode::from_raw_mode(0o755)) {
            Ok(()) | Err(rustix::io::Errno::EXIST) => self.directory(path),
            Err(error) => Err(error.into()),
        }
    }

    /// Makes the name of everything in a directory durable, and of the directory itself in all its parents.
    pub(crate) fn sync_directory(&self, path: &str) -> io::Result<()> {
        rustix::fs::fsync(&*self.directory(path)?)?;
        self.sync_parents(path)
    }

    fn sync_parents(&self, path: &str) -> io::Result<()> {
        if path.is_empty() || self.durable.get(path).is_some() {
            return Ok(());
        }
        let (parent, _) = split(path);
        rustix::fs::fsync(&*self.directory(parent)?)?;
        self.sync_parents(parent)?;
        self.durable.insert(path.to_owned(), ());
        Ok(())
    }

    /// A new file; fails if there is one.
    pub(crate) fn create(&self, path: &str) -> io::Result<File> {
        let (parent, name) = split(path);
        let parent = self.make_directory(parent)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        Ok(rustix::fs::openat(&*parent, name, flags, Mode::from_raw_mode(0o644))?.into())
    }

    /// An existing file, for reading and writing.
    pub(crate) fn update(&self, path: &str) -> io::Result<File> {
        Ok(self.confined(path, OFlags::RDWR, Mode::empty())?.into())
    }

    /// Moves a file into place: over an existing one, or not.
    pub(crate) fn rename(&self, from: &str, to: &str, replace: bool) -> io::Result<()> {
        let ((from_parent, from_name), (to_parent, to_name)) = (split(from), split(to));
        let from_parent = self.directory(from_parent)?;
        let to_parent = self.make_directory(to_parent)?;
        if replace {
            rustix::fs::renameat(&*from_parent, from_name, &*to_parent, to_name)?;
        } else {
            // A link fails if the name is taken, on every file system; the temporary name then goes.
            rustix::fs::linkat(&*from_parent, from_name, &*to_parent, to_name, AtFlags::empty())?;
            rustix::fs::unlinkat(&*from_parent, from_name, AtFlags::empty())?;
        }
        Ok(())
    }

    /// A second name for a file.
    pub(crate) fn link(&self, from: &str, to: &str) -> io::Result<()> {
        let ((from_parent, from_name), (to_parent, to_name)) = (split(from), split(to));
        let from_parent = self.directory(from_parent)?;
        let to_parent = self.make_directory(to_parent)?;
        Ok(rustix::fs::linkat(&*from_parent, from_name, &*to_parent, to_name, AtFlags::empty())?)
    }

    /// Removes a file; one that is not there is fine.
    pub(crate) fn unlink(&self, path: &str) -> io::Result<()> {
        let (parent, name) = split(path);
        let parent = match self.directory(parent) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            other => other?,
        };
        match rustix::fs::unlinkat(&*parent, name, AtFlags::empty()) {
            Ok(()) | Err(rustix::io::Errno::NOENT) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Removes a directory with the files in it (not recursive).
    pub(crate) fn remove_directory(&self, path: &str) -> io::Result<()> {
        for name in self.names(path)? {
            self.unlink(&format!("{path}/{name}"))?;
        }
        self.open.remove(path);
        let (parent, name) = split(path);
        Ok(rustix::fs::unlinkat(&*self.directory(parent)?, name, AtFlags::REMOVEDIR)?)
    }

    /// Whether there is anything at a path.
    pub(crate) fn exists(&self, path: &str) -> io::Result<bool> {
        match self.confined(path, OFlags::PATH, Mode::empty()) {
            Ok(_) => Ok(true),
            Err(error) if is_absent(&error) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// A directory as it is named now, whatever was opened before.
    pub(crate) fn open_directory(&self, path: &str) -> io::Result<OwnedFd> {
        self.confined(path, OFlags::DIRECTORY | OFlags::RDONLY, Mode::empty())
    }

    /// The names in a directory. Names that are not UTF-8 are not ours and left out.
    fn names(&self, path: &str) -> io::Result<Vec<String>> {
        let mut all = Vec::new();
        each_entry(&self.open_directory(path)?, &mut |name, _| all.push(name.to_owned()))?;
        Ok(all)
    }

    /// Makes everything written to the file system so far durable.
    pub(crate) fn sync_all(&self) -> io::Result<()> {
        Ok(rustix::fs::syncfs(&self.root)?)
    }
}

/// What a name in a directory stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    Directory,
    /// A symbolic link, a pipe, a device.
    Other,
}

fn kind(kind: FileType) -> Kind {
    match kind {
        FileType::RegularFile => Kind::File,
        FileType::Directory => Kind::Directory,
        _ => Kind::Other,
    }
}

/// What is known of a file without opening it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FileStat {
    pub(crate) size: u64,
    pub(crate) mtime_secs: i64,
    /// Nanoseconds within that second.
    pub(crate) mtime_nanos: u64,
}

/// Calls `each` with every name in an open directory. Names that are not UTF-8 are left out.
pub(crate) fn each_entry(directory: &OwnedFd, each: &mut dyn FnMut(&str, Kind)) -> io::Result<()> {
    for entry in rustix::fs::Dir::read_from(directory)? {
        let entry = entry?;
        let Ok(name) = entry.file_name().to_str() else { continue };
        if name == "." || name == ".." {
            continue;
        }
        let kind = match entry.file_type() {
            // Some file systems do not say.
            FileType::Unknown => match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
                Ok(stat) => kind(FileType::from_raw_mode(stat.st_mode)),
                Err(rustix::io::Errno::NOENT) => continue,
                Err(error) => return Err(error.into()),
            },
            known => kind(known),
        };
        each(name, kind);
    }
    Ok(())
}

/// A file in an open directory; `None` if there is none of this name.
pub(crate) fn stat(directory: &OwnedFd, name: &str) -> io::Result<Option<FileStat>> {
    match statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) if FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile => Ok(Some(FileStat {
            size: stat.st_size as u64,
            mtime_secs: stat.st_mtime,
            mtime_nanos: stat.st_mtime_nsec,
        })),
        Ok(_) | Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// When an open directory changed last, in nanoseconds since the epoch.
pub(crate) fn changed(directory: &OwnedFd) -> io::Result<i128> {
    let stat = rustix::fs::fstat(directory)?;
    Ok(i128::from(stat.st_mtime) * 1_000_000_000 + i128::from(stat.st_mtime_nsec))
}

/// Whether an error says that there is no such file: a file where a directory would be counts, too.
pub(crate) fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
        || error.raw_os_error() == Some(rustix::io::Errno::NAMETOOLONG.raw_os_error())
}
