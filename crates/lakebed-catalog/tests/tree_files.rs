//! Trees can be found and read as files.
#![allow(clippy::unwrap_used)]

mod support;

use lakebed_catalog::ErrorKind;
use lakebed_core::NodeId;
use support::Lake;

#[tokio::test]
async fn a_commits_tree_lies_where_it_is_said_to_and_others_are_not_found() {
    let lake = Lake::new().await;
    lake.put("main", "a", "x").await.unwrap();
    let tree = lake.commit("main", "one").await.unwrap().tree.unwrap();
    let location = lake.catalog.tree_location(&lake.repo, &tree).await.unwrap();
    assert_eq!(location, format!("_lakebed/tree/{}/{tree}", &tree.to_hex()[..2]));
    let stored = lake.catalog.tree_file(&lake.repo, &tree).await.unwrap();
    assert_eq!(lakebed_tree::Node::decode(&tree, &stored).unwrap().id(), &tree);
    let unknown = NodeId::digest(b"unknown");
    assert_eq!(
        lake.catalog.tree_location(&lake.repo, &unknown).await.unwrap_err().kind(),
        ErrorKind::NotFound
    );
    assert_eq!(lake.catalog.tree_file(&lake.repo, &unknown).await.unwrap_err().kind(), ErrorKind::NotFound);
}
