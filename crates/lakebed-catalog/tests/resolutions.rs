//! Conflicts decided path by path, and what a merge would stop at, against a naive model.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use lakebed_catalog::{
    CatalogError, ConflictResolution, DiffRequest, EntryBytes, ErrorKind, MergeConflict, MergeRequest,
    MergeStrategy,
};
use proptest::prelude::*;
use support::{Lake, branch, draft, expr, path};

type State = BTreeMap<String, String>;
type Sides = (Option<String>, Option<String>, Option<String>);

async fn put_all(lake: &Lake, on: &str, from: &State, to: &State) {
    for at in from.keys().filter(|at| !to.contains_key(*at)) {
        lake.delete(on, at).await.unwrap();
    }
    for (at, content) in to.iter().filter(|(at, content)| from.get(*at) != Some(content)) {
        lake.put(on, at, content).await.unwrap();
    }
    if from != to {
        lake.commit(on, "state").await.unwrap();
    }
}

/// `main` and `dev` part from the base.
async fn parted(base: &State, source: &State, destination: &State) -> Lake {
    let lake = Lake::new().await;
    put_all(&lake, "main", &State::new(), base).await;
    lake.create_branch("dev", "main").await.unwrap();
    put_all(&lake, "dev", base, source).await;
    put_all(&lake, "main", base, destination).await;
    lake
}

fn naive_conflicts(base: &State, source: &State, destination: &State) -> BTreeMap<String, Sides> {
    let paths: BTreeSet<_> = base.keys().chain(source.keys()).chain(destination.keys()).collect();
    let sides = |at: &String| (base.get(at).cloned(), source.get(at).cloned(), destination.get(at).cloned());
    let conflicts = paths.into_iter().map(|at| (at.clone(), sides(at)));
    conflicts.filter(|(_, (b, s, d))| s != b && d != b && s != d).collect()
}

fn content(entry: Option<&EntryBytes>) -> Option<String> {
    entry.map(|entry| entry.view().unwrap().checksum.to_owned())
}

async fn conflicts_in_pages(lake: &Lake, amount: usize) -> Vec<MergeConflict> {
    let (mut all, mut after) = (Vec::new(), String::new());
    loop {
        let request = DiffRequest { after, amount, ..DiffRequest::default() };
        let page = lake.catalog.merge_conflicts(&lake.repo, &expr("dev"), &branch("main"), &request).await;
        let page = page.unwrap();
        all.extend(page.items);
        if !page.has_more {
            return all;
        }
        after = page.next_offset;
    }
}

async fn merge(
    lake: &Lake,
    resolutions: BTreeMap<lakebed_core::ObjectPath, ConflictResolution>,
) -> Result<(), CatalogError> {
    let request = MergeRequest { resolutions, allow_empty: true, ..MergeRequest::default() };
    lake.catalog.merge(&lake.repo, &expr("dev"), &branch("main"), request).await.map(drop)
}

async fn state(lake: &Lake) -> State {
    lake.list("main@").await.unwrap().into_iter().collect()
}

fn states() -> impl Strategy<Value = State> {
    proptest::collection::btree_map("[a-e]", "[1-3]", 0..5)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_merge_does_at_each_conflict_what_it_was_told(
        base in states(), source in states(), destination in states(),
        choices in proptest::collection::vec(0..4_usize, 5),
    ) {
        let runtime = support::runtime();
        runtime.block_on(async {
            let lake = parted(&base, &source, &destination).await;
            let expected = naive_conflicts(&base, &source, &destination);
            let found: BTreeMap<String, Sides> = conflicts_in_pages(&lake, 2).await.into_iter().map(|conflict| {
                let sides = [&conflict.base, &conflict.source, &conflict.destination].map(|side| content(side.as_ref()));
                let [b, s, d] = sides;
                (conflict.path, (b, s, d))
            }).collect();
            assert_eq!(found, expected);

            let mut wanted: State = state(&lake).await;
            for at in base.keys().chain(source.keys()).chain(destination.keys()) {
                // Where the source alone changed, the source counts.
                if source.get(at) != base.get(at) && destination.get(at) == base.get(at) {
                    match source.get(at) {
                        Some(content) => wanted.insert(at.clone(), content.clone()),
                        None => wanted.remove(at),
                    };
                }
            }
            let mut resolutions = BTreeMap::new();
            for ((at, (b, s, d)), choice) in expected.iter().zip(choices) {
                let (resolution, result) = match choice {
                    0 => (ConflictResolution::Source, s.clone()),
                    1 => (ConflictResolution::Destination, d.clone()),
                    2 => (ConflictResolution::Base, b.clone()),
                    _ => {
                        let address = "mem://elsewhere/resolved".to_owned();
                        let object = ConflictResolution::Object { address, draft: draft("new") };
                        (object, Some("new".to_owned()))
                    }
                };
                resolutions.insert(path(at), resolution);
                match result {
                    Some(content) => wanted.insert(at.clone(), content),
                    None => wanted.remove(at),
                };
            }
            if let Some(left_out) = resolutions.keys().next().cloned() {
                let mut fewer = resolutions.clone();
                fewer.remove(&left_out);
                let refused = merge(&lake, fewer).await.unwrap_err();
                assert_eq!(refused.kind(), ErrorKind::MergeConflict);
            }
            let mut more = resolutions.clone();
            more.insert(path("zzz"), ConflictResolution::Source);
            let refused = merge(&lake, more).await.unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::Invalid);

            merge(&lake, resolutions).await.unwrap();
            assert_eq!(state(&lake).await, wanted);
            assert!(conflicts_in_pages(&lake, 10).await.is_empty(), "what was decided is merged");
        });
    }
}

#[tokio::test]
async fn a_strategy_decides_what_no_resolution_does() {
    let states = [[("a", "0"), ("b", "0")], [("a", "1"), ("b", "1")], [("a", "2"), ("b", "2")]];
    let [base, source, destination] =
        states.map(|state| state.map(|(at, content)| (at.to_owned(), content.to_owned())).into());
    let lake = parted(&base, &source, &destination).await;
    let resolutions = BTreeMap::from([(path("a"), ConflictResolution::Base)]);
    let request =
        MergeRequest { strategy: MergeStrategy::SourceWins, resolutions, ..MergeRequest::default() };
    lake.catalog.merge(&lake.repo, &expr("dev"), &branch("main"), request).await.unwrap();
    assert_eq!(lake.content("main", "a").await.as_deref(), Some("0"));
    assert_eq!(lake.content("main", "b").await.as_deref(), Some("1"));
}

#[tokio::test]
async fn an_address_inside_the_namespace_must_be_issued() {
    let one = |content: &str| State::from([("a".to_owned(), content.to_owned())]);
    let lake = parted(&one("0"), &one("1"), &one("2")).await;
    let with = |address: &str| {
        let object = ConflictResolution::Object { address: address.to_owned(), draft: draft("new") };
        BTreeMap::from([(path("a"), object)])
    };
    for refused in ["mem://lake/data/x/y", "s3://other/x", ""] {
        assert_eq!(merge(&lake, with(refused)).await.unwrap_err().kind(), ErrorKind::Invalid, "{refused}");
    }
    let issued = lake.catalog.issue_address(&lake.repo).await.unwrap();
    merge(&lake, with(&issued)).await.unwrap();
    assert_eq!(lake.content("main", "a").await.as_deref(), Some("new"));
}
