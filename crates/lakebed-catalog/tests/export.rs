//! Refs and settings are in the bucket soon after they changed, and the bucket alone makes the repository again.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests say what they expect by panicking

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use lakebed_blocks::{BlockAddress, BlockStore};
use lakebed_catalog::{
    BranchCreation, CatalogError, ErrorKind, LogRequest, NewRepository, PageRequest, RestoreRequest,
    RestoreSource,
};
use lakebed_core::RepositoryId;
use support::narrow::NarrowKv;
use support::{Lake, branch, expr};

async fn history(lake: &Lake) {
    lake.put("main", "a", "1").await.unwrap();
    lake.commit("main", "c1").await.unwrap();
    let new = BranchCreation { name: branch("hid"), source: expr("main"), hidden: true, force: false };
    lake.catalog.create_branch(&lake.repo, new).await.unwrap();
    lake.catalog.create_tag(&lake.repo, &"v1.0".parse().unwrap(), &expr("main~"), false).await.unwrap();
    lake.catalog.set_branch_protection(&lake.repo, &["rel-*".to_owned()], None).await.unwrap();
    lake.catalog.set_gc_rules(&lake.repo, Some("{}")).await.unwrap();
    let metadata = BTreeMap::from([("owner".to_owned(), "us".to_owned())]);
    lake.catalog.set_repository_metadata(&lake.repo, metadata).await.unwrap();
}

async fn everything(lake: &Lake, repository: &RepositoryId) -> Vec<String> {
    let page = PageRequest { amount: 1000, ..PageRequest::default() };
    let mut all = vec![
        format!("{:?}", lake.catalog.branch_protection(repository).await.unwrap()),
        format!("{:?}", lake.catalog.gc_rules(repository).await.unwrap()),
        format!("{:?}", lake.catalog.repository_metadata(repository).await.unwrap()),
    ];
    for branch in lake.catalog.list_branches(repository, &page, true).await.unwrap().items {
        let log = LogRequest { amount: 1000, ..LogRequest::default() };
        let log = lake.catalog.log(repository, &expr(branch.id.as_str()), &log).await.unwrap();
        all.push(format!("{branch:?} {:?}", log.items));
    }
    all.push(format!("{:?}", lake.catalog.list_tags(repository, &page).await.unwrap().items));
    all
}

/// A server that knows nothing, over the same bucket.
fn amnesiac(lake: &Lake) -> Lake {
    Lake::again(Arc::new(NarrowKv::default()), lake.catalog.blocks().clone(), lake.repo.clone(), 11)
}

async fn rebuild(lake: &Lake, as_name: &str, was: Option<&str>) -> Result<RepositoryId, CatalogError> {
    let new = NewRepository {
        id: as_name.parse().unwrap(),
        storage_namespace: "mem://lake".to_owned(),
        storage_id: String::new(),
        default_branch: None,
        bare: true,
        read_only: false,
    };
    let id = match lake.catalog.create_repository(new).await {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => as_name.parse().unwrap(),
        made => made?.id,
    };
    let source = RestoreSource::Bucket { repository: was.map(str::to_owned) };
    lake.catalog.restore(&id, RestoreRequest { source, force: false }).await?;
    Ok(id)
}

async fn list(store: &Arc<dyn BlockStore>, prefix: &str) -> Vec<BlockAddress> {
    let prefix = BlockAddress::new(format!("mem://lake/{prefix}"));
    store.list(&prefix, None, 100_000).await.unwrap().into_iter().map(|found| found.address).collect()
}

#[tokio::test]
async fn the_bucket_alone_makes_the_repository_again() {
    let lake = Lake::new().await;
    history(&lake).await;
    // A commit that no ref leads to any more stays readable, here and there.
    lake.put("main", "b", "1").await.unwrap();
    let lost = lake.commit("main", "lost").await.unwrap();
    lake.catalog.hard_reset(&lake.repo, &branch("main"), &expr("main~"), false).await.unwrap();
    lake.catalog.export_once().await;
    let there = amnesiac(&lake);
    let id = rebuild(&there, "lake", None).await.unwrap();
    assert_eq!(everything(&there, &id).await, everything(&lake, &lake.repo).await);
    let again = there.catalog.resolve(&id, &expr(&lost.id.to_hex())).await.unwrap();
    assert_eq!(again, lost);
    assert_eq!(there.list("main").await.unwrap(), lake.list("main").await.unwrap());
    assert_eq!(there.put("rel-1", "x", "1").await.unwrap_err().kind(), ErrorKind::BranchNotFound);
    there.create_branch("rel-1", "main").await.unwrap();
    assert_eq!(there.put("rel-1", "x", "1").await.unwrap_err().kind(), ErrorKind::Protected);
}

#[tokio::test]
async fn what_changed_is_exported_and_nothing_else() {
    let kv = Arc::new(NarrowKv::default());
    let lake = Lake::over(kv.clone(), 7).await;
    history(&lake).await;
    lake.catalog.export_once().await;
    let store = lake.catalog.blocks().clone();
    let first = list(&store, "_lakebed/refs/").await;
    // Looked at again, also by a server that has just started and knows of no export.
    let next = Lake::again(kv, store.clone(), lake.repo.clone(), 3);
    for server in [&lake, &next] {
        let metadata = BTreeMap::from([("owner".to_owned(), "us".to_owned())]);
        server.catalog.set_repository_metadata(&lake.repo, metadata).await.unwrap();
        server.catalog.export_once().await;
        assert_eq!(list(&store, "_lakebed/refs/").await, first, "nothing changed");
    }
    lake.clock.advance_millis(30_000);
    lake.catalog.delete_tag(&lake.repo, &"v1.0".parse().unwrap(), false).await.unwrap();
    lake.put("main", "staged", "1").await.unwrap();
    lake.catalog.export_once().await;
    let there = amnesiac(&lake);
    let id = rebuild(&there, "lake", None).await.unwrap();
    assert_eq!(everything(&there, &id).await, everything(&lake, &lake.repo).await);
    assert!(there.uncommitted("main").await.unwrap().is_empty());
}

#[tokio::test]
async fn what_several_servers_change_is_exported_by_whoever_comes_last() {
    let kv = Arc::new(NarrowKv::default());
    let one = Lake::over(kv.clone(), 7).await;
    history(&one).await;
    let two = Lake::again(kv, one.catalog.blocks().clone(), one.repo.clone(), 3);
    let same = async |what: &str| {
        let there = amnesiac(&one);
        let id = rebuild(&there, "lake", None).await.unwrap();
        assert_eq!(everything(&there, &id).await, everything(&one, &one.repo).await, "{what}");
    };
    one.catalog.export_once().await;
    two.create_branch("passing", "main").await.unwrap();
    two.catalog.export_once().await;
    same("the second server's clock is no later than the first's").await;
    // Back to what the first server exported.
    one.catalog.delete_branch(&one.repo, &branch("passing"), false).await.unwrap();
    one.catalog.export_once().await;
    same("as it was before").await;
    // An export that was read before and written after another is put right in the next round.
    two.create_branch("later", "main").await.unwrap();
    one.catalog.export_once().await;
    same("the first server looks again").await;
}

#[tokio::test]
async fn old_exports_go_with_the_nodes_that_only_they_name() {
    let lake = Lake::new().await;
    // Enough branches that the tree has several nodes and an edit leaves most of them alone.
    for n in 0..3000 {
        lake.create_branch(&format!("branch-{n:04}"), "main").await.unwrap();
    }
    let store = lake.catalog.blocks().clone();
    lake.catalog.export_once().await;
    for n in 0..130 {
        lake.clock.advance_millis(30_000);
        lake.create_branch(&format!("more-{n}"), "main").await.unwrap();
        lake.catalog.export_once().await;
    }
    // The store of these tests tells the time of the machine, and the lake's clock is far ahead of it: nothing is young.
    let manifests = list(&store, "_lakebed/refs/").await;
    let nodes = manifests.iter().filter(|address| address.as_str().contains("/tree/")).count();
    assert_eq!(manifests.len() - nodes, 8);
    assert!(nodes < 60, "{nodes} nodes after 131 exports");
    let there = amnesiac(&lake);
    let id = rebuild(&there, "lake", None).await.unwrap();
    assert_eq!(everything(&there, &id).await, everything(&lake, &lake.repo).await);
}

#[tokio::test]
async fn the_repository_meant_is_found_among_several() {
    let lake = Lake::new().await;
    history(&lake).await;
    lake.catalog.export_once().await;
    // A copy in the same namespace, with a life of its own.
    let copy = rebuild(&lake, "copy", Some("lake")).await.unwrap();
    let copy = Lake { repo: copy, ..lake };
    copy.put("main", "of the copy", "1").await.unwrap();
    copy.commit("main", "on the copy").await.unwrap();
    copy.catalog.export_once().await;
    let there = amnesiac(&copy);
    let error = rebuild(&there, "other", None).await.unwrap_err();
    let text = error.to_string();
    assert!(error.kind() == ErrorKind::NotFound && text.contains("copy") && text.contains("lake"), "{text}");
    let id = rebuild(&there, "other", Some("copy")).await.unwrap();
    assert_eq!(everything(&there, &id).await, everything(&copy, &copy.repo).await);
    let error = rebuild(&there, "third", Some("none")).await.unwrap_err();
    assert!(error.to_string().contains("no export of repository 'none'"), "{error}");
}

#[tokio::test]
async fn a_namespace_without_exports_says_so() {
    let lake = Lake::new().await;
    let there = amnesiac(&lake);
    let error = rebuild(&there, "lake", None).await.unwrap_err();
    assert!(error.to_string().contains("there is: none"), "{error}");
}
