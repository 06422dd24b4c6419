//! Many clients on shared branches under random schedules, unknown outcomes and crashes, replayable from a seed.
//!
//! One thread runs all clients; a wrapped engine gives the turn away a random number of times around every call and
//! answers some transactions with an unknown outcome, whether they happened or not. A crash drops every client in the
//! middle and goes on with a fresh catalog over the same engine.
//!
//! What must hold (`versioning-api` §17, `protocol.md`, What is promised): each path belongs to one writer and its
//! values are numbered, so "lost" and "came back" show as numbers that go backwards.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests say what they expect by panicking

mod support;

use std::collections::BTreeMap;
use std::sync::Arc;

use lakebed_catalog::{ErrorKind, LogRequest, MergeStrategy};
use lakebed_core::{Entropy, SeededEntropy};
use parking_lot::Mutex;
use support::{Lake, Scheduled, branch, expr, narrow};

/// What is known of one path: every value it was ever asked to have (`None` = deleted), and up to which number the
/// writes were acknowledged. Unacknowledged ones may or may not have happened.
#[derive(Clone, Debug, Default)]
struct PathHistory {
    values: Vec<Option<String>>,
    acknowledged: usize,
}

type Histories = Arc<Mutex<BTreeMap<(&'static str, String), PathHistory>>>;

/// Which numbers an observed value can stand for, at least `from`; the value before any write is number 0, absent.
fn numbers(history: &PathHistory, seen: Option<&str>, from: usize) -> Vec<usize> {
    let value = |n: usize| if n == 0 { None } else { history.values[n - 1].as_deref() };
    (from..=history.values.len()).filter(|n| value(*n) == seen).collect()
}

const WRITERS: usize = 3;
const BRANCHES: [&str; 2] = ["main", "dev"];

async fn writer(lake: Arc<Lake>, on: &'static str, me: usize, seed: u64, histories: Histories) {
    let entropy = SeededEntropy::new(seed);
    for _ in 0..8 {
        let luck = entropy.next_u64();
        let at = format!("{on}-{me}/{}", luck % 3);
        let key = (on, at.clone());
        let delete = luck % 10 < 3;
        let number = {
            let mut all = histories.lock();
            let history = all.entry(key.clone()).or_default();
            let number = history.values.len() + 1;
            history.values.push(if delete { None } else { Some(format!("{at}#{number}")) });
            number
        };
        let result = if delete {
            lake.delete(on, &at).await
        } else {
            lake.put(on, &at, &format!("{at}#{number}")).await
        };
        match result {
            Ok(()) => {
                histories.lock().get_mut(&key).unwrap().acknowledged = number;
                let seen = lake.content(on, &at).await;
                let history = histories.lock()[&key].clone();
                let fits = numbers(&history, seen.as_deref(), number);
                assert!(!fits.is_empty(), "{on} {at}: acknowledged {number}, then read {seen:?}");
            }
            Err(error) => {
                assert!(matches!(error.kind(), ErrorKind::Busy | ErrorKind::OutcomeUnknown), "{error}");
            }
        }
    }
}

async fn committer(lake: Arc<Lake>, on: &'static str, histories: Histories) {
    for _ in 0..6 {
        let before = histories.lock().clone();
        match lake.commit(on, "round").await {
            Ok(commit) => {
                // Everything acknowledged before the call is in it.
                let contents: BTreeMap<String, String> =
                    lake.list(&commit.id.to_hex()).await.unwrap().into_iter().collect();
                let now = histories.lock().clone();
                for ((branch, at), old) in before.iter().filter(|((branch, _), _)| *branch == on) {
                    let history = &now[&(*branch, at.clone())];
                    let seen = contents.get(at).map(String::as_str);
                    assert!(
                        !numbers(history, seen, old.acknowledged).is_empty(),
                        "commit {}: {at} was acknowledged at {}, the commit has {seen:?}",
                        commit.id,
                        old.acknowledged
                    );
                }
            }
            Err(error) => assert!(
                matches!(error.kind(), ErrorKind::NoChanges | ErrorKind::Busy | ErrorKind::OutcomeUnknown),
                "{error}"
            ),
        }
        tokio::task::yield_now().await;
    }
}

async fn merger(lake: Arc<Lake>) {
    for _ in 0..5 {
        if let Err(error) = lake.merge("dev", "main", MergeStrategy::None).await {
            let expected = matches!(
                error.kind(),
                ErrorKind::NoChanges | ErrorKind::Dirty | ErrorKind::Busy | ErrorKind::OutcomeUnknown
            );
            assert!(expected, "{error}");
        }
        tokio::task::yield_now().await;
    }
}

/// Seals and folds at any moment, as the background does with branches that have many deletions.
async fn tidier(lake: Arc<Lake>) {
    for round in 0..12 {
        let on = BRANCHES[round % 2];
        if let Err(error) = lake.catalog.tidy(&lake.repo, &branch(on)).await {
            assert!(matches!(error.kind(), ErrorKind::Busy | ErrorKind::OutcomeUnknown), "{error}");
        }
        // At once, so that whoever still reads the folded layers finds them gone.
        lake.catalog.sweep_once().await.unwrap();
    }
}

async fn sweeper(lake: Arc<Lake>) {
    for _ in 0..6 {
        lake.catalog.sweep_once().await.unwrap();
        tokio::task::yield_now().await;
    }
}

/// Along the first parents of a branch no path's number goes backwards: nothing lost comes back.
async fn check_no_return(lake: &Lake, on: &'static str, histories: &Histories) {
    let request = LogRequest { amount: 1000, first_parent: true, ..LogRequest::default() };
    let log = lake.catalog.log(&lake.repo, &expr(on), &request).await.unwrap();
    let histories = histories.lock().clone();
    let mut least: BTreeMap<String, usize> = BTreeMap::new();
    for commit in log.items.iter().rev() {
        let contents: BTreeMap<String, String> =
            lake.list(&commit.id.to_hex()).await.unwrap().into_iter().collect();
        for ((_, at), history) in &histories {
            let from = least.get(at).copied().unwrap_or(0);
            let seen = contents.get(at).map(String::as_str);
            let fits = numbers(history, seen, from);
            let smallest = fits.first().copied();
            assert!(smallest.is_some(), "{on}: {at} went back behind {from}: {seen:?} in {}", commit.id);
            least.insert(at.clone(), smallest.unwrap_or(from));
        }
    }
}

async fn check_working_state(lake: &Lake, histories: &Histories) {
    let histories = histories.lock().clone();
    for on in BRANCHES {
        let contents: BTreeMap<String, String> = lake.list(on).await.unwrap().into_iter().collect();
        for ((branch, at), history) in histories.iter().filter(|((branch, _), _)| *branch == on) {
            let seen = contents.get(at).map(String::as_str);
            assert!(
                !numbers(history, seen, history.acknowledged).is_empty(),
                "{branch}: {at} acknowledged at {}, now {seen:?}",
                history.acknowledged
            );
        }
    }
}

async fn history(seed: u64) {
    let entropy = SeededEntropy::new(seed);
    let unknown_every = [0, 0, 20, 7][(entropy.next_u64() % 4) as usize];
    let kv = Arc::new(Scheduled::new(narrow::of_seed(seed), seed ^ 1));
    let first = Lake::over(kv.clone(), seed).await;
    first.create_branch("dev", "main").await.unwrap();
    let blocks = first.catalog.blocks().clone();
    let repo = first.repo.clone();
    drop(first);
    let Ok(kv) = Arc::try_unwrap(kv) else { panic!("the first catalog is gone") };
    // In some histories calls take so long that a fold and a sweep come in between.
    let pause_every = [0, 0, 12][(entropy.next_u64() % 3) as usize];
    let kv = Arc::new(Scheduled { unknown_every, pause_every, ..kv });
    let histories: Histories = Arc::default();
    let lives = 1 + entropy.next_u64() % 3;
    for life in 0..lives {
        // Two servers over one engine: what one server's own queue keeps apart must hold between servers, too.
        let server =
            |n: u64| Arc::new(Lake::again(kv.clone(), blocks.clone(), repo.clone(), seed ^ (2 * life + n)));
        let (lake, other) = (server(2), server(3));
        let mut clients = tokio::task::JoinSet::new();
        for on in BRANCHES {
            for me in 0..WRITERS {
                let lake = if me == 0 { &other } else { &lake };
                clients.spawn(writer(lake.clone(), on, me, entropy.next_u64(), histories.clone()));
            }
            clients.spawn(committer(lake.clone(), on, histories.clone()));
        }
        clients.spawn(committer(other.clone(), "main", histories.clone()));
        clients.spawn(merger(other.clone()));
        clients.spawn(sweeper(lake.clone()));
        clients.spawn(tidier(lake.clone()));
        // The last life ends by itself, the others in a crash after a random number of turns.
        if life + 1 < lives {
            for _ in 0..entropy.next_u64() % 600 {
                tokio::task::yield_now().await;
                while let Some(done) = clients.try_join_next() {
                    done.unwrap();
                }
            }
            clients.abort_all();
            while let Some(done) = clients.join_next().await {
                if let Err(error) = done {
                    assert!(error.is_cancelled(), "{error}");
                }
            }
        }
        while let Some(done) = clients.join_next().await {
            done.unwrap();
        }
        check_working_state(&lake, &histories).await;
    }
    let lake = Lake::again(kv, blocks, repo, seed);
    for on in BRANCHES {
        check_no_return(&lake, on, &histories).await;
    }
}

fn run(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let runtime = support::runtime();
        let outcome =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.block_on(history(seed))));
        assert!(outcome.is_ok(), "seed {seed} fails; replay it with run({seed}..{})", seed + 1);
    }
}

#[test]
fn no_acknowledged_write_is_lost_or_comes_back() {
    run(0..300);
}

/// The long form: `LAKEBED_HISTORIES=10000 cargo test -p lakebed-catalog --test simulation -- --ignored`.
#[test]
#[ignore = "the long form, part of `make test-all`"]
fn no_acknowledged_write_is_lost_or_comes_back_long() {
    let histories = std::env::var("LAKEBED_HISTORIES").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000);
    run(1_000_000..1_000_000 + histories);
}
