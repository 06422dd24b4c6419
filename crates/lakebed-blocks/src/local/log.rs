//! The small-body log: many small objects become durable by one flush.
//!
//! One thread takes all that waits, appends a record for each to the log's segment, syncs the segment **once**
//! (`fdatasync`, the flush every small put rests on), writes the files themselves unsynced, and answers. A segment that
//! is full is made superfluous by one `syncfs` in the background and deleted; until then a restart replays it.
//!
//! A record: length of the rest (4), BLAKE3 of the rest (16), kind (1), path length (2), path, body. Replay stops at the
//! first record that is torn: nothing behind it was ever acknowledged.

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;

use bytes::Bytes;
use parking_lot::Mutex;
use tokio::sync::{mpsc, oneshot};

use super::flush::Flusher;
use super::tree::Tree;

/// Objects up to this size go through the log.
pub(crate) const SMALL: usize = 64 << 10;

/// Waiting requests; more callers wait for a place.
const QUEUE: usize = 4096;
/// The most requests of one flush.
const GROUP: usize = 1024;
/// A segment is rotated at this size.
const SEGMENT_BYTES: u64 = 32 << 20;

const PUT: u8 = 1;
/// What is at the path counts, not what earlier records say: it was deleted, or replaced by a file synced itself.
const SUPERSEDED: u8 = 2;

pub(crate) enum Request {
    /// Writes an object; `if_absent` fails with `AlreadyExists`.
    Put { path: String, body: Bytes, if_absent: bool },
    /// Removes an object.
    Delete { path: String },
    /// Moves a synced file over an existing object.
    Replace { from: String, path: String },
}

struct Waiting {
    request: Request,
    answer: oneshot::Sender<io::Result<()>>,
}

/// The log of a local store.
pub(crate) struct Log {
    queue: Mutex<Option<mpsc::Sender<Waiting>>>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

fn stopped() -> io::Error {
    io::Error::other("the store was closed or its log could not be written")
}

impl Log {
    /// Replays what a crash left in `directory`, and starts a fresh segment.
    pub(crate) fn open(directory: &Path, tree: Arc<Tree>, flusher: Arc<dyn Flusher>) -> io::Result<Self> {
        std::fs::create_dir_all(directory)?;
        let mut segments: Vec<(u64, PathBuf)> = Vec::new();
        for entry in std::fs::read_dir(directory)? {
            let path = entry?.path();
            let number = path.file_name().and_then(|name| name.to_str()).and_then(|name| name.parse().ok());
            if let Some(number) = number {
                segments.push((number, path));
            }
        }
        segments.sort();
        replay(&segments, &tree)?;
        if !segments.is_empty() {
            tree.sync_all()?;
            for (_, path) in &segments {
                std::fs::remove_file(path)?;
            }
        }
        let next = segments.last().map_or(1, |(number, _)| number + 1);
        let (queue, requests) = mpsc::channel(QUEUE);
        let writer = Writer {
            segment: Segment::create(directory, next)?,
            directory: directory.to_owned(),
            tree,
            flusher,
            broken: false,
            retired: None,
        };
        let thread =
            std::thread::Builder::new().name("blocks-log".to_owned()).spawn(move || writer.run(requests))?;
        Ok(Self { queue: Mutex::new(Some(queue)), thread: Mutex::new(Some(thread)) })
    }

    /// Hands a request to the log and waits until it is durable.
    pub(crate) async fn send(&self, request: Request) -> io::Result<()> {
        let queue = self.queue.lock().clone().ok_or_else(stopped)?;
        let (answer, answered) = oneshot::channel();
        queue.send(Waiting { request, answer }).await.map_err(|_| stopped())?;
        answered.await.map_err(|_| stopped())?
    }

    /// Finishes what waits and makes the files themselves durable.
    pub(crate) async fn close(&self) -> io::Result<()> {
        drop(self.queue.lock().take());
        let thread = self.thread.lock().take();
        if let Some(thread) = thread {
            let joined = tokio::task::spawn_blocking(move || thread.join()).await;
            if !matches!(joined, Ok(Ok(()))) {
                return Err(io::Error::other("the log's thread failed"));
            }
        }
        Ok(())
    }
}

struct Segment {
    file: File,
    path: PathBuf,
    number: u64,
    length: u64,
}

impl Segment {
    fn create(directory: &Path, number: u64) -> io::Result<Self> {
        let path = directory.join(format!("{number:016}"));
        let file = File::options().create_new(true).write(true).open(&path)?;
        // The segment's own name must be durable before anything in it counts.
        file.sync_all()?;
        File::open(directory)?.sync_all()?;
        Ok(Self { file, path, number, length: 0 })
    }
}

struct Writer {
    directory: PathBuf,
    segment: Segment,
    tree: Arc<Tree>,
    flusher: Arc<dyn Flusher>,
    /// A flush failed: what is on disk is unknown, nothing is accepted any more.
    broken: bool,
    /// The thread that makes the last full segment superfluous.
    retired: Option<JoinHandle<()>>,
}

impl Writer {
    fn run(mut self, mut requests: mpsc::Receiver<Waiting>) {
        let mut group = Vec::with_capacity(GROUP);
        while requests.blocking_recv_many(&mut group, GROUP) > 0 {
            self.commit(std::mem::take(&mut group));
            if self.segment.length >= SEGMENT_BYTES && !self.broken {
                self.rotate();
            }
        }
        if let Some(retired) = self.retired.take() {
            let _ = retired.join();
        }
        if !self.broken && self.segment.length > 0 && self.tree.sync_all().is_ok() {
            // Everything is in its place: the next start has nothing to replay.
            let _ = std::fs::remove_file(&self.segment.path);
        }
    }

    fn commit(&mut self, group: Vec<Waiting>) {
        let mut buffer = Vec::with_capacity(group.len() * 512);
        let mut accepted = Vec::with_capacity(group.len());
        for Waiting { request, answer } in group {
            if self.broken {
                let _ = answer.send(Err(stopped()));
                continue;
            }
            match &request {
                Request::Put { path, body, if_absent } => {
                    let taken = *if_absent
                        && (accepted.iter().any(|(earlier, _)| puts(earlier, path))
                            || !matches!(self.tree.exists(path), Ok(false)));
                    if taken {
                        let _ = answer.send(Err(io::ErrorKind::AlreadyExists.into()));
                        continue;
                    }
                    record(&mut buffer, PUT, path, body);
                }
                Request::Delete { path } | Request::Replace { path, .. } => {
                    record(&mut buffer, SUPERSEDED, path, &[]);
                }
            }
            accepted.push((request, answer));
        }
        if accepted.is_empty() {
            return;
        }
        // Durable before any answer.
        let flushed = self
            .segment
            .file
            .write_all_at(&buffer, self.segment.length)
            .and_then(|()| self.flusher.sync_data(&self.segment.file));
        if let Err(error) = flushed {
            tracing::error!(%error, "the small-object log could not be written; the store stops taking writes");
            self.broken = true;
            for (_, answer) in accepted {
                let _ = answer.send(Err(stopped()));
            }
            return;
        }
        self.segment.length += buffer.len() as u64;
        for (request, answer) in accepted {
            let _ = answer.send(self.carry_out(request));
        }
    }

    /// Does to the files what a durable record says. Unsynced: the record stands in for them.
    fn carry_out(&self, request: Request) -> io::Result<()> {
        match request {
            Request::Put { path, body, .. } => place(&self.tree, &path, &body),
            Request::Delete { path } => self.tree.unlink(&path),
            Request::Replace { from, path } => self.tree.rename(&from, &path, true),
        }
    }

    /// Starts a fresh segment; the full one goes once the files it stands for are durable.
    fn rotate(&mut self) {
        let next = match Segment::create(&self.directory, self.segment.number + 1) {
            Ok(next) => next,
            Err(error) => {
                tracing::error!(%error, "the small-object log could not be continued; the store stops taking writes");
                self.broken = true;
                return;
            }
        };
        let full = std::mem::replace(&mut self.segment, next);
        if let Some(retired) = self.retired.take() {
            // One at a time: the log never grows beyond a few segments.
            let _ = retired.join();
        }
        let tree = self.tree.clone();
        let retire = move || match tree.sync_all().and_then(|()| std::fs::remove_file(&full.path)) {
            Ok(()) => {}
            Err(error) => tracing::warn!(%error, "a full log segment is kept until the next start"),
        };
        self.retired = std::thread::Builder::new().name("blocks-sync".to_owned()).spawn(retire).ok();
    }
}

fn puts(request: &Request, at: &str) -> bool {
    matches!(request, Request::Put { path, .. } if path == at)
}

fn record(buffer: &mut Vec<u8>, kind: u8, path: &str, body: &[u8]) {
    let start = buffer.len();
    let length = 16 + 1 + 2 + path.len() + body.len();
    buffer.extend_from_slice(&(length as u32).to_le_bytes());
    buffer.extend_from_slice(&[0; 16]);
    buffer.push(kind);
    buffer.extend_from_slice(&(path.len() as u16).to_le_bytes());
    buffer.extend_from_slice(path.as_bytes());
    buffer.extend_from_slice(body);
    let digest = blake3::hash(&buffer[start + 20..]);
    buffer[start + 4..start + 20].copy_from_slice(&digest.as_bytes()[..16]);
}

/// Writes an object's file; over an existing one by way of a temporary name, so that readers see either.
fn place(tree: &Tree, path: &str, body: &[u8]) -> io::Result<()> {
    match tree.create(path) {
        Ok(mut file) => file.write_all(body),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let (parent, name) = super::tree::split(path);
            let digest = blake3::hash(name.as_bytes()).to_hex();
            let temporary = format!("{parent}/.lakebed-{}", &digest[..24]);
            tree.unlink(&temporary)?;
            tree.create(&temporary)?.write_all(body)?;
            tree.rename(&temporary, path, true)
        }
        Err(error) => Err(error),
    }
}

/// Carries out what the segments of a crashed process say: for each path, only its last record counts.
fn replay(segments: &[(u64, PathBuf)], tree: &Tree) -> io::Result<()> {
    let mut last: HashMap<String, Option<(usize, u64, usize)>> = HashMap::new();
    for (index, (_, path)) in segments.iter().enumerate() {
        let mut file = io::BufReader::with_capacity(1 << 20, File::open(path)?);
        let mut at = 0u64;
        while let Some((kind, path, body_at, body)) = read_record(&mut file, at)? {
            at = body_at + body.len() as u64;
            last.insert(path, (kind == PUT).then_some((index, body_at, body.len())));
        }
    }
    let files: Vec<File> = segments.iter().map(|(_, path)| File::open(path)).collect::<Result<_, _>>()?;
    for (path, place_at) in last {
        let Some((index, at, length)) = place_at else { continue };
        let mut body = vec![0; length];
        files[index].read_exact_at(&mut body, at)?;
        // The file may be there torn: it was never synced.
        place(tree, &path, &body)?;
    }
    Ok(())
}

type Record = (u8, String, u64, Vec<u8>);

/// The record at `at`; `None` where the log ends or is torn.
fn read_record(file: &mut impl Read, at: u64) -> io::Result<Option<Record>> {
    let mut head = [0; 20];
    if !filled(file, &mut head)? {
        return Ok(None);
    }
    let length = u32::from_le_bytes([head[0], head[1], head[2], head[3]]) as usize;
    if !(19..=SMALL.max(1 << 20) + 8192).contains(&length) {
        return Ok(None);
    }
    let mut rest = vec![0; length - 16];
    if !filled(file, &mut rest)? || blake3::hash(&rest).as_bytes()[..16] != head[4..] {
        return Ok(None);
    }
    let path_length = usize::from(u16::from_le_bytes([rest[1], rest[2]]));
    let Some(path) = rest.get(3..3 + path_length).and_then(|path| std::str::from_utf8(path).ok()) else {
        return Ok(None);
    };
    let path = path.to_owned();
    let body = rest.split_off(3 + path_length);
    Ok(Some((rest[0], path, at + 20 + 3 + path_length as u64, body)))
}

fn filled(file: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    match file.read_exact(buffer) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(false),
        Err(error) => Err(error),
    }
}
