//! Multipart uploads: parts are files in a directory of the upload, until the first of them, with the others behind it,
//! becomes the object.

use std::collections::HashMap;
use std::io;
use std::sync::{Arc, Weak};

use bytes::BytesMut;
use parking_lot::Mutex;

use super::place::Placer;
use super::tree::is_absent;
use super::{blocking, io_error, large, lost};
use crate::address::RESERVED;
use crate::{BlockError, ByteStream, PutOptions, Stored, StoredPart};

/// More locks than this: those nobody holds are forgotten.
const KNOWN_LOCKS: usize = 1024;

/// The uploads of a store.
pub(crate) struct Uploads {
    placer: Placer,
    /// Held while the parts of an upload are joined or dropped: a file must not be joined twice at once.
    locks: Mutex<HashMap<String, Weak<tokio::sync::Mutex<()>>>>,
}

fn directory_of(upload: &str) -> Result<String, BlockError> {
    if upload.is_empty() || !upload.bytes().all(|b| b.is_ascii_hexdigit()) {
        return Err(BlockError::NoSuchUpload(upload.chars().take(80).collect()));
    }
    Ok(format!("{RESERVED}/multipart/{upload}"))
}

impl Uploads {
    pub(crate) fn new(placer: Placer) -> Self {
        Self { placer, locks: Mutex::default() }
    }

    fn lock(&self, upload: &str) -> Arc<tokio::sync::Mutex<()>> {
        let mut locks = self.locks.lock();
        if let Some(lock) = locks.get(upload).and_then(Weak::upgrade) {
            return lock;
        }
        if locks.len() >= KNOWN_LOCKS {
            locks.retain(|_, lock| lock.strong_count() > 0);
        }
        let lock = Arc::default();
        locks.insert(upload.to_owned(), Arc::downgrade(&lock));
        lock
    }

    pub(crate) async fn create(&self, upload: &str) -> Result<(), BlockError> {
        let directory = directory_of(upload)?;
        let tree = self.placer.tree.clone();
        let what = "begin a multipart upload";
        blocking(what, move || {
            tree.make_directory(&directory).map_err(io_error(what))?;
            tree.sync_directory(&directory).map_err(io_error(what))
        })
        .await
    }

    /// Stores a part in a file named `tag`.
    pub(crate) async fn put(&self, upload: &str, tag: &str, body: ByteStream) -> Result<Stored, BlockError> {
        let directory = directory_of(upload)?;
        let Placer { tree, flusher, .. } = &self.placer;
        let what = "store a part";
        if !tree.exists(&directory).map_err(io_error(what))? {
            return Err(BlockError::NoSuchUpload(upload.to_owned()));
        }
        let file = format!("{directory}/{tag}");
        let stored = large::write(tree, flusher, file, BytesMut::new(), body).await?;
        let tree = tree.clone();
        blocking(what, move || tree.sync_directory(&directory).map_err(io_error(what))).await?;
        Ok(stored)
    }

    /// Joins parts into the object at `path`. Goes on to its end even if nobody waits for it any more, for what was
    /// begun on the blocking pool cannot be stopped; another completion waits for it.
    pub(crate) async fn complete(
        &self,
        path: &str,
        upload: &str,
        parts: &[StoredPart],
    ) -> Result<(), BlockError> {
        let directory = directory_of(upload)?;
        let (placer, lock) = (self.placer.clone(), self.lock(upload));
        let (path, upload, parts) = (path.to_owned(), upload.to_owned(), parts.to_vec());
        let task = tokio::spawn(async move {
            let _held = lock.lock().await;
            complete(&placer, path, directory, upload, parts).await
        });
        task.await.unwrap_or_else(|_| Err(lost("complete a multipart upload")))
    }

    pub(crate) async fn abort(&self, upload: &str) -> Result<(), BlockError> {
        let directory = directory_of(upload)?;
        let lock = self.lock(upload);
        let held = lock.lock_owned().await;
        let (tree, upload) = (self.placer.tree.clone(), upload.to_owned());
        blocking("abort a multipart upload", move || {
            let _held = held;
            tree.remove_directory(&directory).map_err(|error| {
                if is_absent(&error) {
                    BlockError::NoSuchUpload(upload)
                } else {
                    io_error("abort a multipart upload")(error)
                }
            })
        })
        .await
    }
}

async fn complete(
    placer: &Placer,
    path: String,
    directory: String,
    upload: String,
    parts: Vec<StoredPart>,
) -> Result<(), BlockError> {
    let what = "complete a multipart upload";
    let tree = &placer.tree;
    let there = || tree.exists(&path).map_err(io_error(what));
    if !tree.exists(&directory).map_err(io_error(what))? {
        return if there()? { Ok(()) } else { Err(BlockError::NoSuchUpload(upload)) };
    }
    let (joined, flusher, within) = (tree.clone(), placer.flusher.clone(), directory.clone());
    let whole = blocking(what, move || Ok(large::join(&joined, &*flusher, &within, &parts))).await?;
    match whole {
        Ok(whole) => placer.settle(whole, path.clone(), PutOptions::default()).await?,
        // A crash came between the object's appearance and the end of its upload.
        Err(error) if is_absent(&error) && there()? => {}
        Err(error) if is_absent(&error) => return Err(BlockError::NoSuchUpload(upload)),
        Err(error) => return Err(io_error(what)(error)),
    }
    let tree = tree.clone();
    let removed = move || match tree.remove_directory(&directory) {
        Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(()),
        other => other.map_err(io_error(what)),
    };
    blocking(what, removed).await
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::sync::Condvar;
    use std::sync::Mutex as StdMutex;

    use bytes::Bytes;
    use futures::FutureExt;
    use lakebed_core::SystemEntropy;

    use super::super::LocalStore;
    use super::super::flush::Flusher;
    use crate::{BlockAddress, BlockStore, StoredPart, body_from_bytes};

    /// A flusher that can be held up, and says when somebody waits.
    #[derive(Default)]
    struct Gate {
        state: StdMutex<(bool, usize)>,
        changed: Condvar,
    }

    impl Gate {
        fn close(&self) {
            self.state.lock().unwrap().0 = true;
        }

        fn open(&self) {
            self.state.lock().unwrap().0 = false;
            self.changed.notify_all();
        }

        fn wait_for_somebody(&self) {
            let state = self.state.lock().unwrap();
            drop(self.changed.wait_while(state, |(_, waiting)| *waiting == 0).unwrap());
        }

        /// Whether a second one comes to wait within a moment.
        fn is_joined(&self) -> bool {
            let state = self.state.lock().unwrap();
            let moment = std::time::Duration::from_millis(200);
            let (state, _) =
                self.changed.wait_timeout_while(state, moment, |(_, waiting)| *waiting < 2).unwrap();
            state.1 >= 2
        }
    }

    impl Flusher for Gate {
        fn sync_data(&self, _: &File) -> std::io::Result<()> {
            let mut state = self.state.lock().unwrap();
            state.1 += 1;
            self.changed.notify_all();
            state = self.changed.wait_while(state, |(closed, _)| *closed).unwrap();
            state.1 -= 1;
            Ok(())
        }
    }

    struct Begun {
        store: LocalStore,
        gate: std::sync::Arc<Gate>,
        address: BlockAddress,
        upload: String,
        parts: Vec<StoredPart>,
        directory: tempfile::TempDir,
    }

    async fn begun() -> Begun {
        let directory = tempfile::tempdir().unwrap();
        let gate = std::sync::Arc::new(Gate::default());
        let store = LocalStore::open_with(directory.path(), gate.clone(), std::sync::Arc::new(SystemEntropy))
            .unwrap();
        let address = BlockAddress::new("local://lake/data/x");
        let upload = store.create_multipart(&address).await.unwrap();
        let mut parts = Vec::new();
        for (number, content) in [(1, "first "), (2, "second ")] {
            let body = body_from_bytes(Bytes::from(content.repeat(20_000)));
            let (stored, tag) = store.put_part(&address, &upload, number, body, None).await.unwrap();
            parts.push(StoredPart { number, tag, size: stored.size });
        }
        Begun { store, gate, address, upload, parts, directory }
    }

    fn whole() -> String {
        "first ".repeat(20_000) + &"second ".repeat(20_000)
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_completion_nobody_waits_for_goes_on_and_its_repetition_waits() {
        let Begun { store, gate, address, upload, parts, directory: _directory } = begun().await;
        gate.close();
        // Polled once it runs by itself; then its caller goes away.
        let first = store.complete_multipart(&address, &upload, &parts).now_or_never();
        assert!(first.is_none(), "{first:?}");
        tokio::task::block_in_place(|| gate.wait_for_somebody());
        let (done, joined) = tokio::join!(store.complete_multipart(&address, &upload, &parts), async {
            let joined = tokio::task::block_in_place(|| gate.is_joined());
            gate.open();
            joined
        });
        assert!(!joined, "the file that is being joined was joined a second time");
        done.unwrap();
        assert_eq!(store.get_bytes(&address, 1 << 20).await.unwrap(), whole());
    }

    #[tokio::test]
    async fn a_completion_broken_off_behind_the_rename_is_taken_up_again() {
        let Begun { store, address, upload, parts, directory, gate: _ } = begun().await;
        let multipart = directory.path().join(".lakebed/multipart").join(&upload);
        let kept = directory.path().join("kept");
        std::fs::rename(multipart.join(&parts[1].tag), &kept).unwrap();
        std::fs::copy(&kept, multipart.join(&parts[1].tag)).unwrap();
        store.complete_multipart(&address, &upload, &parts).await.unwrap();
        // As a crash leaves it: the object is there, the upload's directory with the other parts is, too.
        std::fs::create_dir(&multipart).unwrap();
        std::fs::rename(&kept, multipart.join(&parts[1].tag)).unwrap();
        store.complete_multipart(&address, &upload, &parts).await.unwrap();
        assert_eq!(store.get_bytes(&address, 1 << 20).await.unwrap(), whole());
        assert!(!multipart.exists());
    }
}
