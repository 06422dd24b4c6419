//! Objects as files under one root: `local://<namespace>/<key>` is `<root>/<namespace>/<key>`.
//!
//! Small objects are made durable together by a [log](log); large ones sync their own file, then the directory that
//! names it. Everything of the store's own is under `<root>/.lakebed`.

mod external;
mod flush;
mod large;
mod log;
mod place;
mod read;
mod tree;
mod uploads;
mod walk;

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use async_trait::async_trait;
use bytes::{Bytes, BytesMut};
use futures::StreamExt;
use lakebed_core::{Entropy, SystemEntropy};
use md5::{Digest, Md5};

use self::external::External;
pub use self::external::LocalImport;
use self::flush::{Flusher, SystemFlusher};
use self::log::{Log, Request, SMALL};
use self::place::Placer;
use self::tree::{FileStat, Tree, is_absent};
use self::uploads::Uploads;
use self::walk::{Leave, Walks};
use crate::address::{RESERVED, check_segments, segments};
use crate::pace;
use crate::{
    BlockAddress, BlockError, BlockInfo, BlockStore, ByteRange, ByteStream, PutOptions, StoreInfo, Stored,
    StoredPart, body_from_bytes,
};

/// Reads up to this are done at once, in place: the file is most likely in the page cache.
const READ_AT_ONCE: u64 = 128 << 10;

/// The store on a local file system. One process at a time may have a root open.
pub struct LocalStore {
    tree: Arc<Tree>,
    log: Arc<Log>,
    flusher: Arc<dyn Flusher>,
    entropy: Arc<dyn Entropy>,
    placer: Placer,
    uploads: Uploads,
    walks: Arc<Walks>,
    root: PathBuf,
    import: LocalImport,
    external: Vec<External>,
    _lock: File,
}

fn io_error(what: &'static str) -> impl Fn(io::Error) -> BlockError {
    move |source| BlockError::Io { what, source }
}

fn lost(what: &'static str) -> BlockError {
    BlockError::Io { what, source: io::Error::other("the worker thread failed") }
}

/// Runs file work on the blocking pool.
async fn blocking<T: Send + 'static>(
    what: &'static str,
    work: impl FnOnce() -> Result<T, BlockError> + Send + 'static,
) -> Result<T, BlockError> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| Err(lost(what)))
}

impl LocalStore {
    /// Opens or makes a store under `root`, replaying what a crash left. Fails if another process has it open.
    pub fn open(root: &Path) -> Result<Self, BlockError> {
        Self::open_with(root, Arc::new(SystemFlusher), Arc::new(SystemEntropy))
    }

    pub(crate) fn open_with(
        root: &Path,
        flusher: Arc<dyn Flusher>,
        entropy: Arc<dyn Entropy>,
    ) -> Result<Self, BlockError> {
        let own = root.join(RESERVED);
        std::fs::create_dir_all(own.join("multipart")).map_err(io_error("create the store's directory"))?;
        let lock = File::options()
            .create(true)
            .truncate(false)
            .write(true)
            .open(own.join("lock"))
            .map_err(io_error("open the store's lock"))?;
        if lock.try_lock().is_err() {
            let source =
                io::Error::other(format!("'{}' is in use by another process: stop it first", root.display()));
            return Err(BlockError::Io { what: "lock the store", source });
        }
        // Uploads of bodies that a crash broke off belong to nobody.
        let temporary = own.join("tmp");
        match std::fs::remove_dir_all(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(io_error("clear temporary files")(error));
            }
            _ => std::fs::create_dir_all(&temporary).map_err(io_error("create the store's directory"))?,
        }
        let tree = Arc::new(Tree::open(root).map_err(io_error("open the store's root"))?);
        let log =
            Log::open(&own.join("log"), tree.clone(), flusher.clone()).map_err(io_error("replay the log"))?;
        // The names of the store's own directories: what is in them rests on them.
        for directory in [&*own, root] {
            File::open(directory)
                .and_then(|opened| opened.sync_all())
                .map_err(io_error("flush the store's directory"))?;
        }
        let log = Arc::new(log);
        let placer = Placer { tree: tree.clone(), log: log.clone(), flusher: flusher.clone() };
        let uploads = Uploads::new(placer.clone());
        Ok(Self {
            tree,
            log,
            flusher,
            entropy,
            placer,
            uploads,
            walks: Arc::default(),
            root: root.to_owned(),
            import: LocalImport::default(),
            external: Vec::new(),
            _lock: lock,
        })
    }

    /// This store, with objects that may be imported into it without copying. Fails if a directory makes no sense.
    pub fn importing(mut self, import: LocalImport) -> Result<Self, BlockError> {
        let directories = if import.enabled { &import.directories[..] } else { &[] };
        let open = |directory: &PathBuf| External::new(directory, &self.root);
        self.external = directories.iter().map(open).collect::<Result<_, _>>()?;
        self.import = import;
        Ok(self)
    }

    fn path(address: &BlockAddress) -> Result<&str, BlockError> {
        segments("local", address)
    }

    /// The directory outside the root that an absolute path lies in, and the path relative to it.
    fn external<'a>(
        &self,
        address: &BlockAddress,
        path: &'a str,
    ) -> Result<(&External, &'a str), BlockError> {
        let refused = |why| BlockError::Refused { address: address.clone(), why };
        let found = self.external.iter().find_map(|external| Some((external, external.relative(path)?)));
        let (external, relative) =
            found.ok_or_else(|| refused("it is outside the directories that may be imported from"))?;
        if external.is_own(relative) {
            return Err(refused("it lies in the store's own root"));
        }
        Ok((external, relative))
    }

    /// Opens an object for reading, inside the root or outside.
    fn open_object(&self, address: &BlockAddress) -> Result<(File, FileStat), BlockError> {
        let opened = match outside(address) {
            None => self.tree.read(Self::path(address)?),
            Some(path) => {
                let (external, relative) = self.external(address, path)?;
                check_segments(relative)
                    .map_err(|why| BlockError::Refused { address: address.clone(), why })?;
                external.tree().and_then(|tree| tree.read(relative))
            }
        };
        let file = opened.map_err(|error| read_error(address, error))?;
        let stat = FileStat::of(&file).map_err(io_error("read an object"))?;
        Ok((file, stat.ok_or_else(|| BlockError::NotFound(address.clone()))?))
    }

    fn fresh(&self, directory: &str) -> String {
        format!("{RESERVED}/{directory}/{:016x}", self.entropy.next_u64())
    }

    async fn put_small(
        &self,
        address: &BlockAddress,
        body: Bytes,
        options: PutOptions,
    ) -> Result<(), BlockError> {
        let path = Self::path(address)?.to_owned();
        let request = Request::Put { path, body, if_absent: options.if_absent };
        match self.log.send(request).await {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(BlockError::Exists(address.clone()))
            }
            other => other.map_err(io_error("write a small object")),
        }
    }
}

impl LocalStore {
    async fn list_outside(
        &self,
        prefix: &BlockAddress,
        path: String,
        after: Option<String>,
        limit: usize,
    ) -> Result<Vec<BlockInfo>, BlockError> {
        let what = "list files to import";
        let (external, relative) = self.external(prefix, &path)?;
        let (relative, after) =
            (relative.to_owned(), after.and_then(|after| external.relative(&after).map(str::to_owned)));
        let (tree, walks) = (external.tree(), external.walks.clone());
        let tree = tree.map_err(|error| read_error(prefix, error))?;
        let (hidden, own) = (!self.import.hidden, external.own().map(str::to_owned));
        let missing = prefix.clone();
        let found = blocking(what, move || {
            if after.is_none() {
                let directory = tree::split(&relative).0;
                tree.open_directory(directory).map_err(|error| read_error(&missing, error))?;
            }
            let leave = Leave { hidden, directory: own.as_deref() };
            walks.list(&tree, &relative, after.as_deref(), leave, limit).map_err(io_error(what))
        })
        .await?;
        let address = |path: &str| format!("local://{}", external.absolute(path));
        Ok(found.into_iter().map(|found| block_info(address(&found.path), found.file)).collect())
    }
}

/// The absolute path of an object outside the root.
fn outside(address: &BlockAddress) -> Option<&str> {
    address.as_str().strip_prefix("local://").filter(|path| path.starts_with('/'))
}

/// The body up to `SMALL` bytes: all of it, or its beginning with the rest still to come.
enum Beginning {
    Whole(Bytes),
    More(BytesMut),
}

async fn begin(body: &mut ByteStream) -> Result<Beginning, BlockError> {
    let mut held = BytesMut::new();
    let mut first: Option<Bytes> = None;
    while let Some(chunk) = body.next().await {
        let chunk = chunk?;
        if first.is_none() && held.is_empty() {
            if chunk.len() > SMALL {
                return Ok(Beginning::More(BytesMut::from(chunk)));
            }
            first = Some(chunk);
            continue;
        }
        if let Some(first) = first.take() {
            held.extend_from_slice(&first);
        }
        held.extend_from_slice(&chunk);
        if held.len() > SMALL {
            return Ok(Beginning::More(held));
        }
    }
    Ok(Beginning::Whole(first.unwrap_or_else(|| held.freeze())))
}

#[async_trait]
impl BlockStore for LocalStore {
    fn info(&self) -> StoreInfo {
        StoreInfo {
            kind: "local",
            scheme: "local",
            presign: false,
            presign_multipart: false,
            import: self.import.enabled,
            min_part_bytes: 0,
        }
    }

    async fn put(
        &self,
        address: &BlockAddress,
        mut body: ByteStream,
        options: PutOptions,
    ) -> Result<Stored, BlockError> {
        let path = Self::path(address)?.to_owned();
        match begin(&mut body).await? {
            Beginning::Whole(bytes) => {
                let stored = Stored { size: bytes.len() as u64, md5: Md5::digest(&bytes).into() };
                self.put_small(address, bytes, options).await?;
                Ok(stored)
            }
            Beginning::More(held) => {
                let temporary = self.fresh("tmp");
                let stored = large::write(&self.tree, &self.flusher, temporary.clone(), held, body).await?;
                self.placer.settle(temporary, path, options).await?;
                Ok(stored)
            }
        }
    }

    async fn put_bytes(
        &self,
        address: &BlockAddress,
        bytes: Bytes,
        options: PutOptions,
    ) -> Result<(), BlockError> {
        if bytes.len() <= 1 << 20 {
            return self.put_small(address, bytes, options).await;
        }
        self.put(address, body_from_bytes(bytes), options).await.map(drop)
    }

    async fn get(&self, address: &BlockAddress, range: Option<ByteRange>) -> Result<ByteStream, BlockError> {
        let (file, FileStat { size, .. }) = self.open_object(address)?;
        let range = range.unwrap_or(ByteRange { start: 0, end: size });
        if range.start > range.end || range.end > size {
            return Err(BlockError::OutOfRange(address.clone()));
        }
        if range.end - range.start <= READ_AT_ONCE.min(pace::piece() as u64) {
            let mut bytes = vec![0; (range.end - range.start) as usize];
            file.read_exact_at(&mut bytes, range.start).map_err(io_error("read an object"))?;
            return Ok(body_from_bytes(bytes.into()));
        }
        Ok(read::pieces(file, range))
    }

    async fn get_bytes(&self, address: &BlockAddress, limit: usize) -> Result<Bytes, BlockError> {
        let (file, FileStat { size, .. }) = self.open_object(address)?;
        if size > limit as u64 {
            return Err(BlockError::Refused {
                address: address.clone(),
                why: "the object is larger than expected",
            });
        }
        let mut bytes = vec![0; size as usize];
        file.read_exact_at(&mut bytes, 0).map_err(io_error("read an object"))?;
        Ok(bytes.into())
    }

    async fn head(&self, address: &BlockAddress) -> Result<BlockInfo, BlockError> {
        let (_, stat) = self.open_object(address)?;
        Ok(block_info(address.as_str().to_owned(), stat))
    }

    async fn delete(&self, addresses: &[BlockAddress]) -> Vec<Result<(), BlockError>> {
        let delete = |address: BlockAddress| async move {
            let path = Self::path(&address)?.to_owned();
            self.log.send(Request::Delete { path }).await.map_err(io_error("delete an object"))
        };
        let deletes: Vec<_> = addresses.iter().cloned().map(delete).collect();
        futures::future::join_all(deletes).await
    }

    async fn copy(&self, from: &BlockAddress, to: &BlockAddress) -> Result<(), BlockError> {
        let what = "copy an object";
        let target = Self::path(to)?.to_owned();
        let size = self.head(from).await?.size;
        if size <= SMALL as u64 {
            let bytes = self.get_bytes(from, SMALL).await?;
            return self.put_small(to, bytes, PutOptions::default()).await;
        }
        if outside(from).is_some() {
            // Not ours: it may change, or lie on another file system.
            return self.put(to, self.get(from, None).await?, PutOptions::default()).await.map(drop);
        }
        let source = Self::path(from)?.to_owned();
        // Objects never change, so a second name for the same file is a copy.
        let temporary = self.fresh("tmp");
        let (tree, flusher, link) = (self.tree.clone(), self.flusher.clone(), temporary.clone());
        blocking(what, move || {
            let file = tree.read(&source).map_err(io_error(what))?;
            flusher.sync_data(&file).map_err(io_error(what))?;
            tree.link(&source, &link).map_err(io_error(what))
        })
        .await?;
        self.placer.settle(temporary, target, PutOptions::default()).await
    }

    async fn list(
        &self,
        prefix: &BlockAddress,
        start_after: Option<&BlockAddress>,
        limit: usize,
    ) -> Result<Vec<BlockInfo>, BlockError> {
        let refused = |why| BlockError::Refused { address: prefix.clone(), why };
        let strip = |address: &BlockAddress| address.as_str().strip_prefix("local://").map(str::to_owned);
        let path = strip(prefix).ok_or_else(|| refused("it belongs to another store"))?;
        let after = match start_after {
            Some(after) => Some(strip(after).ok_or_else(|| refused("it belongs to another store"))?),
            None => None,
        };
        if path.split('/').any(|segment| segment == "..") {
            return Err(refused("it has a '..' segment"));
        }
        if path.starts_with('/') {
            return self.list_outside(prefix, path, after, limit).await;
        }
        // Of the last segment only a beginning is said.
        let directory = tree::split(&path).0;
        if !directory.is_empty() {
            check_segments(directory).map_err(refused)?;
        }
        if directory.split('/').next() == Some(RESERVED) {
            return Err(refused("it names the store's own directory"));
        }
        let (tree, walks) = (self.tree.clone(), self.walks.clone());
        let found = blocking("list objects", move || {
            walks
                .list(&tree, &path, after.as_deref(), Leave::default(), limit)
                .map_err(io_error("list objects"))
        })
        .await?;
        Ok(found.into_iter().map(|found| block_info(format!("local://{}", found.path), found.file)).collect())
    }

    async fn create_multipart(&self, address: &BlockAddress) -> Result<String, BlockError> {
        Self::path(address)?;
        let upload = format!("{:016x}{:016x}", self.entropy.next_u64(), self.entropy.next_u64());
        self.uploads.create(&upload).await?;
        Ok(upload)
    }

    async fn put_part(
        &self,
        address: &BlockAddress,
        upload: &str,
        number: u32,
        body: ByteStream,
        _: Option<u64>,
    ) -> Result<(Stored, String), BlockError> {
        Self::path(address)?;
        let tag = format!("{number}-{:016x}", self.entropy.next_u64());
        let stored = self.uploads.put(upload, &tag, body).await?;
        Ok((stored, tag))
    }

    async fn complete_multipart(
        &self,
        address: &BlockAddress,
        upload: &str,
        parts: &[StoredPart],
    ) -> Result<(), BlockError> {
        self.uploads.complete(Self::path(address)?, upload, parts).await
    }

    async fn abort_multipart(&self, address: &BlockAddress, upload: &str) -> Result<(), BlockError> {
        Self::path(address)?;
        self.uploads.abort(upload).await
    }

    async fn close(&self) -> Result<(), BlockError> {
        self.log.close().await.map_err(io_error("close the store"))
    }
}

fn block_info(address: String, file: FileStat) -> BlockInfo {
    BlockInfo {
        address: BlockAddress::new(address),
        size: file.size,
        mtime_secs: file.mtime_secs,
        // What web servers say of files: a changed file has another time or size.
        etag: Some(format!("{:x}-{:x}", file.mtime_nanos_since_epoch(), file.size)),
    }
}

fn read_error(address: &BlockAddress, error: io::Error) -> BlockError {
    if is_absent(&error) {
        return BlockError::NotFound(address.clone());
    }
    if error.raw_os_error() == Some(rustix::io::Errno::LOOP.raw_os_error()) {
        return BlockError::Refused { address: address.clone(), why: "it goes through a symbolic link" };
    }
    BlockError::Io { what: "read an object", source: error }
}
