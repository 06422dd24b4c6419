//! Sizes are what clients say they are.
#![allow(clippy::unwrap_used)]

mod support;

use lakebed_catalog::{EntryDraft, Precondition};
use support::{Lake, branch, path};

#[tokio::test]
async fn sizes_whose_sum_is_no_number_are_committed_all_the_same() {
    let lake = Lake::new().await;
    for at in ["a", "b", "c"] {
        let (on, at) = (branch("main"), path(at));
        let ticket = lake.catalog.begin_write(&lake.repo, &on, &at, Precondition::None, false).await.unwrap();
        let draft = EntryDraft { size: i64::MAX as u64, ..support::draft("x") };
        lake.catalog.link(ticket, draft).await.unwrap();
    }
    lake.commit("main", "large").await.unwrap();
    assert_eq!(lake.list("main@").await.unwrap().len(), 3);
}
