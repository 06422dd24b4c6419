//! Copies of objects: with bytes of their own, or sharing the source's.
#![allow(clippy::unwrap_used)]

mod support;

use lakebed_catalog::{CopyRequest, Entry, Precondition};
use support::{Lake, branch, expr, path};

async fn copied(lake: &Lake, to: &str, shallow: bool) -> Entry {
    let request = CopyRequest {
        source_repository: lake.repo.clone(),
        source_ref: expr("main"),
        source_path: path("a"),
        repository: lake.repo.clone(),
        branch: branch("dev"),
        path: path(to),
        shallow,
        precondition: Precondition::None,
        force: false,
    };
    lake.catalog.copy_object(request).await.unwrap()
}

#[tokio::test]
async fn a_shallow_copy_shares_the_bytes_and_outlives_its_source() {
    let lake = Lake::new().await;
    lake.create_branch("dev", "main").await.unwrap();
    let (on, at) = (branch("main"), path("a"));
    let source = lake.catalog.put_bytes(&lake.repo, &on, &at, "text/plain", "x".into()).await.unwrap();

    let (deep, shallow) = (copied(&lake, "deep", false).await, copied(&lake, "shallow", true).await);
    assert_ne!(deep.address, source.address);
    assert_eq!(shallow.address, source.address);
    assert_eq!((deep.size, &deep.checksum), (source.size, &source.checksum));
    assert_eq!((shallow.size, &shallow.checksum), (source.size, &source.checksum));

    lake.delete("main", "a").await.unwrap();
    for copy in ["deep", "shallow"] {
        let (repository, entry) = lake.catalog.locate(&lake.repo, &expr("dev"), &path(copy)).await.unwrap();
        let address = entry.view().unwrap().full_address(&repository.storage_namespace);
        let body = lake.catalog.read(&address, None).await.unwrap();
        assert_eq!(lakebed_blocks::collect(body, 9).await.unwrap(), "x");
    }
}
