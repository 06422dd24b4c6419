//! Reads of large objects, piece by piece.
//!
//! What the kernel has in memory is read right where the client is served, when it asks: no thread is woken for it.
//! Only for the rest is a thread of the pool needed, and then one piece is read ahead.
//!
//! Memory is bounded, and the reader's pace sets ours. No thread waits for a reader. A slow
//! client would otherwise keep one of those that every other operation needs, too. How large a piece is depends on how
//! many transfers there are ([`pace`]). A piece's memory is taken by
//! the thread that serves the client, and used again once the reader is done with it: an allocator that gives every thread
//! memory of its own (ours does) would keep some for each of the pool's threads.

use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use rustix::io::{Errno, ReadWriteFlags};
use tokio::task::JoinHandle;

use crate::{BlockError, BodyError, ByteRange, ByteStream, pace};

/// Pieces whose memory is waited for; a reader that keeps more of them makes us take new memory.
const MOST_SPENT: usize = 4;

/// A file's range on its way to a reader.
struct Reading {
    file: Arc<File>,
    range: ByteRange,
    ahead: Option<JoinHandle<io::Result<Bytes>>>,
    spent: VecDeque<Bytes>,
    /// Whether the file system can tell what it has in memory.
    tells: bool,
}

impl Reading {
    /// Begins to read the piece after the last one.
    fn read_ahead(&mut self) {
        let start = self.range.start;
        let length = (self.range.end - start).min(pace::piece() as u64);
        if length == 0 {
            return;
        }
        self.range.start += length;
        let (file, mut piece) = (self.file.clone(), self.memory(length as usize));
        self.ahead = Some(tokio::task::spawn_blocking(move || {
            piece.resize(length as usize, 0);
            file.read_exact_at(&mut piece, start)?;
            Ok(piece.freeze())
        }));
    }

    /// The memory of a piece that the reader is done with, or new memory for this many bytes.
    fn memory(&mut self, length: usize) -> BytesMut {
        for _ in 0..self.spent.len() {
            match self.spent.pop_front().map(Bytes::try_into_mut) {
                // Memory of a time with fewer readers is given back.
                Some(Ok(memory)) if memory.capacity() > 2 * length.max(pace::piece()) => {}
                Some(Ok(memory)) => return memory,
                Some(Err(in_use)) => self.spent.push_back(in_use),
                None => break,
            }
        }
        self.spent.truncate(MOST_SPENT - 1);
        BytesMut::with_capacity(length)
    }

    /// As much of the next piece as the kernel has in memory; `None`: nothing, or it would not say.
    fn read_at_hand(&mut self) -> Option<Bytes> {
        let length = (self.range.end - self.range.start).min(pace::piece() as u64);
        if length == 0 || !self.tells {
            return None;
        }
        let mut piece = self.memory(length as usize);
        piece.resize(length as usize, 0);
        let mut into = [io::IoSliceMut::new(&mut piece)];
        match rustix::io::preadv2(&*self.file, &mut into, self.range.start, ReadWriteFlags::NOWAIT) {
            Ok(read) if read > 0 => {
                self.range.start += read as u64;
                piece.truncate(read);
                Some(piece.freeze())
            }
            // The end of a file that became shorter is found out about in the other way.
            Ok(_) | Err(Errno::AGAIN) => {
                self.spent.push_back(piece.freeze());
                None
            }
            Err(_) => {
                self.tells = false;
                self.spent.push_back(piece.freeze());
                None
            }
        }
    }

    /// The next piece; `None` at the end, and after an error.
    async fn next(mut self) -> Option<(Result<Bytes, BodyError>, Self)> {
        if self.ahead.is_none() {
            if let Some(piece) = self.read_at_hand() {
                self.spent.push_back(piece.clone());
                return Some((Ok(piece), self));
            }
            self.read_ahead();
        }
        let piece = match self.ahead.take()?.await {
            Ok(piece) => piece,
            Err(stopped) => Err(io::Error::other(stopped)),
        };
        match &piece {
            Ok(piece) => {
                if !self.tells {
                    self.read_ahead();
                }
                self.spent.push_back(piece.clone());
            }
            // Nothing comes behind an error.
            Err(_) => self.range.start = self.range.end,
        }
        let failed = |source| BodyError::Store(Box::new(BlockError::Io { what: "read an object", source }));
        Some((piece.map_err(failed), self))
    }
}

/// The bytes of a range that lies within the file.
pub(super) fn pieces(file: File, range: ByteRange) -> ByteStream {
    let reading = Reading { file: Arc::new(file), range, ahead: None, spent: VecDeque::new(), tells: true };
    Box::pin(futures::stream::unfold(reading, Reading::next))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use futures::{StreamExt, TryStreamExt};

    use super::*;

    /// Bytes of a piece while few read.
    const PIECE: u64 = 256 << 10;

    fn file(length: u64) -> (File, Vec<u8>) {
        let content: Vec<u8> = (0..length).map(|n| (n % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&content).unwrap();
        (file, content)
    }

    #[tokio::test]
    async fn ranges_of_every_length_come_whole() {
        for length in [0, 1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE] {
            let (file, content) = file(length + 10);
            let range = ByteRange { start: 7, end: 7 + length };
            let read: Vec<Bytes> = pieces(file, range).try_collect().await.unwrap();
            assert!(read.iter().all(|piece| piece.len() as u64 <= PIECE));
            assert_eq!(read.concat(), content[7..7 + length as usize]);
        }
    }

    #[tokio::test]
    async fn a_file_that_became_shorter_ends_the_stream_with_an_error() {
        let (file, _) = file(PIECE + 10);
        let mut read = pieces(file, ByteRange { start: 0, end: 2 * PIECE });
        let mut length = 0;
        let ended = loop {
            match read.next().await.unwrap() {
                Ok(piece) => length += piece.len() as u64,
                Err(error) => break error,
            }
        };
        assert!((PIECE..=PIECE + 10).contains(&length), "{length}, then {ended}");
        assert!(read.next().await.is_none());
    }

    /// What is kept is not overwritten, and what is given back is all that is taken anew.
    #[tokio::test]
    async fn memory_is_used_again_once_it_is_given_back() {
        let (file, content) = file(16 * PIECE);
        let mut read = pieces(file, ByteRange { start: 0, end: 16 * PIECE });
        let (mut kept, mut addresses) = (Vec::new(), std::collections::HashSet::new());
        for n in 0..16 {
            let piece = read.next().await.unwrap().unwrap();
            addresses.insert(piece.as_ptr());
            if n < 6 {
                kept.push(piece);
            }
        }
        assert_eq!(kept.concat(), content[..6 * PIECE as usize]);
        assert!(addresses.len() <= 6 + 3, "{}", addresses.len());
    }

    /// More readers that do not read than the runtime has threads to wait with: others are served.
    #[test]
    fn readers_that_wait_hold_no_thread() {
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(2).build().unwrap();
        runtime.block_on(async {
            let mut waiting = Vec::new();
            for _ in 0..8 {
                let (file, _) = file(4 * PIECE);
                let mut read = pieces(file, ByteRange { start: 0, end: 4 * PIECE });
                assert!(read.next().await.unwrap().is_ok());
                waiting.push(read);
            }
            let rest = waiting
                .into_iter()
                .map(|read| read.try_fold(0, |all, piece| async move { Ok(all + piece.len()) }));
            for length in rest {
                assert_eq!(length.await.unwrap() as u64, 3 * PIECE);
            }
        });
    }
}
