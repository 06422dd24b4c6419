//! What commit, diff and merge read and write follows what was changed, not what there is. A server that has just started
//! does them, so that no node is cached. Millions of objects, and times: `cargo bench -p lakebed-catalog`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests say what they expect by panicking

#[path = "support/counted.rs"]
mod counted;
mod support;

use counted::{CountedLake, Nodes, object};
use lakebed_catalog::{DiffMode, DiffRequest, MergeStrategy};
use support::{Lake, expr};

async fn change(lake: &Lake, on: &str, numbers: impl Iterator<Item = usize>) {
    for n in numbers {
        lake.put(on, &object(n), on).await.unwrap();
    }
}

/// Nodes of a commit, a diff and a merge of so many changes, scattered over so many objects.
async fn costs(objects: usize, changes: usize) -> [Nodes; 3] {
    let counted = CountedLake::new(objects).await;
    let lake = counted.cold();
    lake.create_branch("dev", "main").await.unwrap();
    let step = objects / changes + 1;
    change(&lake, "dev", (0..changes).map(|n| n * step)).await;
    change(&lake, "main", (0..changes).map(|n| n * step + 1)).await;
    lake.commit("main", "here").await.unwrap();
    let lake = counted.cold();
    let (done, commit) = counted.nodes_of(lake.commit("dev", "there")).await;
    done.unwrap();
    let lake = counted.cold();
    let request = DiffRequest { amount: 1000, ..DiffRequest::default() };
    let (left, right) = (expr("dev~1"), expr("dev"));
    let asked = lake.catalog.diff_refs(&lake.repo, &left, &right, DiffMode::TwoDot, &request);
    let (found, diff) = counted.nodes_of(asked).await;
    assert_eq!(found.unwrap().items.len(), changes);
    let lake = counted.cold();
    let (done, merge) = counted.nodes_of(lake.merge("dev", "main", MergeStrategy::None)).await;
    assert_eq!(done.unwrap().summary.changed, changes as u64);
    [commit, diff, merge]
}

#[tokio::test]
async fn nodes_read_and_written_follow_the_change() {
    for (objects, changes) in [(1_000, 1), (40_000, 1), (40_000, 8)] {
        let [commit, diff, merge] = costs(objects, changes).await;
        // A root, and a leaf for each change; now and then an edit moves a boundary and takes its neighbour along.
        let most = |trees: u64| trees * (1 + changes as u64) + 2;
        let what = format!("{changes} changes in {objects} objects: {commit:?} {diff:?} {merge:?}");
        assert!(commit.read <= most(1) && commit.written <= most(1), "{what}");
        assert!(diff.read <= most(2) && diff.written == 0, "{what}");
        assert!(merge.read <= most(3) && merge.written <= most(1), "{what}");
    }
}
