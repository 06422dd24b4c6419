//! Bodies that are synced by themselves, and parts that become one object.
//!
//! A body is written piece by piece, each as a job of its own: no thread waits for a client, whose pace would otherwise be
//! that of everybody who needs a thread. While one piece is written the next one is gathered; both keep their memory. How
//! large a piece is depends on how many transfers there are ([`pace`]).

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use bytes::BytesMut;
use futures::StreamExt;
use md5::{Digest, Md5};
use tokio::task::JoinError;

use super::flush::Flusher;
use super::tree::Tree;
use super::{blocking, io_error, lost};
use crate::{BlockError, ByteStream, Stored, StoredPart, pace};

const WHAT: &str = "write an object";

/// A file that is being written. Dropped before its end, the file is gone: the body failed, or its reader went away.
struct Writing {
    tree: Arc<Tree>,
    path: String,
    file: File,
    md5: Md5,
    size: u64,
    whole: bool,
}

impl Writing {
    fn create(tree: Arc<Tree>, path: String) -> io::Result<Self> {
        let file = tree.create(&path)?;
        Ok(Self { tree, path, file, md5: Md5::new(), size: 0, whole: false })
    }

    fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.md5.update(bytes);
        self.file.write_all(bytes)?;
        self.size += bytes.len() as u64;
        Ok(())
    }

    /// Syncs the file. The content is durable before the file gets its name.
    fn finish(mut self, flusher: &dyn Flusher) -> io::Result<Stored> {
        flusher.sync_data(&self.file)?;
        self.whole = true;
        Ok(Stored { size: self.size, md5: std::mem::take(&mut self.md5).finalize().into() })
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if self.whole {
            return;
        }
        if let Err(error) = self.tree.unlink(&self.path) {
            tracing::warn!(%error, path = self.path, "what a broken upload left could not be removed");
        }
    }
}

/// Streams a body into a new file, with its MD5, and syncs the file. On any failure the file is gone.
pub(crate) async fn write(
    tree: &Arc<Tree>,
    flusher: &Arc<dyn Flusher>,
    path: String,
    held: BytesMut,
    mut body: ByteStream,
) -> Result<Stored, BlockError> {
    let (tree, flusher) = (tree.clone(), flusher.clone());
    let _transfer = pace::Transfer::begin();
    let mut gathered = held;
    // What is being written, and the memory that comes back from it. It is taken here: an allocator that gives every
    // thread memory of its own (ours does) would keep some for each of the pool's threads.
    let memory = BytesMut::new();
    let mut job =
        tokio::task::spawn_blocking(move || Writing::create(tree, path).map(|writing| (writing, memory)));
    while let Some(chunk) = body.next().await {
        let mut chunk = match chunk {
            Ok(chunk) => chunk,
            Err(broken) => {
                // The file is gone when the client hears of it.
                drop(job.await);
                return Err(broken.into());
            }
        };
        loop {
            let size = pace::piece();
            if gathered.is_empty()
                && (gathered.capacity() > 2 * size || gathered.capacity() < chunk.len().min(size))
            {
                gathered = BytesMut::with_capacity(size);
            }
            // Never beyond a piece, so that its memory does not grow.
            let room = size.saturating_sub(gathered.len()).min(chunk.len());
            gathered.extend_from_slice(&chunk.split_to(room));
            if gathered.len() < size {
                break;
            }
            let (mut writing, memory) = done(job.await)?;
            let mut piece = std::mem::replace(&mut gathered, memory);
            job = tokio::task::spawn_blocking(move || {
                writing.write(&piece)?;
                piece.clear();
                Ok((writing, piece))
            });
        }
    }
    let (mut writing, _) = done(job.await)?;
    blocking(WHAT, move || {
        writing.write(&gathered).and_then(|()| writing.finish(&*flusher)).map_err(io_error(WHAT))
    })
    .await
}

/// What a job on the pool came to.
fn done<T>(job: Result<io::Result<T>, JoinError>) -> Result<T, BlockError> {
    job.map_err(|_| lost(WHAT))?.map_err(io_error(WHAT))
}

/// Joins the parts of an upload into the first one's file and syncs it; answers its path. May be begun again after a
/// crash: the first part is cut back to its own length, the others go only with the whole upload.
pub(crate) fn join(
    tree: &Tree,
    flusher: &dyn Flusher,
    directory: &str,
    parts: &[StoredPart],
) -> io::Result<String> {
    let Some((first, rest)) = parts.split_first() else {
        return Err(io::Error::other("no parts"));
    };
    let whole = format!("{directory}/{}", first.tag);
    let file = tree.update(&whole)?;
    file.set_len(first.size)?;
    let mut at = first.size;
    for part in rest {
        let source = tree.read(&format!("{directory}/{}", part.tag))?;
        append(&source, &file, at, part.size)?;
        at += part.size;
    }
    flusher.sync_data(&file)?;
    Ok(whole)
}

/// Copies inside the kernel; file systems that can share the blocks do.
fn append(source: &File, target: &File, at: u64, length: u64) -> io::Result<()> {
    let (mut from, mut to, mut left) = (0, at, length);
    while left > 0 {
        let step = usize::try_from(left.min(1 << 30)).unwrap_or(1 << 30);
        let copied = rustix::fs::copy_file_range(source, Some(&mut from), target, Some(&mut to), step)?;
        if copied == 0 {
            return Err(io::Error::other("a part is shorter than recorded"));
        }
        left -= copied as u64;
    }
    Ok(())
}
