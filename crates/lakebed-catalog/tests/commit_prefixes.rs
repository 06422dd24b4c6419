//! Short commit ids: one that several commits share names none of them, and says so.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;

use lakebed_catalog::{BranchCreation, ErrorKind, ListRequest};
use support::{Lake, expr, path};

/// Commits, and a first digit that several of their ids share: there are more ids than digits.
async fn shared_digit(lake: &Lake) -> String {
    let mut ids = vec![lake.catalog.resolve(&lake.repo, &expr("main")).await.unwrap().id];
    for n in 0..16 {
        lake.put("main", "a", &n.to_string()).await.unwrap();
        ids.push(lake.commit("main", "more").await.unwrap().id);
    }
    let mut of_digit: BTreeMap<String, usize> = BTreeMap::new();
    for id in ids {
        *of_digit.entry(id.to_hex()[..1].to_owned()).or_default() += 1;
    }
    of_digit.into_iter().find(|(_, count)| *count > 1).unwrap().0
}

#[tokio::test]
async fn a_prefix_of_several_commits_is_ambiguous() {
    let lake = Lake::new().await;
    let digit = expr(&shared_digit(&lake).await);
    let resolved = lake.catalog.resolve(&lake.repo, &digit).await;
    assert_eq!(resolved.unwrap_err().kind(), ErrorKind::AmbiguousRef);
    let listed = lake.catalog.list_objects(&lake.repo, &digit, &ListRequest::default()).await;
    assert_eq!(listed.unwrap_err().kind(), ErrorKind::AmbiguousRef);
    let found = lake.catalog.stat(&lake.repo, &digit, &path("a")).await;
    assert_eq!(found.unwrap_err().kind(), ErrorKind::AmbiguousRef);
}

#[tokio::test]
async fn an_ambiguous_prefix_is_free_as_a_branch_name_and_no_branch_before() {
    let lake = Lake::new().await;
    let digit = shared_digit(&lake).await;
    let written = lake.put(&digit, "a", "x").await;
    assert_eq!(written.unwrap_err().kind(), ErrorKind::BranchNotFound);
    let source = expr("main");
    let new = BranchCreation { name: digit.parse().unwrap(), source, hidden: false, force: false };
    lake.catalog.create_branch(&lake.repo, new).await.unwrap();
    lake.put(&digit, "a", "x").await.unwrap();
    assert_eq!(lake.content(&digit, "a").await.as_deref(), Some("x"));
}

#[tokio::test]
async fn an_entry_is_located_with_the_repository_its_address_belongs_to() {
    let lake = Lake::new().await;
    lake.put("main", "a", "x").await.unwrap();
    let (repository, entry) = lake.catalog.locate(&lake.repo, &expr("main"), &path("a")).await.unwrap();
    assert_eq!(repository.id, lake.repo);
    let address = entry.view().unwrap().full_address(&repository.storage_namespace);
    assert!(address.as_str().starts_with("mem://lake/data/"), "{}", address.as_str());
}
