//! Repositories deleted with their data: all that is theirs goes, and nothing that another needs.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::sync::Arc;

use lakebed_blocks::{BlockAddress, BlockStore, PutOptions};
use lakebed_catalog::{Catalog, CatalogError, ErrorKind, NewRepository, Precondition};
use lakebed_core::RepositoryId;
use support::interrupted::Interrupted;
use support::narrow::NarrowKv;
use support::{Lake, branch, draft, expr, path};

const DAY_MILLIS: i64 = 24 * 3600 * 1000;

async fn create(
    catalog: &Catalog,
    name: &str,
    namespace: &str,
    read_only: bool,
) -> Result<RepositoryId, CatalogError> {
    let new = NewRepository {
        id: name.parse().unwrap(),
        storage_namespace: namespace.to_owned(),
        storage_id: String::new(),
        default_branch: None,
        bare: false,
        read_only,
    };
    Ok(catalog.create_repository(new).await?.id)
}

/// Every key of a namespace.
async fn keys(blocks: &Arc<dyn BlockStore>, namespace: &str) -> Vec<String> {
    let prefix = BlockAddress::new(format!("{namespace}/"));
    let all = blocks.list(&prefix, None, 1000).await.unwrap();
    all.iter().map(|info| info.address.as_str()[namespace.len() + 1..].to_owned()).collect()
}

/// Writes an object; its content is its path.
async fn write(lake: &Lake, at: &str) -> String {
    let content = at.to_owned().into();
    let entry = lake.catalog.put_bytes(&lake.repo, &branch("main"), &path(at), "", content).await.unwrap();
    format!("mem://lake/{}", entry.address)
}

/// A repository with a committed, a deleted and a staged object.
async fn lake() -> Lake {
    let lake = Lake::new().await;
    for at in ["a", "b"] {
        write(&lake, at).await;
    }
    lake.commit("main", "both").await.unwrap();
    lake.delete("main", "a").await.unwrap();
    lake.commit("main", "one less").await.unwrap();
    write(&lake, "c").await;
    lake
}

async fn delete(lake: &Lake) -> Result<(), CatalogError> {
    lake.catalog.delete_repository_and_data(&lake.repo, false).await
}

async fn put(lake: &Lake, key: &str) {
    let address = BlockAddress::new(format!("mem://lake/{key}"));
    lake.catalog.blocks().put_bytes(&address, "theirs".into(), PutOptions::default()).await.unwrap();
}

/// Links an address in another repository.
async fn link(lake: &Lake, repository: &RepositoryId, address: &str) -> Result<(), CatalogError> {
    let (on, at) = (branch("main"), path("linked"));
    let ticket = lake.catalog.begin_write(repository, &on, &at, Precondition::None, false).await?;
    lake.catalog.link_address(ticket, address, draft("x")).await.map(drop)
}

#[tokio::test]
async fn everything_that_is_ours_goes_but_the_marker() {
    let lake = lake().await;
    put(&lake, "raw/x.parquet").await;
    put(&lake, "data/x.parquet").await;
    delete(&lake).await.unwrap();
    lake.catalog.sweep_once().await.unwrap();
    lake.catalog.free_once().await.unwrap();
    let left = keys(lake.catalog.blocks(), "mem://lake").await;
    assert_eq!(left, ["_lakebed/repository", "data/x.parquet", "raw/x.parquet"]);

    // The name is free, the namespace is not.
    let refused = create(&lake.catalog, "lake", "mem://lake", false).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NamespaceRefused);
    let refused = create(&lake.catalog, "lake", "mem://lake", true).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::NamespaceRefused);
    create(&lake.catalog, "lake", "mem://other", false).await.unwrap();
}

#[tokio::test]
async fn without_being_asked_nothing_goes() {
    let lake = lake().await;
    let before = keys(lake.catalog.blocks(), "mem://lake").await;
    lake.catalog.delete_repository(&lake.repo, false).await.unwrap();
    lake.catalog.sweep_once().await.unwrap();
    lake.catalog.free_once().await.unwrap();
    assert_eq!(keys(lake.catalog.blocks(), "mem://lake").await, before);
}

#[tokio::test]
async fn what_arrives_late_goes_a_day_later() {
    let lake = lake().await;
    let late = write(&lake, "late").await;
    let address = BlockAddress::new(late);
    delete(&lake).await.unwrap();
    lake.catalog.free_once().await.unwrap();
    let blocks = lake.catalog.blocks();
    blocks.put_bytes(&address, "x".into(), PutOptions::default()).await.unwrap();
    // Passed once, it is not listed again every minute.
    lake.catalog.free_once().await.unwrap();
    blocks.head(&address).await.unwrap();
    lake.clock.advance_millis(DAY_MILLIS + 1000);
    lake.catalog.free_once().await.unwrap();
    blocks.head(&address).await.unwrap_err();
}

#[tokio::test]
async fn a_namespace_that_is_shared_stays() {
    let lake = lake().await;
    let reader = create(&lake.catalog, "reader", "mem://lake", true).await.unwrap();
    let refused = delete(&lake).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    assert!(refused.to_string().contains("'reader'"), "{refused}");
    lake.catalog.repository(&lake.repo).await.unwrap();

    // The last one may.
    lake.catalog.delete_repository(&lake.repo, false).await.unwrap();
    lake.catalog.delete_repository_and_data(&reader, true).await.unwrap();
    lake.catalog.free_once().await.unwrap();
    assert_eq!(keys(lake.catalog.blocks(), "mem://lake").await, ["_lakebed/repository"]);
}

#[tokio::test]
async fn a_namespace_whose_objects_are_linked_elsewhere_stays() {
    let lake = lake().await;
    let address = write(&lake, "shared").await;
    let other = create(&lake.catalog, "other", "mem://other", false).await.unwrap();
    link(&lake, &other, &address).await.unwrap();
    let refused = delete(&lake).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
    assert!(refused.to_string().contains("'other'"), "{refused}");

    // The link is as good when the repository that made it is gone and another was restored from its namespace.
    lake.catalog.delete_repository(&other, false).await.unwrap();
    let again = create(&lake.catalog, "again", "mem://other", true).await.unwrap();
    assert!(delete(&lake).await.unwrap_err().to_string().contains("'again'"));

    lake.catalog.delete_repository(&again, true).await.unwrap();
    delete(&lake).await.unwrap();
    let third = create(&lake.catalog, "third", "mem://third", false).await.unwrap();
    let refused = link(&lake, &third, &address).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Invalid);
    assert!(refused.to_string().contains("deleted together with its data"), "{refused}");
}

#[tokio::test]
async fn a_namespace_of_another_server_stays() {
    let lake = lake().await;
    let marker = BlockAddress::new("mem://lake/_lakebed/repository");
    let blocks = lake.catalog.blocks();
    blocks.put_bytes(&marker, "another's".into(), PutOptions::default()).await.unwrap();
    assert_eq!(delete(&lake).await.unwrap_err().kind(), ErrorKind::Conflict);

    let mine = create(&lake.catalog, "mine", "mem://unclaimed", true).await.unwrap();
    let refused = lake.catalog.delete_repository_and_data(&mine, true).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Conflict);
}

#[tokio::test]
async fn a_marker_that_changes_meanwhile_stops_it() {
    let lake = lake().await;
    let before = keys(lake.catalog.blocks(), "mem://lake").await;
    delete(&lake).await.unwrap();
    let marker = BlockAddress::new("mem://lake/_lakebed/repository");
    let blocks = lake.catalog.blocks();
    blocks.put_bytes(&marker, "another's".into(), PutOptions::default()).await.unwrap();
    lake.catalog.free_once().await.unwrap();
    assert_eq!(keys(blocks, "mem://lake").await, before);
}

#[tokio::test]
async fn a_link_in_the_middle_keeps_the_data_or_is_refused() {
    let (mut kept, mut gone) = (0, 0);
    for at in 1..20 {
        let kv = Arc::new(NarrowKv::default());
        let first = Lake::over(kv.clone(), 3).await;
        let address = write(&first, "shared").await;
        let other = create(&first.catalog, "other", "mem://other", false).await.unwrap();
        let blocks = first.catalog.blocks().clone();
        let beside = Lake::again(kv.clone(), blocks.clone(), first.repo.clone(), 4);
        let (shared, into) = (address.clone(), other.clone());
        let meanwhile = Box::pin(async move {
            link(&beside, &into, &shared).await.unwrap();
        });
        let kv = Arc::new(Interrupted::new(kv, at, meanwhile));
        let lake = Lake::again(kv, blocks.clone(), first.repo.clone(), 5);
        let deleted = delete(&lake).await;
        first.catalog.free_once().await.unwrap();
        let linked = first.catalog.stat(&other, &expr("main"), &path("linked")).await.is_ok();
        let exists = blocks.head(&BlockAddress::new(address)).await.is_ok();
        if let Err(error) = deleted {
            assert_eq!(error.kind(), ErrorKind::Conflict, "call {at}");
            assert!(linked && exists, "call {at}");
            kept += 1;
        } else {
            // Done before it came to the call.
            assert!(!linked && !exists, "call {at}");
            gone += 1;
        }
    }
    assert!(kept > 3 && gone > 3, "{kept} kept, {gone} gone");
}
