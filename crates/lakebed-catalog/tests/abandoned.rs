//! What was staged goes to the engine when its layer is dead: nobody sees rows go, in whatever order they do.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::sync::Arc;

use lakebed_catalog::{Catalog, Precondition};
use lakebed_kv::{FjallConfig, FjallKv, Kv};
use support::forgetful::ForgetfulKv;
use support::interrupted::{Interrupted, Meanwhile};
use support::{Lake, branch, draft, path};

/// What an operation asks the engine for at most.
const CALLS: usize = 12;

/// A lake with an object that was staged twice, which another server commits in the middle of what comes next; then its rows
/// go: of this one the first value comes to light.
async fn committed_meanwhile(at: usize) -> Lake {
    let kv = Arc::new(ForgetfulKv::default());
    let first = Lake::over(kv.clone(), 3).await;
    for (at, content) in [("0", "x"), ("a", "old"), ("a", "new")] {
        first.put("main", at, content).await.unwrap();
    }
    // Enough for the sweeper to leave the layer to the engine.
    for n in 0..70 {
        first.put("main", &format!("b{n}"), "y").await.unwrap();
    }
    let other = Lake::again(kv.clone(), first.catalog.blocks().clone(), first.repo.clone(), 4);
    let meanwhile: Meanwhile = Box::pin(async move {
        other.commit("main", "meanwhile").await.unwrap();
        other.catalog.sweep_once().await.unwrap();
    });
    let kv = Arc::new(Interrupted::new(kv, at, meanwhile));
    Lake::again(kv, first.catalog.blocks().clone(), first.repo.clone(), 5)
}

#[tokio::test]
async fn a_read_never_goes_back_to_what_was_written_over() {
    for at in 1..CALLS {
        let lake = committed_meanwhile(at).await;
        assert_eq!(lake.content("main", "a").await.as_deref(), Some("new"), "call {at}");
        let lake = committed_meanwhile(at).await;
        let listed = lake.list("main").await.unwrap();
        assert_eq!(listed.len(), 72, "call {at}");
        assert_eq!(listed[1], ("a".into(), "new".into()), "call {at}");
    }
}

#[tokio::test]
async fn a_condition_is_never_held_against_what_was_written_over() {
    for at in 1..CALLS {
        for (expected, ends_well) in [("old", false), ("new", true)] {
            let lake = committed_meanwhile(at).await;
            let condition = Precondition::Matches(expected.to_owned());
            let ticket =
                lake.catalog.begin_write(&lake.repo, &branch("main"), &path("a"), condition, false).await;
            let linked = match ticket {
                Ok(ticket) => lake.catalog.link(ticket, draft("third")).await.map(drop),
                Err(error) => Err(error),
            };
            assert_eq!(linked.is_ok(), ends_well, "call {at}, {expected}: {linked:?}");
        }
    }
}

/// Layers that take several steps to sweep, on the embedded engine as the server opens it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_of_many_objects_on_the_embedded_engine() {
    const OBJECTS: usize = 1500;
    let root = tempfile::tempdir().unwrap();
    let open = || {
        let config = FjallConfig {
            guarded: Some(Catalog::GUARDED),
            // So that it flushes and compacts all the time.
            memtable_bytes: 32 << 10,
            ..FjallConfig::default()
        };
        Arc::new(FjallKv::open(root.path(), config).unwrap())
    };
    let kv = open();
    let mut lake = Lake::over(kv.clone(), 3).await;
    lake.create_branch("kept", "main").await.unwrap();
    for n in 0..OBJECTS {
        lake.put("kept", &format!("{n:04}"), "staged").await.unwrap();
    }
    for round in 0..3 {
        for n in 0..OBJECTS {
            lake.put("main", &format!("{n:04}"), &format!("{round}")).await.unwrap();
        }
        lake.commit("main", "all").await.unwrap();
        lake.catalog.sweep_once().await.unwrap();
        assert_eq!(lake.uncommitted("main").await.unwrap(), []);
        assert_eq!(lake.content("main", "0777").await, Some(round.to_string()));
    }
    kv.close().await.unwrap();
    let blocks = lake.catalog.blocks().clone();
    drop((lake, kv));
    lake = Lake::again(open(), blocks, "lake".parse().unwrap(), 4);
    let (main, kept) = (lake.list("main").await.unwrap(), lake.list("kept").await.unwrap());
    assert!(main.len() == OBJECTS && main.iter().all(|(_, content)| content == "2"));
    assert!(kept.len() == OBJECTS && kept.iter().all(|(_, content)| content == "staged"));
}
