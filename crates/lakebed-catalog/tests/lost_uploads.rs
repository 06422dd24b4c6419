//! Uploads that nobody can name any more do not stay in the store.
#![allow(clippy::unwrap_used)] // tests say what they expect by panicking

mod support;

use std::sync::Arc;

use lakebed_blocks::{BlockAddress, BlockStore, MemStore};
use lakebed_core::{Clock, SystemClock};
use lakebed_kv::MemKv;
use support::Lake;

const DAY_MILLIS: i64 = 24 * 3600 * 1000;

#[tokio::test]
async fn lost_uploads_are_aborted_when_they_are_old_and_ours() {
    let (kv, blocks) = (Arc::new(MemKv::new()), Arc::new(MemStore::new()));
    let lake = Lake::over(kv.clone(), 1).await;
    let lake = Lake::again(kv, blocks.clone(), lake.repo, 2);
    let at = |key: &str| BlockAddress::new(format!("mem://{key}"));
    let (ours, foreign) = (at("lake/data/slice/object"), at("elsewhere/data/slice/object"));
    let mut lost = Vec::new();
    for _ in 0..250 {
        lost.push(blocks.create_multipart(&ours).await.unwrap());
    }
    let kept = blocks.create_multipart(&foreign).await.unwrap();
    // The store counts by the machine's clock.
    lake.clock.advance_millis(SystemClock.now().millis() - lake.clock.now().millis() + 7 * DAY_MILLIS);
    assert_eq!(lake.catalog.drop_lost_uploads().await.unwrap(), 0, "their rows may still expire");
    lake.clock.advance_millis(2 * DAY_MILLIS);
    assert_eq!(lake.catalog.drop_lost_uploads().await.unwrap(), lost.len());
    assert_eq!(lake.catalog.drop_lost_uploads().await.unwrap(), 0);
    for upload in lost {
        assert!(blocks.abort_multipart(&ours, &upload).await.is_err());
    }
    blocks.abort_multipart(&foreign, &kept).await.unwrap();
}
