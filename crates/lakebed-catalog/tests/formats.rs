//! Two versions over one engine: who may start, what they write, when the new format becomes final.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::sync::Arc;

use lakebed_catalog::formats::{FORGOTTEN, FormatError, Membership, finalize, survey};
use lakebed_core::{ManualClock, SeededEntropy, Timestamp};
use lakebed_kv::{KeyRange, Kv, MemKv, Transaction};
use support::{Lake, branch};

struct Installation {
    kv: Arc<MemKv>,
    clock: Arc<ManualClock>,
    entropy: SeededEntropy,
}

impl Installation {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::new(Timestamp::from_secs(1_800_000_000)));
        Self { kv: Arc::new(MemKv::new()), clock, entropy: SeededEntropy::new(5) }
    }

    /// A server of a version that reads format `newest` and the one before.
    async fn join(&self, newest: u32) -> Result<Membership, FormatError> {
        let reads = newest.saturating_sub(1).max(1)..=newest;
        Membership::join(self.kv.clone(), self.clock.clone(), &self.entropy, format!("v{newest}"), reads)
            .await
    }

    async fn finalize(&self, newest: u32) -> Result<(u32, u32), FormatError> {
        finalize(&*self.kv, &*self.clock, newest.saturating_sub(1).max(1)..=newest).await
    }

    async fn format(&self) -> Option<u32> {
        survey(&*self.kv, &*self.clock).await.unwrap().0
    }

    async fn everything(&self) -> Vec<(bytes::Bytes, bytes::Bytes)> {
        let all = KeyRange { start: bytes::Bytes::new(), end: None };
        let rows = self.kv.scan(&all, 10_000).await.unwrap();
        rows.into_iter().map(|row| (row.key, row.value)).collect()
    }
}

#[tokio::test]
async fn a_new_version_writes_the_old_format_until_it_is_final() {
    let all = Installation::new();
    assert_eq!(all.format().await, None);
    let old = all.join(1).await.unwrap();
    let new = all.join(2).await.unwrap();
    assert_eq!((old.beat().await.unwrap(), new.beat().await.unwrap()), (1, 1));
    // The old version is started again: still possible.
    let again = all.join(1).await.unwrap();
    let refused = all.finalize(2).await.unwrap_err();
    assert!(matches!(&refused, FormatError::InUse { wanted: 2, servers } if servers.len() == 2), "{refused}");
    assert!(refused.to_string().contains("v1 (0 s ago)"), "{refused}");
    old.leave().await;
    again.leave().await;
    assert_eq!(all.finalize(2).await.unwrap(), (1, 2));
    assert_eq!(all.finalize(2).await.unwrap(), (2, 2));
    assert_eq!(new.beat().await.unwrap(), 2);
    // Now there is no way back, and a refusal changes nothing.
    let before = all.everything().await;
    let refused = all.join(1).await.err().unwrap().to_string();
    assert!(refused.contains("format 2") && refused.contains("up to 1"), "{refused}");
    assert_eq!(all.everything().await, before);
    // The next version follows, the one after it does not.
    all.join(3).await.unwrap();
    assert!(matches!(all.join(4).await, Err(FormatError::Older { found: 2, oldest: 3 })));
}

#[tokio::test]
async fn a_server_taken_for_dead_notices_and_one_that_lives_does_not_count_as_dead() {
    let all = Installation::new();
    let sleeps = all.join(1).await.unwrap();
    let lives = all.join(2).await.unwrap();
    all.clock.advance_millis(FORGOTTEN.as_millis() as i64 - 1000);
    assert!(all.finalize(2).await.is_err());
    lives.beat().await.unwrap();
    all.clock.advance_millis(1000);
    let (_, peers) = survey(&*all.kv, &*all.clock).await.unwrap();
    assert_eq!(peers.iter().map(|peer| peer.version.as_str()).collect::<Vec<_>>(), ["v2"]);
    assert_eq!(all.finalize(2).await.unwrap(), (1, 2));
    assert!(matches!(sleeps.beat().await, Err(FormatError::Newer { found: 2, newest: 1 })));
}

#[tokio::test]
async fn data_from_before_the_record_of_the_format_is_of_the_first() {
    let all = Installation::new();
    all.kv.transact(Transaction::new().put("p", "something")).await.unwrap();
    let server = all.join(2).await.unwrap();
    assert_eq!(server.beat().await.unwrap(), 1);
    // An empty engine is begun in the newest.
    let fresh = Installation::new();
    assert_eq!(fresh.join(2).await.unwrap().beat().await.unwrap(), 2);
}

/// A record with fields that this version does not know would lose them when it is written again.
#[tokio::test]
async fn a_record_of_a_newer_version_is_refused_and_stays_as_it_is() {
    let kv = Arc::new(MemKv::new());
    let lake = Lake::over(kv.clone(), 3).await;
    let all = KeyRange { start: bytes::Bytes::new(), end: None };
    let rows = kv.scan(&all, 1000).await.unwrap();
    let row = rows.iter().find(|row| row.key.starts_with(b"r") && row.key.ends_with(b"main")).unwrap();
    // Field 200, a varint.
    let newer = bytes::Bytes::from([&row.value[..], &[0xc0, 0x0c, 1]].concat());
    kv.transact(Transaction::new().put(row.key.clone(), newer.clone())).await.unwrap();
    let name = branch("main");
    let error = lake.catalog.branch(&lake.repo, &name).await.unwrap_err().to_string();
    assert!(error.contains("newer version") && error.contains("upgrade"), "{error}");
    let write = lake.put("main", "a", "x").await;
    assert!(write.unwrap_err().to_string().contains("newer version"));
    assert_eq!(kv.get(&row.key).await.unwrap().unwrap().value, newer);
}
