//! One suite for every store. Each rule is a function that panics when the store breaks it; [`run_all`] runs them.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

use std::sync::Arc;

use bytes::Bytes;
use futures::StreamExt;
use md5::{Digest, Md5};

use crate::{
    BlockAddress, BlockError, BlockStore, BodyError, ByteRange, ByteStream, Namespace, PutOptions, Stored,
    StoredPart, body_from_bytes, collect,
};

/// A store and the namespace in it that the suite has for itself.
struct Place {
    store: Arc<dyn BlockStore>,
    namespace: Namespace,
}

impl std::ops::Deref for Place {
    type Target = dyn BlockStore;

    fn deref(&self) -> &Self::Target {
        &*self.store
    }
}

fn at(place: &Place, key: &str) -> BlockAddress {
    BlockAddress::in_namespace(&place.namespace, key)
}

fn bytes(length: usize) -> Bytes {
    (0..length).map(|n| (n * 31 + n / 251) as u8).collect::<Vec<u8>>().into()
}

/// A body in chunks of `size`.
fn chunked(content: &Bytes, size: usize) -> ByteStream {
    let chunks: Vec<_> = content.chunks(size).map(|chunk| Ok(Bytes::copy_from_slice(chunk))).collect();
    Box::pin(futures::stream::iter(chunks))
}

async fn read(store: &Place, address: &BlockAddress, range: Option<(u64, u64)>) -> Bytes {
    let range = range.map(|(start, end)| ByteRange { start, end });
    collect(store.get(address, range).await.unwrap(), usize::MAX).await.unwrap()
}

/// Runs every rule on one store, in a namespace of it that holds nothing.
pub async fn run_all(store: Arc<dyn BlockStore>, namespace: &str) {
    run_most(store.clone(), namespace).await;
    uploads_end_once(&Place { store, namespace: namespace.into() }).await;
}

/// Runs every rule but the last, which emulators of services stumble over.
pub async fn run_most(store: Arc<dyn BlockStore>, namespace: &str) {
    let place = Arc::new(Place { store, namespace: namespace.into() });
    what_is_put_is_read(&place).await;
    a_broken_body_leaves_nothing(&place).await;
    absence_is_checked_atomically(place.clone()).await;
    replacing_is_whole(&place).await;
    hostile_addresses_are_refused(&place).await;
    names_are_kept_as_they_are(&place).await;
    deleting_is_idempotent(&place).await;
    copies_stand_alone(&place).await;
    lists_are_ordered_and_paged(&place).await;
    parts_become_one_object(&place).await;
    many_puts_at_once(place.clone()).await;
}

/// Of every size, whole and in ranges, with size and MD5.
async fn what_is_put_is_read(store: &Place) {
    for length in [0, 1, 1000, 65_536, 65_537, 200_000, 3_000_001] {
        let content = bytes(length);
        let address = at(store, &format!("read/{length}"));
        let stored = store.put(&address, chunked(&content, 10_007), PutOptions::default()).await.unwrap();
        assert_eq!(stored.size, length as u64);
        assert_eq!(stored.md5, <[u8; 16]>::from(Md5::digest(&content)));
        assert!(read(store, &address, None).await == content, "{length} bytes");
        let options = PutOptions { size_hint: Some(length as u64), ..PutOptions::default() };
        assert_eq!(store.put(&address, chunked(&content, 10_007), options).await.unwrap(), stored);
        assert!(read(store, &address, None).await == content, "{length} bytes announced");
        assert_eq!(store.head(&address).await.unwrap().size, length as u64);
        assert!(store.get_bytes(&address, length).await.unwrap() == content);
        if length > 0 {
            assert!(store.get_bytes(&address, length - 1).await.is_err());
            let (start, end) = (length as u64 / 3, length as u64);
            assert!(read(store, &address, Some((start, end))).await == content.slice(start as usize..));
            assert!(read(store, &address, Some((0, 1))).await == content.slice(..1));
        }
        let beyond = ByteRange { start: 0, end: length as u64 + 1 };
        assert!(matches!(store.get(&address, Some(beyond)).await, Err(BlockError::OutOfRange(_))));
    }
    let missing = at(store, "read/none");
    assert!(matches!(store.get(&missing, None).await, Err(BlockError::NotFound(_))));
    assert!(matches!(store.head(&missing).await, Err(BlockError::NotFound(_))));
    assert!(matches!(store.get_bytes(&missing, 9).await, Err(BlockError::NotFound(_))));
    assert!(matches!(store.head(&at(store, "read")).await, Err(BlockError::NotFound(_))));
}

/// A body that ends in an error stores nothing, large or small.
async fn a_broken_body_leaves_nothing(store: &Place) {
    for length in [10, 2_000_000] {
        let address = at(store, &format!("broken/{length}"));
        let broken = futures::stream::iter([
            Ok(bytes(length)),
            Err(BodyError::Client(Box::new(std::io::Error::other("digest mismatch")))),
        ]);
        let options =
            PutOptions { size_hint: (length > 10).then_some(length as u64), ..PutOptions::default() };
        let result = store.put(&address, Box::pin(broken), options).await;
        assert!(matches!(result, Err(BlockError::Body(BodyError::Client(_)))), "{result:?}");
        let seen = store.head(&address).await;
        assert!(matches!(seen, Err(BlockError::NotFound(_))), "{seen:?}");
    }
}

/// Of many that ask for absence exactly one wins.
async fn absence_is_checked_atomically(store: Arc<Place>) {
    for length in [20, 300_000] {
        let mut tasks = tokio::task::JoinSet::new();
        for _ in 0..8 {
            let store = store.clone();
            tasks.spawn(async move {
                let options = PutOptions { if_absent: true, size_hint: None };
                let address = at(&store, &format!("absent/{length}"));
                store.put(&address, body_from_bytes(bytes(length)), options).await
            });
        }
        let mut won = 0;
        while let Some(result) = tasks.join_next().await {
            match result.unwrap() {
                Ok(_) => won += 1,
                Err(error) => assert!(matches!(error, BlockError::Exists(_)), "{error}"),
            }
        }
        assert_eq!(won, 1);
    }
}

/// The new content, never a mixture, whatever sizes follow each other.
async fn replacing_is_whole(store: &Place) {
    let address = at(store, "replace/x");
    for length in [100, 50, 500_000, 70, 400_000, 0] {
        let content = bytes(length);
        store.put(&address, chunked(&content, 9999), PutOptions::default()).await.unwrap();
        assert!(read(store, &address, None).await == content, "{length}");
    }
}

/// Nothing but well-formed addresses of this store. What else is refused depends on what names mean to it.
async fn hostile_addresses_are_refused(store: &Place) {
    let scheme = store.info().scheme;
    let nul = format!("{}/a\0b", store.namespace.as_str());
    let bad = ["../x", "/x", ""].map(|bad| format!("{scheme}://{bad}"));
    for bad in bad.into_iter().chain([nul]) {
        let address = BlockAddress::new(&bad);
        let put = store.put_bytes(&address, Bytes::from_static(b"x"), PutOptions::default()).await;
        assert!(matches!(put, Err(BlockError::Refused { .. })), "{bad:?}: {put:?}");
        assert!(store.get(&address, None).await.is_err());
    }
    let foreign = BlockAddress::new("other://suite/x");
    assert!(matches!(store.head(&foreign).await, Err(BlockError::Refused { .. })));
}

/// Any UTF-8 but the few things refused.
async fn names_are_kept_as_they_are(store: &Place) {
    let mut names = vec!["names/ü 蓝+1.jpg", "names/'\"<>&%2F", "names/..x", "names/~"];
    if matches!(store.info().kind, "local" | "mem") {
        // S3 takes line breaks, its emulators do not.
        names.push("names/a\nb");
    }
    for name in names {
        let address = at(store, name);
        store.put_bytes(&address, Bytes::from(name.to_owned()), PutOptions::default()).await.unwrap();
        assert!(read(store, &address, None).await == name.as_bytes());
    }
}

/// What is there goes, what is not is fine; a new object may follow.
async fn deleting_is_idempotent(store: &Place) {
    let (small, large, none) = (at(store, "delete/s"), at(store, "delete/l"), at(store, "delete/n"));
    for (address, length) in [(&small, 5), (&large, 200_000)] {
        store.put(address, body_from_bytes(bytes(length)), PutOptions::default()).await.unwrap();
    }
    for _ in 0..2 {
        for result in store.delete(&[small.clone(), none.clone(), large.clone()]).await {
            result.unwrap();
        }
        assert!(matches!(store.head(&small).await, Err(BlockError::NotFound(_))));
        assert!(matches!(store.head(&large).await, Err(BlockError::NotFound(_))));
    }
    let options = PutOptions { if_absent: true, size_hint: None };
    store.put_bytes(&small, Bytes::from_static(b"again"), options).await.unwrap();
}

/// A copy stays when its source goes.
async fn copies_stand_alone(store: &Place) {
    for length in [12, 250_000] {
        let (from, to) = (at(store, &format!("copy/from{length}")), at(store, &format!("copy/to/{length}")));
        store.put(&from, body_from_bytes(bytes(length)), PutOptions::default()).await.unwrap();
        store.copy(&from, &to).await.unwrap();
        store.delete(std::slice::from_ref(&from)).await;
        assert!(read(store, &to, None).await == bytes(length));
        assert!(matches!(store.copy(&from, &to).await, Err(BlockError::NotFound(_))));
    }
}

/// Byte order of the whole address, `after` exclusive, page by page.
async fn lists_are_ordered_and_paged(store: &Place) {
    let mut keys = vec!["list/a", "list/a-b", "list/a/x", "list/a/y/z", "list/a0", "list/b/1", "list/c"];
    // A file and a directory of one name cannot both be on a file system.
    keys.retain(|key| *key != "list/a");
    for key in &keys {
        store.put_bytes(&at(store, key), Bytes::from_static(b"x"), PutOptions::default()).await.unwrap();
    }
    keys.sort_unstable();
    let prefix = at(store, "list/");
    let mut found = Vec::new();
    let mut after: Option<BlockAddress> = None;
    loop {
        let page = store.list(&prefix, after.as_ref(), 2).await.unwrap();
        let Some(last) = page.last() else { break };
        after = Some(last.address.clone());
        found.extend(page.into_iter().map(|info| info.address));
    }
    assert_eq!(found, keys.iter().map(|key| at(store, key)).collect::<Vec<_>>());
    let some = store.list(&at(store, "list/a"), None, 100).await.unwrap();
    assert_eq!(some.len(), 4);
    assert!(store.list(&at(store, "list/zzz"), None, 5).await.unwrap().is_empty());
}

/// In the order named, replaced ones by their latest, unnamed ones dropped; completing again is fine.
async fn parts_become_one_object(store: &Place) {
    let address = at(store, "parts/x");
    let upload = store.create_multipart(&address).await.unwrap();
    let contents = match store.info().min_part_bytes as usize {
        0 => vec![bytes(300_000), bytes(70), bytes(0), bytes(123_456)],
        least => vec![bytes(least), bytes(least + 3), bytes(77)],
    };
    let mut parts = Vec::new();
    store.put_part(&address, &upload, 2, body_from_bytes(bytes(999)), None).await.unwrap();
    for (n, content) in contents.iter().enumerate() {
        let number = n as u32 + 1;
        let (stored, tag) = store
            .put_part(&address, &upload, number, chunked(content, 5000), Some(content.len() as u64))
            .await
            .unwrap();
        assert_eq!(stored.md5, <[u8; 16]>::from(Md5::digest(content)));
        parts.push(StoredPart { number, tag, size: stored.size });
    }
    store.put_part(&address, &upload, 9, body_from_bytes(bytes(5)), None).await.unwrap();
    assert!(matches!(store.head(&address).await, Err(BlockError::NotFound(_))));
    store.complete_multipart(&address, &upload, &parts).await.unwrap();
    assert!(read(store, &address, None).await == contents.concat());
    store.complete_multipart(&address, &upload, &parts).await.unwrap();
    // One part alone.
    let single = at(store, "parts/single");
    let upload = store.create_multipart(&single).await.unwrap();
    let (stored, tag) = store.put_part(&single, &upload, 1, body_from_bytes(bytes(7)), None).await.unwrap();
    let part = StoredPart { number: 1, tag, size: stored.size };
    store.complete_multipart(&single, &upload, &[part]).await.unwrap();
    assert!(read(store, &single, None).await == bytes(7));
}

/// Aborted is gone; unknown is unknown.
async fn uploads_end_once(store: &Place) {
    let address = at(store, "abort/x");
    let upload = store.create_multipart(&address).await.unwrap();
    let (stored, tag) = store.put_part(&address, &upload, 1, body_from_bytes(bytes(7)), None).await.unwrap();
    store.abort_multipart(&address, &upload).await.unwrap();
    let unknown = |result: Result<(), BlockError>| {
        assert!(matches!(result, Err(BlockError::NoSuchUpload(_))), "{result:?}");
    };
    unknown(store.abort_multipart(&address, &upload).await);
    let part = StoredPart { number: 1, tag, size: stored.size };
    unknown(store.complete_multipart(&address, &upload, &[part]).await);
    unknown(store.abort_multipart(&address, "../../etc").await);
    match store.put_part(&address, &upload, 1, body_from_bytes(bytes(5)), None).await {
        // A service of blocks takes what no list will name.
        Ok((stored, tag)) => {
            let part = StoredPart { number: 1, tag, size: stored.size };
            unknown(store.complete_multipart(&address, &upload, &[part]).await);
        }
        late => unknown(late.map(drop)),
    }
    assert!(matches!(store.head(&address).await, Err(BlockError::NotFound(_))));
}

/// An upload that waits is found by those who look for old ones, until it ends. Stores that drop such by themselves need
/// not say.
pub async fn waiting_uploads_are_found(store: Arc<dyn BlockStore>, namespace: &str) {
    let store = &Place { store, namespace: namespace.into() };
    let (address, prefix) = (at(store, "waiting/x"), at(store, "waiting/"));
    let upload = store.create_multipart(&address).await.unwrap();
    store.put_part(&address, &upload, 1, body_from_bytes(bytes(7)), None).await.unwrap();
    let found = store.waiting_uploads(&prefix, i64::MAX, 10).await.unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((&found[0].address, &found[0].upload), (&address, &upload));
    assert!(store.waiting_uploads(&prefix, found[0].begun_secs, 10).await.unwrap().is_empty());
    assert!(store.waiting_uploads(&at(store, "other/"), i64::MAX, 10).await.unwrap().is_empty());
    store.abort_multipart(&address, &upload).await.unwrap();
    assert!(store.waiting_uploads(&prefix, i64::MAX, 10).await.unwrap().is_empty());
}

/// Small and large together, each readable when it is answered.
async fn many_puts_at_once(store: Arc<Place>) {
    let mut tasks = tokio::task::JoinSet::new();
    for n in 0..64usize {
        let store = store.clone();
        tasks.spawn(async move {
            let content = bytes(if n.is_multiple_of(8) { 150_000 + n } else { n * 7 });
            let address = at(&store, &format!("many/{}/{n}", n % 5));
            store.put(&address, chunked(&content, 4096), PutOptions::default()).await.unwrap();
            assert!(read(&store, &address, None).await == content);
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

/// Bodies that take several parts where their length is not known, and stream where it is; ranges over the joints; the
/// same under `if_absent`; one that breaks off late.
pub async fn large_bodies(store: Arc<dyn BlockStore>, namespace: &str) {
    let store = &Place { store, namespace: namespace.into() };
    let content = bytes(20_000_000);
    for (n, size_hint) in [None, Some(content.len() as u64)].into_iter().enumerate() {
        let address = at(store, &format!("large/{n}"));
        let options = PutOptions { size_hint, if_absent: true };
        let stored = store.put(&address, chunked(&content, 70_001), options).await.unwrap();
        assert_eq!(stored, Stored { size: content.len() as u64, md5: Md5::digest(&content).into() });
        assert!(read(store, &address, None).await == content);
        let (start, end) = (8_388_600, 16_777_300);
        assert!(
            read(store, &address, Some((start, end))).await == content.slice(start as usize..end as usize)
        );
        let again = store.put(&address, chunked(&content, 70_001), options).await;
        assert!(matches!(again, Err(BlockError::Exists(_))), "{again:?}");
        let broken = chunked(&content, 70_001).take(200).chain(futures::stream::iter([Err(
            BodyError::Client(Box::new(std::io::Error::other("connection lost"))),
        )]));
        let address = at(store, &format!("large/broken/{n}"));
        let result = store.put(&address, Box::pin(broken), options).await;
        assert!(matches!(result, Err(BlockError::Body(BodyError::Client(_)))), "{result:?}");
        let seen = store.head(&address).await;
        assert!(matches!(seen, Err(BlockError::NotFound(_))), "{seen:?}");
    }
    // Exactly one part's worth.
    let content = content.slice(..8 << 20);
    let address = at(store, "large/one");
    store.put(&address, chunked(&content, 100_000), PutOptions::default()).await.unwrap();
    assert!(read(store, &address, None).await == content);
}
