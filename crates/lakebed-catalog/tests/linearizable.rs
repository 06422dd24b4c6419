//! Many clients on the same branches and paths: what each was told is explained by a sequential model of the catalog.
//!
//! The schedules are those of the `simulation`: random turns around every call of the engine, outcomes that are unknown,
//! pauses, folds, and crashes between any two steps, all replayed from a seed.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests say what they expect by panicking

mod support;

use std::sync::Arc;

use lakebed_catalog::{CatalogError, EntryDraft, ErrorKind, MergeStrategy, Precondition, ResetTarget};
use lakebed_core::{Entropy, SeededEntropy};
use parking_lot::Mutex;
use support::naive::Contents;
use support::sequential::{Expected, Op, Record, Seen, explains};
use support::{Lake, Scheduled, branch, draft, expr, narrow, path};

const BRANCHES: [&str; 3] = ["main", "dev", "tmp"];
const PATHS: [&str; 2] = ["a", "b/c"];

/// What was called and told, in the order of the calls.
#[derive(Default)]
struct Log {
    now: u64,
    records: Vec<Record>,
}

impl Log {
    fn tick(&mut self) -> u64 {
        self.now += 1;
        self.now
    }

    fn called(&mut self, op: Op) -> usize {
        let called = self.tick();
        self.records.push(Record { op, called, ended: u64::MAX, seen: None });
        self.records.len() - 1
    }

    fn ended(&mut self, at: usize, seen: Option<Seen>) {
        self.records[at].ended = self.tick();
        self.records[at].seen = seen;
    }

    /// Nothing that is still running goes on.
    fn crash(&mut self) {
        let now = self.tick();
        for record in self.records.iter_mut().filter(|record| record.ended == u64::MAX) {
            record.ended = now;
        }
    }
}

fn any_op(entropy: &SeededEntropy, content: String) -> Op {
    let pick = |n: u64| (entropy.next_u64() >> 8) % n;
    let on = BRANCHES[[0, 0, 0, 1, 1, 2][pick(6) as usize]];
    let at = PATHS[pick(2) as usize];
    match pick(16) {
        0..=2 => Op::Put { on, at, content, expected: Expected::Anything },
        3 => Op::Put { on, at, content, expected: Expected::Absent },
        4 => {
            // One of the first contents: it may still be there.
            let before = format!("{}.{}", pick(4), pick(3));
            Op::Put { on, at, content, expected: Expected::Is(before) }
        }
        5 => Op::Delete { on, at },
        6..=7 => Op::Get { on, at },
        8 => Op::Head { on },
        9..=10 => Op::Commit { on },
        11..=12 => {
            let (source, into) = [("dev", "main"), ("main", "dev"), ("tmp", "main")][pick(3) as usize];
            let strategies = [MergeStrategy::None, MergeStrategy::SourceWins, MergeStrategy::DestinationWins];
            Op::Merge { source, into, strategy: strategies[pick(3) as usize] }
        }
        13 => Op::Reset { on },
        14 => Op::Create { name: "tmp", source: BRANCHES[pick(2) as usize] },
        _ => Op::Drop { name: "tmp" },
    }
}

async fn put(
    lake: &Lake,
    on: &str,
    at: &str,
    content: &str,
    expected: &Expected,
) -> Result<(), CatalogError> {
    let precondition = match expected {
        Expected::Anything => Precondition::None,
        Expected::Absent => Precondition::Absent,
        Expected::Is(content) => Precondition::Matches(content.clone()),
    };
    let ticket = lake.catalog.begin_write(&lake.repo, &branch(on), &path(at), precondition, false).await?;
    let draft: EntryDraft = draft(content);
    lake.catalog.link(ticket, draft).await.map(drop)
}

async fn contents(lake: &Lake, at: &str) -> Result<Seen, CatalogError> {
    let listed: Contents = lake.list(at).await?.into_iter().collect();
    Ok(Seen::Contents(listed))
}

async fn perform(lake: &Lake, op: &Op) -> Result<Seen, CatalogError> {
    match op {
        Op::Put { on, at, content, expected } => {
            put(lake, on, at, content, expected).await?;
        }
        Op::Delete { on, at } => lake.delete(on, at).await?,
        Op::Get { on, at } => {
            let entry = lake.catalog.stat(&lake.repo, &expr(on), &path(at)).await;
            return match entry {
                Ok(entry) => Ok(Seen::Value(Some(entry.view().unwrap().checksum.to_owned()))),
                Err(error) if error.kind() == ErrorKind::ObjectNotFound => Ok(Seen::Value(None)),
                Err(error) => Err(error),
            };
        }
        Op::Head { on } => return contents(lake, &format!("{on}@")).await,
        Op::Commit { on } => {
            let commit = lake.commit(on, "m").await?;
            return contents(lake, &commit.id.to_hex()).await;
        }
        Op::Merge { source, into, strategy } => {
            let merged = lake.merge(source, into, *strategy).await?;
            return contents(lake, &merged.reference.to_hex()).await;
        }
        Op::Reset { on } => {
            lake.catalog.reset_branch(&lake.repo, &branch(on), ResetTarget::All, false).await?;
        }
        Op::Create { name, source } => lake.create_branch(name, source).await?,
        Op::Drop { name } => lake.catalog.delete_branch(&lake.repo, &branch(name), false).await?,
    }
    Ok(Seen::Done)
}

fn seen(op: &Op, result: Result<Seen, CatalogError>) -> Option<Seen> {
    let error = match result {
        Ok(seen) => return Some(seen),
        Err(error) => error,
    };
    Some(match error.kind() {
        ErrorKind::Busy | ErrorKind::OutcomeUnknown => return None,
        ErrorKind::BranchNotFound | ErrorKind::RefNotFound => Seen::NotFound,
        ErrorKind::AlreadyExists => Seen::Exists,
        // S3 answers a missing object so, when a certain one is asked for.
        ErrorKind::PreconditionFailed | ErrorKind::ObjectNotFound => Seen::PreconditionFailed,
        ErrorKind::NoChanges => Seen::NoChanges,
        ErrorKind::MergeConflict => Seen::Conflict,
        ErrorKind::Dirty => Seen::Dirty,
        _ => panic!("{op:?}: {error}"),
    })
}

async fn call(lake: &Lake, log: &Mutex<Log>, op: Op) {
    let at = log.lock().called(op.clone());
    let seen = seen(&op, perform(lake, &op).await);
    log.lock().ended(at, seen);
}

async fn client(lake: Arc<Lake>, me: u64, operations: usize, seed: u64, log: Arc<Mutex<Log>>) {
    let entropy = SeededEntropy::new(seed);
    for n in 0..operations {
        let op = any_op(&entropy, format!("{me}.{n}"));
        call(&lake, &log, op).await;
        for _ in 0..entropy.next_u64() % 8 {
            tokio::task::yield_now().await;
        }
    }
}

async fn background(lake: Arc<Lake>) {
    for round in 0..6 {
        match lake.catalog.tidy(&lake.repo, &branch(BRANCHES[round % 3])).await {
            Err(error)
                if !matches!(
                    error.kind(),
                    ErrorKind::Busy | ErrorKind::OutcomeUnknown | ErrorKind::BranchNotFound
                ) =>
            {
                panic!("{error}")
            }
            _ => lake.catalog.sweep_once().await.unwrap(),
        }
    }
}

async fn history(seed: u64) -> Vec<Record> {
    let entropy = SeededEntropy::new(seed);
    let kv = Arc::new(Scheduled::new(narrow::of_seed(seed), seed ^ 1));
    let first = Lake::over(kv.clone(), seed).await;
    first.create_branch("dev", "main").await.unwrap();
    let (blocks, repo) = (first.catalog.blocks().clone(), first.repo.clone());
    drop(first);
    let Ok(kv) = Arc::try_unwrap(kv) else { panic!("the first catalog is gone") };
    let unknown_every = [0, 0, 20, 7][(entropy.next_u64() % 4) as usize];
    let pause_every = [0, 0, 12][(entropy.next_u64() % 3) as usize];
    let kv = Arc::new(Scheduled { unknown_every, pause_every, ..kv });
    let log = Arc::new(Mutex::new(Log::default()));
    let lives = 1 + entropy.next_u64() % 2;
    // Two servers at once in every other life: what one has cached, the other changes.
    for life in 0..lives {
        let servers = 1 + entropy.next_u64() % 2;
        let lakes: Vec<Arc<Lake>> = (0..servers)
            .map(|server| {
                let seed = seed ^ (2 * life + server + 2);
                Arc::new(Lake::again(kv.clone(), blocks.clone(), repo.clone(), seed))
            })
            .collect();
        let mut clients = tokio::task::JoinSet::new();
        for me in 0..4 {
            let lake = lakes[(me % servers) as usize].clone();
            let operations = if lives == 1 { 6 } else { 4 };
            clients.spawn(client(lake, 4 * life + me, operations, entropy.next_u64(), log.clone()));
        }
        clients.spawn(background(lakes[0].clone()));
        if life + 1 < lives {
            for _ in 0..entropy.next_u64() % 300 {
                tokio::task::yield_now().await;
            }
            clients.abort_all();
            while let Some(done) = clients.join_next().await {
                if let Err(error) = done {
                    assert!(error.is_cancelled(), "{error}");
                }
            }
            log.lock().crash();
        }
        while let Some(done) = clients.join_next().await {
            done.unwrap();
        }
    }
    // What is there in the end is seen by the last server of all.
    let lake = Lake::again(kv, blocks, repo, seed);
    for on in BRANCHES {
        call(&lake, &log, Op::Head { on }).await;
        for at in PATHS {
            call(&lake, &log, Op::Get { on, at }).await;
        }
    }
    let log = log.lock();
    log.records.clone()
}

fn run(seeds: std::ops::Range<u64>) {
    for seed in seeds {
        let runtime = support::runtime();
        let records =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| runtime.block_on(history(seed))));
        let Ok(records) = records else {
            panic!("seed {seed} fails; replay it with run({seed}..{})", seed + 1)
        };
        if !explains(&["main", "dev"], &records) {
            for record in &records {
                eprintln!("{:>4}..{:<4} {:?} -> {:?}", record.called, record.ended, record.op, record.seen);
            }
            panic!("seed {seed}: no order explains it; replay it with run({seed}..{})", seed + 1);
        }
    }
}

#[test]
fn what_clients_see_is_explained_by_a_sequential_model() {
    run(0..500);
}

/// The long form: `LAKEBED_HISTORIES=10000 cargo test -p lakebed-catalog --test linearizable -- --ignored`.
#[test]
#[ignore = "the long form, part of `make test-all`"]
fn what_clients_see_is_explained_by_a_sequential_model_long() {
    let histories = std::env::var("LAKEBED_HISTORIES").ok().and_then(|n| n.parse().ok()).unwrap_or(10_000);
    run(1_000_000..1_000_000 + histories);
}

/// The search finds what is wrong: each of these is a history that must not be.
#[test]
fn the_model_does_not_explain_everything() {
    let put = |at, content: &str| Op::Put {
        on: "main",
        at,
        content: content.to_owned(),
        expected: Expected::Anything,
    };
    let get = Op::Get { on: "main", at: "a" };
    let head = Op::Head { on: "main" };
    let commit = Op::Commit { on: "main" };
    let value = |content: &str| Seen::Value(Some(content.to_owned()));
    let contents = |content: &str| Seen::Contents([("a".to_owned(), content.to_owned())].into());
    let sequence = |steps: &[(&Op, Seen)]| -> Vec<Record> {
        let record = |(at, (op, seen)): (usize, &(&Op, Seen))| Record {
            op: (*op).clone(),
            called: 2 * at as u64,
            ended: 2 * at as u64 + 1,
            seen: Some(seen.clone()),
        };
        steps.iter().enumerate().map(record).collect()
    };
    let (one, two) = (put("a", "1"), put("a", "2"));
    let good =
        sequence(&[(&one, Seen::Done), (&get, value("1")), (&commit, contents("1")), (&head, contents("1"))]);
    assert!(explains(&["main"], &good));
    for bad in [
        // A lost write, one that comes back, a commit that is not seen, a commit of something else.
        sequence(&[(&one, Seen::Done), (&get, Seen::Value(None))]),
        sequence(&[(&one, Seen::Done), (&two, Seen::Done), (&get, value("1"))]),
        sequence(&[(&one, Seen::Done), (&commit, contents("1")), (&head, Seen::Contents(Contents::new()))]),
        sequence(&[(&one, Seen::Done), (&two, Seen::Done), (&commit, contents("1"))]),
        sequence(&[(&one, Seen::Done), (&commit, contents("1")), (&commit, contents("1"))]),
        sequence(&[(&commit, Seen::NotFound)]),
    ] {
        assert!(!explains(&["main"], &bad), "{bad:?}");
    }
    // A commit that runs while a second value is written may have either, and must keep the other staged.
    let overlapping = |seen: Seen, after: Seen| {
        let mut all = sequence(&[(&one, Seen::Done), (&commit, seen), (&two, Seen::Done), (&get, after)]);
        all[1].ended = 5;
        all
    };
    assert!(explains(&["main"], &overlapping(contents("1"), value("2"))));
    assert!(explains(&["main"], &overlapping(contents("2"), value("2"))));
    assert!(!explains(&["main"], &overlapping(contents("1"), value("1"))));
}
