//! Bodies that are synced by themselves, and parts that become one object.

use std::fs::File;
use std::io::{self, Write};
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use md5::{Digest, Md5};
use tokio::sync::mpsc;

use super::flush::Flusher;
use super::tree::Tree;
use super::{io_error, lost};
use crate::{BlockError, ByteStream, Stored, StoredPart};

/// Small chunks are gathered to this before they are written.
const WRITE_PIECE: usize = 512 << 10;

/// What the body's side tells the writing thread.
enum Piece {
    Bytes(Bytes),
    /// The body ended well. Without this word the file is removed: the body failed, or its reader went away.
    End,
}

/// Streams a body into a new file, with its MD5, and syncs the file. On any failure the file is gone.
pub(crate) async fn write(
    tree: &Arc<Tree>,
    flusher: &Arc<dyn Flusher>,
    path: String,
    held: BytesMut,
    mut body: ByteStream,
) -> Result<Stored, BlockError> {
    let what = "write an object";
    let (pieces, received) = mpsc::channel::<Piece>(2);
    let (tree, flusher) = (tree.clone(), flusher.clone());
    let writer = tokio::task::spawn_blocking(move || receive(&tree, &*flusher, &path, received));
    let mut gathered = held;
    let sent = async {
        while let Some(chunk) = body.next().await {
            let chunk = chunk?;
            if gathered.is_empty() && chunk.len() >= WRITE_PIECE {
                if pieces.send(Piece::Bytes(chunk)).await.is_err() {
                    return Ok(());
                }
                continue;
            }
            gathered.extend_from_slice(&chunk);
            if gathered.len() >= WRITE_PIECE {
                let full = std::mem::take(&mut gathered).freeze();
                if pieces.send(Piece::Bytes(full)).await.is_err() {
                    return Ok(());
                }
            }
        }
        if !gathered.is_empty() {
            let _ = pieces.send(Piece::Bytes(gathered.freeze())).await;
        }
        let _ = pieces.send(Piece::End).await;
        Ok::<(), BlockError>(())
    }
    .await;
    drop(pieces);
    let written = writer.await.map_err(|_| lost(what))?;
    sent?;
    written.map_err(io_error(what))
}

fn receive(
    tree: &Tree,
    flusher: &dyn Flusher,
    path: &str,
    mut pieces: mpsc::Receiver<Piece>,
) -> io::Result<Stored> {
    let mut file = tree.create(path)?;
    let mut stored = || -> io::Result<Option<Stored>> {
        let (mut md5, mut size) = (Md5::new(), 0);
        while let Some(piece) = pieces.blocking_recv() {
            match piece {
                Piece::Bytes(bytes) => {
                    md5.update(&bytes);
                    file.write_all(&bytes)?;
                    size += bytes.len() as u64;
                }
                Piece::End => {
                    // The content is durable before the file gets its name.
                    flusher.sync_data(&file)?;
                    return Ok(Some(Stored { size, md5: md5.finalize().into() }));
                }
            }
        }
        Ok(None)
    };
    match stored() {
        Ok(Some(stored)) => Ok(stored),
        broken => {
            tree.unlink(path)?;
            broken?;
            Err(io::Error::other("the body broke off"))
        }
    }
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
