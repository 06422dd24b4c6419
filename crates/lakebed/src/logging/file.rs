//! A log file that is put aside when it is full.

use std::fs::File;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use jiff::Timestamp;

/// A log file. When a line would make it longer than it may be, it is renamed to `name-2026-11-26T23-05-10.123.log` (the
/// time in UTC) and begun anew; of files put aside the newest are kept.
pub(super) struct RotatingFile {
    path: PathBuf,
    file: File,
    bytes: u64,
    max_bytes: u64,
    keep: usize,
}

fn append(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).open(path)
}

impl RotatingFile {
    /// Goes on with what is there. `keep`: how many files put aside are kept, 0: all.
    pub(super) fn open(path: PathBuf, max_bytes: u64, keep: usize) -> io::Result<Self> {
        let file = append(&path)?;
        let bytes = file.metadata()?.len();
        Ok(Self { path, file, bytes, max_bytes, keep })
    }

    /// Writes a line. A file that cannot be put aside grows on: a line is worth more than its length.
    pub(super) fn write_line(&mut self, line: &[u8]) -> io::Result<()> {
        let turned = if self.bytes > 0 && self.bytes + line.len() as u64 > self.max_bytes {
            self.turn(Timestamp::now())
        } else {
            Ok(())
        };
        self.file.write_all(line)?;
        self.bytes += line.len() as u64;
        turned
    }

    fn turn(&mut self, now: Timestamp) -> io::Result<()> {
        let mut millis = now.as_millisecond();
        let mut aside = self.aside(millis);
        while aside.exists() {
            millis += 1;
            aside = self.aside(millis);
        }
        std::fs::rename(&self.path, &aside)?;
        self.file = append(&self.path)?;
        self.bytes = 0;
        self.tidy()
    }

    /// What stands before and behind the time in the name of a file put aside.
    fn around(&self) -> (String, String) {
        let part = |part: Option<&std::ffi::OsStr>| part.unwrap_or_default().to_string_lossy().into_owned();
        let end = self.path.extension().map(|end| format!(".{}", end.to_string_lossy()));
        (format!("{}-", part(self.path.file_stem())), end.unwrap_or_default())
    }

    fn aside(&self, millis: i64) -> PathBuf {
        let (stem, end) = self.around();
        let at = Timestamp::from_millisecond(millis).unwrap_or(Timestamp::UNIX_EPOCH);
        self.path.with_file_name(format!("{stem}{}{end}", at.strftime("%Y-%m-%dT%H-%M-%S%.3f")))
    }

    /// Deletes the oldest of the files put aside. Their names are of one length and begin with the time: sorted by name,
    /// they are in order of time.
    fn tidy(&self) -> io::Result<()> {
        if self.keep == 0 {
            return Ok(());
        }
        let (stem, end) = self.around();
        let length = "2026-11-26T23-05-10.123".len();
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        let mut aside = Vec::new();
        for entry in std::fs::read_dir(directory.unwrap_or(Path::new(".")))? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            let time = name.strip_prefix(&stem).and_then(|rest| rest.strip_suffix(&end));
            if time.is_some_and(|time| time.len() == length && time.contains('T')) {
                aside.push((name, entry.path()));
            }
        }
        aside.sort();
        let surplus = aside.len().saturating_sub(self.keep);
        aside.into_iter().take(surplus).try_for_each(|(_, path)| std::fs::remove_file(path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines_of(path: &Path) -> usize {
        std::fs::read_to_string(path).unwrap().lines().count()
    }

    #[test]
    fn a_full_file_is_put_aside_and_the_oldest_go() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("server.log");
        let other = directory.path().join("server-of-another-program-at-noonT.log");
        std::fs::write(&other, "x").unwrap();
        let mut file = RotatingFile::open(path.clone(), 20, 2).unwrap();
        for _ in 0..9 {
            file.write_line(b"123456789\n").unwrap();
        }
        drop(file);
        // Goes on where it was left, also after a restart.
        let mut file = RotatingFile::open(path.clone(), 20, 2).unwrap();
        file.write_line(b"123456789\n").unwrap();
        assert_eq!(lines_of(&path), 2);
        file.write_line(b"123456789\n").unwrap();
        assert_eq!(lines_of(&path), 1);
        let entries = std::fs::read_dir(directory.path()).unwrap();
        let aside: Vec<_> =
            entries.map(|entry| entry.unwrap().path()).filter(|at| *at != path && *at != other).collect();
        assert_eq!(aside.len(), 2, "{aside:?}");
        for at in aside {
            assert_eq!(lines_of(&at), 2);
        }
        assert!(other.exists());
    }

    #[test]
    fn a_line_longer_than_a_file_is_written_whole() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        let mut file = RotatingFile::open(path.clone(), 4, 0).unwrap();
        for _ in 0..3 {
            file.write_line(b"123456789\n").unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "123456789\n");
        assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 3);
    }
}
