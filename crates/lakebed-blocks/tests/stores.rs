//! The conformance suite on every store of this crate, and what only the local one promises.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests say what they expect by panicking

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use lakebed_blocks::{
    BlockAddress, BlockError, BlockStore, LocalImport, LocalStore, MemStore, Namespace, PutOptions, StoreId,
    Stores, body_from_bytes, conformance,
};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory() {
    conformance::run_all(Arc::new(MemStore::new()), "mem://suite/main").await;
    conformance::waiting_uploads_are_found(Arc::new(MemStore::new()), "mem://suite/main").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn local() {
    let root = tempfile::tempdir().unwrap();
    conformance::run_all(Arc::new(LocalStore::open(root.path()).unwrap()), "local://suite/main").await;
}

fn at(key: &str) -> BlockAddress {
    BlockAddress::in_namespace(&"local://lake".into(), key)
}

async fn put(store: &LocalStore, key: &str, content: &[u8]) {
    let body = body_from_bytes(Bytes::copy_from_slice(content));
    store.put(&at(key), body, PutOptions::default()).await.unwrap();
}

#[tokio::test]
async fn an_object_is_a_file_at_its_address() {
    let root = tempfile::tempdir().unwrap();
    let store = LocalStore::open(root.path()).unwrap();
    put(&store, "data/a/b", b"hello").await;
    assert_eq!(std::fs::read(root.path().join("lake/data/a/b")).unwrap(), b"hello");
}

#[tokio::test]
async fn what_is_the_stores_own_is_not_listed() {
    let root = tempfile::tempdir().unwrap();
    let store = LocalStore::open(root.path()).unwrap();
    put(&store, "x", b"x").await;
    assert!(root.path().join(".lakebed/log").is_dir());
    let list = async |prefix: &str| store.list(&BlockAddress::new(prefix), None, 10).await;
    for prefix in [
        "local://.lakebed/",
        "local://.lakebed/log/",
        "local://./.lakebed/log/",
        "local://lake/./",
        "local://lake//",
    ] {
        assert!(matches!(list(prefix).await, Err(BlockError::Refused { .. })), "{prefix}");
    }
    assert!(list("local://.lake").await.unwrap().is_empty());
    assert_eq!(list("local://").await.unwrap().len(), 1);
    assert_eq!(list("local://la").await.unwrap().len(), 1);
}

#[tokio::test]
async fn symbolic_links_lead_nowhere() {
    let root = tempfile::tempdir().unwrap();
    let outside = tempfile::tempdir().unwrap();
    std::fs::write(outside.path().join("secret"), b"secret").unwrap();
    let store = LocalStore::open(root.path()).unwrap();
    put(&store, "x", b"x").await;
    std::os::unix::fs::symlink(outside.path(), root.path().join("lake/out")).unwrap();
    std::os::unix::fs::symlink(outside.path().join("secret"), root.path().join("lake/file")).unwrap();
    for key in ["out/secret", "file"] {
        assert!(store.get(&at(key), None).await.is_err(), "{key}");
        assert!(store.head(&at(key)).await.is_err(), "{key}");
    }
    let new = store.put_bytes(&at("out/new"), Bytes::from_static(b"x"), PutOptions::default()).await;
    assert!(new.is_err());
    assert!(!outside.path().join("new").exists());
    let large = body_from_bytes(vec![0; 200_000].into());
    assert!(store.put(&at("out/large"), large, PutOptions::default()).await.is_err());
    assert!(!outside.path().join("large").exists());
}

/// What a directory outside the root looks like to a store that may import from it.
#[tokio::test]
async fn only_configured_directories_are_read_outside_the_root() {
    let all = tempfile::tempdir().unwrap();
    let at = |path: &str| all.path().join(path);
    for path in ["in/a/1", "in/a/2", "in/a/.hidden/3", "in/b", "next/4", "in/store/lake/own"] {
        std::fs::create_dir_all(at(path).parent().unwrap()).unwrap();
        std::fs::write(at(path), path).unwrap();
    }
    std::os::unix::fs::symlink(at("next"), at("in/a/link")).unwrap();
    std::os::unix::fs::symlink(at("next/4"), at("in/a/file")).unwrap();
    let store = LocalStore::open(&at("in/store")).unwrap();
    let address = |path: &str| BlockAddress::new(format!("local://{}", at(path).display()));
    assert!(!store.info().import);
    assert!(matches!(store.head(&address("in/b")).await, Err(BlockError::Refused { .. })), "not configured");
    let import = LocalImport { enabled: true, hidden: false, directories: vec![at("in")] };
    let store = store.importing(import.clone()).unwrap();
    assert!(store.info().import);
    let list = async |store: &LocalStore, prefix: &str| {
        let mut found: Vec<String> = Vec::new();
        loop {
            let after = found.last().map(|last| address(last));
            let page = store.list(&address(prefix), after.as_ref(), 1).await?;
            let [next] = &page[..] else { return Ok::<_, BlockError>(found) };
            let path = next.address.as_str().strip_prefix(address("").as_str()).unwrap();
            found.push(path.trim_start_matches('/').to_owned());
        }
    };
    assert_eq!(list(&store, "in/a/").await.unwrap(), ["in/a/1", "in/a/2"], "no links, nothing hidden");
    assert_eq!(list(&store, "in/").await.unwrap(), ["in/a/1", "in/a/2", "in/b"], "not the store's own");
    assert_eq!(list(&store, "in").await.unwrap(), ["in/a/1", "in/a/2", "in/b"]);
    assert!(list(&store, "in/zzz").await.unwrap().is_empty());
    assert!(matches!(list(&store, "in/none/").await, Err(BlockError::NotFound(_))));
    for outside in ["next/", "", "in/../next/", "in/store/lake/"] {
        assert!(matches!(list(&store, outside).await, Err(BlockError::Refused { .. })), "{outside}");
    }
    let info = store.head(&address("in/b")).await.unwrap();
    assert_eq!((info.size, store.get_bytes(&address("in/b"), 99).await.unwrap()), (4, "in/b".into()));
    for refused in ["next/4", "in/store/lake/own", "in/a/../b", "in/a/link/4", "in/a/file"] {
        let error = store.get_bytes(&address(refused), 99).await.unwrap_err();
        assert!(matches!(error, BlockError::Refused { .. }), "{refused}: {error}");
    }
    // Nothing is ever written there.
    let put = store.put_bytes(&address("in/new"), Bytes::from_static(b"x"), PutOptions::default()).await;
    assert!(matches!(put, Err(BlockError::Refused { .. })));
    assert!(store.delete(&[address("in/b")]).await[0].is_err());
    assert!(at("in/b").exists() && !at("in/new").exists());
    // A copy is a copy, whatever becomes of the source.
    store.copy(&address("in/b"), &BlockAddress::new("local://lake/copy")).await.unwrap();
    std::fs::write(at("in/b"), b"changed meanwhile").unwrap();
    let copied = store.get_bytes(&BlockAddress::new("local://lake/copy"), 99).await.unwrap();
    assert_eq!(copied, "in/b");
    assert_ne!(store.head(&address("in/b")).await.unwrap().etag, info.etag, "a change shows");
    store.close().await.unwrap();
    drop(store);
    let hidden = LocalStore::open(&at("in/store")).unwrap();
    let hidden = hidden.importing(LocalImport { hidden: true, ..import.clone() }).unwrap();
    assert_eq!(list(&hidden, "in/a/").await.unwrap(), ["in/a/.hidden/3", "in/a/1", "in/a/2"]);
    hidden.close().await.unwrap();
    drop(hidden);
    let own = at("in/other/lake");
    for (n, wrong) in ["relative", "/a/../b", own.to_str().unwrap()].into_iter().enumerate() {
        let root = if n == 2 { at("in/other") } else { at(&n.to_string()) };
        let import = LocalImport { directories: vec![wrong.into()], ..import.clone() };
        assert!(LocalStore::open(&root).unwrap().importing(import).is_err(), "{wrong}");
    }
}

#[tokio::test]
async fn a_pipe_to_import_keeps_nobody_waiting() {
    let directory = tempfile::tempdir().unwrap();
    let root = tempfile::tempdir().unwrap();
    let pipe = directory.path().join("pipe");
    rustix::fs::mknodat(
        rustix::fs::CWD,
        &pipe,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::from_raw_mode(0o600),
        0,
    )
    .unwrap();
    let import = LocalImport { enabled: true, hidden: true, directories: vec![directory.path().to_owned()] };
    let store = LocalStore::open(root.path()).unwrap().importing(import).unwrap();
    let address = BlockAddress::new(format!("local://{}", pipe.display()));
    assert!(matches!(store.head(&address).await, Err(BlockError::NotFound(_))));
    assert!(matches!(store.get(&address, None).await, Err(BlockError::NotFound(_))));
    let prefix = BlockAddress::new(format!("local://{}/", directory.path().display()));
    assert!(store.list(&prefix, None, 10).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_root_in_use_is_refused_and_a_closed_one_opens_again() {
    let root = tempfile::tempdir().unwrap();
    let store = LocalStore::open(root.path()).unwrap();
    put(&store, "x", b"1").await;
    let error = LocalStore::open(root.path()).err().unwrap();
    assert!(matches!(error, BlockError::Io { .. }));
    store.close().await.unwrap();
    drop(store);
    assert_eq!(std::fs::read_dir(root.path().join(".lakebed/log")).unwrap().count(), 0, "nothing to replay");
    let store = LocalStore::open(root.path()).unwrap();
    assert_eq!(store.get_bytes(&at("x"), 10).await.unwrap(), "1");
}

fn copy_tree(from: &Path, to: &Path, skip: &str) {
    std::fs::create_dir_all(to).unwrap();
    let Ok(entries) = std::fs::read_dir(from) else { return };
    for entry in entries {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_name() == skip {
            continue;
        }
        if entry.file_type().unwrap().is_dir() {
            copy_tree(&entry.path(), &target, skip);
        } else {
            // A temporary file may go while we look.
            let _ = std::fs::copy(entry.path(), target);
        }
    }
}

/// Power loss takes every file that was not synced: here, all files of small objects. The log brings back each
/// acknowledged one; a deleted one stays deleted.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_log_alone_brings_back_every_acknowledged_small_object() {
    let root = tempfile::tempdir().unwrap();
    let live = root.path().join("live");
    let store = Arc::new(LocalStore::open(&live).unwrap());
    put(&store, "data/deleted", b"x").await;
    store.delete(&[at("data/deleted")]).await;
    put(&store, "data/replaced", b"old").await;
    put(&store, "data/replaced", &vec![7; 200_000]).await;
    let acknowledged: Arc<Vec<AtomicU64>> = Arc::new((0..6).map(|_| AtomicU64::new(0)).collect());
    let stop = Arc::new(AtomicBool::new(false));
    let mut writers = tokio::task::JoinSet::new();
    for me in 0..6usize {
        let (store, acknowledged, stop) = (store.clone(), acknowledged.clone(), stop.clone());
        writers.spawn(async move {
            let mut n = 0u64;
            while !stop.load(Ordering::SeqCst) {
                put(&store, &format!("data/{me}/{n}"), format!("{me}:{n}").as_bytes()).await;
                n += 1;
                acknowledged[me].store(n, Ordering::SeqCst);
            }
        });
    }
    while acknowledged.iter().any(|n| n.load(Ordering::SeqCst) < 30) {
        tokio::task::yield_now().await;
    }
    let before: Vec<u64> = acknowledged.iter().map(|n| n.load(Ordering::SeqCst)).collect();
    let crashed = root.path().join("crashed");
    // Only what was synced survives: the log and the large object, not the directories of the small ones.
    copy_tree(&live.join(".lakebed"), &crashed.join(".lakebed"), "lock");
    std::fs::create_dir_all(crashed.join("lake/data")).unwrap();
    std::fs::copy(live.join("lake/data/replaced"), crashed.join("lake/data/replaced")).unwrap();
    stop.store(true, Ordering::SeqCst);
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    let store = LocalStore::open(&crashed).unwrap();
    for (me, count) in before.iter().enumerate() {
        for n in 0..*count {
            let content = store.get_bytes(&at(&format!("data/{me}/{n}")), 100).await.unwrap();
            assert_eq!(content, format!("{me}:{n}"));
        }
    }
    assert!(matches!(store.head(&at("data/deleted")).await, Err(BlockError::NotFound(_))));
    assert_eq!(
        store.head(&at("data/replaced")).await.unwrap().size,
        200_000,
        "the log must not bring back the old"
    );
}

#[tokio::test]
async fn a_torn_record_ends_the_replay() {
    let root = tempfile::tempdir().unwrap();
    let live = root.path().join("live");
    let store = LocalStore::open(&live).unwrap();
    put(&store, "a", b"first").await;
    put(&store, "b", b"second").await;
    let crashed = root.path().join("crashed");
    copy_tree(&live.join(".lakebed"), &crashed.join(".lakebed"), "lock");
    let log = std::fs::read_dir(crashed.join(".lakebed/log")).unwrap().next().unwrap().unwrap().path();
    let whole = std::fs::read(&log).unwrap();
    for cut in [whole.len() - 1, whole.len() - 10, whole.len() / 2 + 3] {
        let copy = root.path().join(format!("cut{cut}"));
        copy_tree(&crashed, &copy, "lock");
        let name = copy.join(".lakebed/log").join(log.file_name().unwrap());
        std::fs::write(&name, &whole[..cut]).unwrap();
        let store = LocalStore::open(&copy).unwrap();
        assert_eq!(store.get_bytes(&at("a"), 100).await.unwrap(), "first");
        assert!(matches!(store.head(&at("b")).await, Err(BlockError::NotFound(_))));
    }
}

/// Two stores, the first of which serves addresses without an id.
fn two_stores() -> Stores {
    let id = |text: &str| text.parse::<StoreId>().unwrap();
    let store = || -> Arc<dyn BlockStore> { Arc::new(MemStore::new()) };
    Stores::new([(id("one"), store()), (id("two"), store())], Some(id("one"))).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn several_stores_keep_the_suite() {
    conformance::run_all(Arc::new(two_stores()), "mem://suite").await;
}

#[tokio::test]
async fn an_address_is_looked_for_in_its_own_store() {
    let stores = two_stores();
    let at = |store: &str, key: &str| {
        BlockAddress::in_namespace(&Namespace::new(store.parse().unwrap(), "mem://lake"), key)
    };
    let put = async |address: &BlockAddress, text: &'static str| {
        stores.put_bytes(address, Bytes::from_static(text.as_bytes()), PutOptions::default()).await.unwrap();
    };
    let read = async |address: &BlockAddress| stores.get_bytes(address, 100).await.unwrap();
    put(&at("", "a"), "one").await;
    put(&at("two", "a"), "two").await;
    // Both names of a store are the same place.
    assert_eq!(read(&at("one", "a")).await, "one");
    assert_eq!(read(&at("two", "a")).await, "two");
    for (store, registered) in [("", Some("")), ("one", Some("")), ("two", Some("two")), ("three", None)] {
        let found = stores.registered(&store.parse().unwrap());
        assert_eq!(found.map(|id| id.to_string()).as_deref(), registered, "{store}");
    }
    assert!(matches!(stores.head(&at("three", "a")).await, Err(BlockError::Refused { .. })));
    // What is found says where it is, so that it can be gone on from and deleted.
    put(&at("two", "b"), "b").await;
    let first = stores.list(&at("two", ""), None, 1).await.unwrap();
    assert_eq!(first[0].address, at("two", "a"));
    let rest = stores.list(&at("two", ""), Some(&first[0].address), 9).await.unwrap();
    assert_eq!(rest.iter().map(|found| &found.address).collect::<Vec<_>>(), [&at("two", "b")]);
    assert_eq!(stores.head(&at("two", "b")).await.unwrap().address, at("two", "b"));
    // Between stores the bytes are carried.
    stores.copy(&at("two", "b"), &at("", "copied")).await.unwrap();
    assert_eq!(read(&at("one", "copied")).await, "b");
    put(&at("two", "empty"), "").await;
    stores.copy(&at("two", "empty"), &at("one", "empty")).await.unwrap();
    assert_eq!(read(&at("", "empty")).await, "");
    assert!(matches!(stores.copy(&at("two", "none"), &at("", "x")).await, Err(BlockError::NotFound(_))));
    let deleted = stores.delete(&[at("", "a"), at("two", "a"), at("three", "a"), at("two", "b")]).await;
    assert_eq!(deleted.iter().map(Result::is_ok).collect::<Vec<_>>(), [true, true, false, true]);
    assert!(stores.head(&at("", "a")).await.is_err() && stores.head(&at("two", "b")).await.is_err());
    assert_eq!(read(&at("", "copied")).await, "b");
}

#[tokio::test]
async fn addresses_without_an_id_need_a_store_that_serves_them() {
    let store: Arc<dyn BlockStore> = Arc::new(MemStore::new());
    let stores = Stores::new([("one".parse().unwrap(), store.clone())], None).unwrap();
    let nameless = BlockAddress::new("mem://lake/a");
    assert!(matches!(stores.head(&nameless).await, Err(BlockError::Refused { .. })));
    assert!(stores.info_of(&StoreId::default()).is_none());
    assert!(Stores::new([("one".parse().unwrap(), store)], Some("two".parse().unwrap())).is_none());
    assert!(Stores::new([], None).is_none());
}
