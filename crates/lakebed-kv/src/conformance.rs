//! One suite for every engine. Each rule is a function that panics when the engine breaks it; [`run_all`] runs them on
//! fresh engines. Used by this crate's tests and by those of engines that live elsewhere.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::missing_panics_doc)]

use std::sync::Arc;

use bytes::Bytes;

use crate::{Check, Guarded, Key, KeyRange, Kv, KvError, Outcome, Transaction, Version};

fn key(text: &str) -> Key {
    Bytes::copy_from_slice(text.as_bytes())
}

async fn put(kv: &dyn Kv, at: &str, value: &str) -> Version {
    match kv.transact(Transaction::new().put(key(at), value.to_owned())).await.unwrap() {
        Outcome::Done(version) => version,
        other => panic!("an unchecked put answers {other:?}"),
    }
}

async fn value(kv: &dyn Kv, at: &str) -> Option<String> {
    kv.get(at.as_bytes()).await.unwrap().map(|row| String::from_utf8(row.value.to_vec()).unwrap())
}

/// Runs every rule, each on an engine of its own from `make`.
pub async fn run_all<F: Future<Output = Arc<dyn Kv>>>(make: impl Fn() -> F) {
    checks_decide(&*make().await).await;
    refused_transactions_write_nothing(&*make().await).await;
    versions_are_never_reused(&*make().await).await;
    malformed_transactions_are_refused(&*make().await).await;
    scans_are_ordered_limited_and_continue(&*make().await).await;
    binary_keys_and_large_values(&*make().await).await;
    long_keys_are_ordered_among_others(&*make().await).await;
    only_what_is_abandoned_goes(&*make().await).await;
    many_keys_are_read_at_one_instant(make().await).await;
    no_update_is_lost(make().await).await;
    a_key_is_linearizable(make().await).await;
    a_closed_engine_says_so(&*make().await).await;
}

/// `Absent`, `Exists` and `Version` hold exactly when they say.
pub async fn checks_decide(kv: &dyn Kv) {
    let absent = |at: &str| Transaction::new().check(key(at), Check::Absent).put(key(at), "x");
    assert!(matches!(kv.transact(absent("a")).await.unwrap(), Outcome::Done(_)));
    assert_eq!(kv.transact(absent("a")).await.unwrap(), Outcome::Refused(key("a")));
    let exists = |at: &str| Transaction::new().check(key(at), Check::Exists).put(key("b"), "y");
    assert!(matches!(kv.transact(exists("a")).await.unwrap(), Outcome::Done(_)));
    assert_eq!(kv.transact(exists("nowhere")).await.unwrap(), Outcome::Refused(key("nowhere")));
    let version = kv.get(b"a").await.unwrap().unwrap().version;
    let at = |version| Transaction::new().check(key("a"), Check::Version(version)).put(key("a"), "z");
    assert!(matches!(kv.transact(at(version)).await.unwrap(), Outcome::Done(_)));
    assert_eq!(kv.transact(at(version)).await.unwrap(), Outcome::Refused(key("a")));
    assert_eq!(value(kv, "a").await.as_deref(), Some("z"));
    // The version answered is the one readers see.
    let written = put(kv, "c", "1").await;
    assert_eq!(kv.get(b"c").await.unwrap().unwrap().version, written);
}

/// All or nothing.
pub async fn refused_transactions_write_nothing(kv: &dyn Kv) {
    put(kv, "keep", "old").await;
    let transaction = Transaction::new()
        .check(key("missing"), Check::Exists)
        .put(key("new"), "x")
        .put(key("keep"), "new")
        .delete(key("keep2"));
    assert!(matches!(kv.transact(transaction).await.unwrap(), Outcome::Refused(_)));
    assert_eq!(value(kv, "new").await, None);
    assert_eq!(value(kv, "keep").await.as_deref(), Some("old"));
    // Deleting what is not there is fine.
    assert!(matches!(kv.transact(Transaction::new().delete(key("none"))).await.unwrap(), Outcome::Done(_)));
}

/// Not even after a key was deleted and made again.
pub async fn versions_are_never_reused(kv: &dyn Kv) {
    let mut seen = std::collections::HashSet::new();
    for _ in 0..20 {
        assert!(seen.insert(put(kv, "k", "same").await));
        kv.transact(Transaction::new().delete(key("k"))).await.unwrap();
    }
}

/// A key named twice, absence of a key that is not written, more than the limits.
pub async fn malformed_transactions_are_refused(kv: &dyn Kv) {
    let limits = kv.limits();
    let many = (0..=limits.max_items).fold(Transaction::new(), |t, n| t.put(key(&n.to_string()), ""));
    for bad in [
        Transaction::new().put(key("a"), "1").delete(key("a")),
        Transaction::new().check(key("a"), Check::Exists).check(key("a"), Check::Exists),
        Transaction::new().check(key("a"), Check::Absent),
        Transaction::new().put(Bytes::from(vec![b'k'; limits.max_key_bytes + 1]), ""),
        Transaction::new().put(key("a"), vec![0; limits.max_bytes]),
        many,
    ] {
        assert!(matches!(kv.transact(bad).await, Err(KvError::Invalid(_))));
    }
    assert!(kv.scan(&KeyRange::prefix(b""), 10).await.unwrap().is_empty());
}

/// In byte order, within the range, at most `limit`; continued behind the last key.
pub async fn scans_are_ordered_limited_and_continue(kv: &dyn Kv) {
    let mut names: Vec<String> = (0..50).map(|n| format!("p/{}", n * 37 % 50)).collect();
    for name in &names {
        put(kv, name, "v").await;
    }
    put(kv, "p", "before").await;
    put(kv, "p0", "behind").await;
    put(kv, "p/deleted", "x").await;
    kv.transact(Transaction::new().delete(key("p/deleted"))).await.unwrap();
    names.sort();
    let mut range = KeyRange::prefix(b"p/");
    let mut found = Vec::new();
    loop {
        let page = kv.scan(&range, 7).await.unwrap();
        let more = page.len() == 7;
        found.extend(page.into_iter().map(|row| String::from_utf8(row.key.to_vec()).unwrap()));
        if !more {
            break;
        }
        range.start = Bytes::from([found.last().unwrap().as_bytes(), b"\0"].concat());
    }
    assert_eq!(found, names);
    let empty = KeyRange { start: key("z"), end: Some(key("a")) };
    assert!(kv.scan(&empty, 5).await.unwrap().is_empty());
    assert!(kv.scan(&KeyRange::prefix(b"p/"), 0).await.unwrap().is_empty());
}

/// Keys are bytes; values may be large or empty.
pub async fn binary_keys_and_large_values(kv: &dyn Kv) {
    let keys = [vec![0], vec![0, 0], vec![0, 255], vec![255], vec![255, 0], vec![255; 300]];
    for (n, key) in keys.iter().enumerate() {
        let value = vec![n as u8; if n == 3 { 1 << 20 } else { n }];
        kv.transact(Transaction::new().put(key.clone(), value)).await.unwrap();
    }
    let all = kv.scan(&KeyRange { start: Bytes::new(), end: None }, 100).await.unwrap();
    assert_eq!(all.iter().map(|row| row.key.to_vec()).collect::<Vec<_>>(), keys);
    assert_eq!(all[3].value.len(), 1 << 20);
    assert_eq!(kv.scan(&KeyRange::prefix(&[255]), 10).await.unwrap().len(), 3);
    assert_eq!(kv.get(&[0]).await.unwrap().unwrap().value.len(), 0);
}

/// Up to the longest the engine takes; alike in all but their last bytes.
pub async fn long_keys_are_ordered_among_others(kv: &dyn Kv) {
    let longest = kv.limits().max_key_bytes;
    let mut keys = Vec::new();
    for length in [1, 500, 1000, 1020, 1021, 1022, 1023, 1024, 1025, 1100, longest - 1] {
        let stem = vec![b'k'; length];
        for end in [0, 1, 255] {
            keys.push([&stem[..], &[end]].concat());
        }
    }
    keys.retain(|key| key.len() <= longest);
    for key in &keys {
        let write = Transaction::new().check(key.clone(), Check::Absent).put(key.clone(), key.clone());
        assert!(matches!(kv.transact(write).await.unwrap(), Outcome::Done(_)));
    }
    keys.sort();
    for limit in [2, 5, 100] {
        let mut range = KeyRange::prefix(b"k");
        let mut found = Vec::new();
        loop {
            let page = kv.scan(&range, limit).await.unwrap();
            found.extend(page.iter().map(|row| row.key.to_vec()));
            let Some(last) = page.last().filter(|_| page.len() == limit) else { break };
            range.start = Bytes::from([&last.key[..], &[0]].concat());
        }
        assert_eq!(found, keys);
    }
    for (at, key) in keys.iter().enumerate() {
        assert_eq!(kv.get(key).await.unwrap().unwrap().value, *key);
        let range = KeyRange { start: key.clone().into(), end: keys.get(at + 3).cloned().map(Bytes::from) };
        let found: Vec<_> =
            kv.scan(&range, 100).await.unwrap().into_iter().map(|row| row.key.to_vec()).collect();
        assert_eq!(found, keys[at..(at + 3).min(keys.len())]);
    }
}

/// How the keys of [`only_what_is_abandoned_goes`] belong together, for engines that are told.
pub const GUARDED: Guarded = Guarded { rows: b'w', guards: b'l', id_bytes: 2 };

/// Rows left to the engine may go, all others stay; and an engine that does not take them has left them as they were.
pub async fn only_what_is_abandoned_goes(kv: &dyn Kv) {
    for guard in ["l01", "l02", "l03"] {
        put(kv, guard, "").await;
    }
    let batch = kv.limits().max_items.min(1000);
    let rows = 3 * batch;
    for guard in ["01", "02", "03"] {
        for of in 0..3 {
            let row = |n: usize| key(&format!("w{guard}{of}{n}"));
            let all = (0..batch).fold(Transaction::new(), |all, n| all.put(row(n), "x"));
            assert!(matches!(kv.transact(all).await.unwrap(), Outcome::Done(_)));
        }
    }
    kv.transact(Transaction::new().delete(key("l02"))).await.unwrap();
    let count = async |prefix: &[u8]| kv.scan(&KeyRange::prefix(prefix), 99_999).await.unwrap().len();
    if !kv.abandon(&KeyRange::prefix(b"w02")).await.unwrap() {
        assert_eq!(count(b"w02").await, rows);
    }
    assert_eq!(count(b"w01").await, rows);
    assert_eq!(count(b"w03").await, rows);
    assert_eq!(count(b"l").await, 2);
    // Nobody knows whether it is the first time.
    kv.abandon(&KeyRange::prefix(b"w02")).await.unwrap();
}

/// Two keys always written together are never seen apart, by one read or by two in a row.
pub async fn many_keys_are_read_at_one_instant(kv: Arc<dyn Kv>) {
    let write = |n: u32| Transaction::new().put(key("left"), n.to_string()).put(key("right"), n.to_string());
    kv.transact(write(0)).await.unwrap();
    let writer = {
        let kv = kv.clone();
        tokio::spawn(async move {
            for n in 1..150 {
                kv.transact(write(n)).await.unwrap();
            }
        })
    };
    let number = |bytes: &Bytes| std::str::from_utf8(bytes).unwrap().parse::<u32>().unwrap();
    while !writer.is_finished() {
        let both = kv.get_many(&[key("left"), key("right")]).await.unwrap();
        assert_eq!(both[0], both[1]);
        let right = number(&kv.get(b"right").await.unwrap().unwrap().value);
        let left = number(&kv.get(b"left").await.unwrap().unwrap().value);
        assert!(left >= right, "a later read shows an older state");
        tokio::task::yield_now().await;
    }
    writer.await.unwrap();
}

/// Concurrent compare-and-set: every success counts.
pub async fn no_update_is_lost(kv: Arc<dyn Kv>) {
    put(&*kv, "counter", "0").await;
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let kv = kv.clone();
        tasks.spawn(async move {
            let mut done = 0;
            while done < 25 {
                let now = kv.get(b"counter").await.unwrap().unwrap();
                let next = std::str::from_utf8(&now.value).unwrap().parse::<u32>().unwrap() + 1;
                let set = Transaction::new()
                    .check(key("counter"), Check::Version(now.version))
                    .put(key("counter"), next.to_string());
                if let Outcome::Done(_) = kv.transact(set).await.unwrap() {
                    done += 1;
                }
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
    assert_eq!(value(&*kv, "counter").await.as_deref(), Some("200"));
}

/// One key, many writers and readers: what is read never goes back behind what was acknowledged or read before.
pub async fn a_key_is_linearizable(kv: Arc<dyn Kv>) {
    put(&*kv, "register", "0").await;
    // Values grow in the order the engine accepts them: each write checks the version it read.
    let highest = Arc::new(std::sync::atomic::AtomicU32::new(0));
    let mut tasks = tokio::task::JoinSet::new();
    for reader in 0..6 {
        let (kv, highest) = (kv.clone(), highest.clone());
        tasks.spawn(async move {
            for _ in 0..60 {
                let floor = highest.load(std::sync::atomic::Ordering::SeqCst);
                let now = kv.get(b"register").await.unwrap().unwrap();
                let seen = std::str::from_utf8(&now.value).unwrap().parse::<u32>().unwrap();
                assert!(seen >= floor, "read {seen} after {floor} was known");
                highest.fetch_max(seen, std::sync::atomic::Ordering::SeqCst);
                if reader % 2 == 0 {
                    let set = Transaction::new()
                        .check(key("register"), Check::Version(now.version))
                        .put(key("register"), (seen + 1).to_string());
                    if let Outcome::Done(_) = kv.transact(set).await.unwrap() {
                        highest.fetch_max(seen + 1, std::sync::atomic::Ordering::SeqCst);
                    }
                }
                tokio::task::yield_now().await;
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.unwrap();
    }
}

/// After `close` every call answers `Stopped`.
pub async fn a_closed_engine_says_so(kv: &dyn Kv) {
    put(kv, "a", "1").await;
    kv.close().await.unwrap();
    assert!(matches!(kv.get(b"a").await, Err(KvError::Stopped(_))));
    assert!(matches!(kv.scan(&KeyRange::prefix(b""), 1).await, Err(KvError::Stopped(_))));
    assert!(matches!(kv.transact(Transaction::new().put(key("a"), "2")).await, Err(KvError::Stopped(_))));
}
