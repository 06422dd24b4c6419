//! The flush that success answers rest on, as a seam: tests record it, or leave it out to see that they would notice.

use std::fs::File;
use std::io;

/// Makes a file's content durable.
pub(crate) trait Flusher: Send + Sync + 'static {
    /// As `fdatasync`.
    fn sync_data(&self, file: &File) -> io::Result<()>;
}

/// The operating system's flush.
pub(crate) struct SystemFlusher;

impl Flusher for SystemFlusher {
    fn sync_data(&self, file: &File) -> io::Result<()> {
        file.sync_data()
    }
}
