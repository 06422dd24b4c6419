//! Several servers that move one branch: who is slow or far from the database is not overtaken for ever, and a server that
//! dies when it is its turn holds nobody up for long. On a paused clock: pauses take no time, and their order is always the same.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests say what they expect by panicking

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use lakebed_catalog::{CatalogError, Commit, CommitRequest};
use lakebed_kv::{Key, KeyRange, Kv, KvError, Limits, MemKv, Outcome, Row, Transaction, Versioned};
use support::{Lake, branch};
use tokio::task::JoinHandle;

/// An engine at some distance.
struct Far {
    inner: Arc<MemKv>,
    distance: Duration,
}

impl Far {
    async fn travel(&self) {
        tokio::time::sleep(self.distance).await;
    }
}

#[async_trait]
impl Kv for Far {
    async fn get(&self, key: &[u8]) -> Result<Option<Versioned>, KvError> {
        self.travel().await;
        self.inner.get(key).await
    }
    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, KvError> {
        self.travel().await;
        self.inner.get_many(keys).await
    }
    async fn scan(&self, range: &KeyRange, limit: usize) -> Result<Vec<Row>, KvError> {
        self.travel().await;
        self.inner.scan(range, limit).await
    }
    async fn transact(&self, transaction: Transaction) -> Result<Outcome, KvError> {
        self.travel().await;
        self.inner.transact(transaction).await
    }
    fn limits(&self) -> Limits {
        self.inner.limits()
    }
    async fn close(&self) -> Result<(), KvError> {
        self.inner.close().await
    }
}

/// Servers at these distances from one engine, in milliseconds. Their clocks go with the paused one.
async fn servers(distances: &[u64]) -> (Arc<MemKv>, Vec<Arc<Lake>>) {
    let kv = Arc::new(MemKv::new());
    let first = Lake::over(kv.clone(), 1).await;
    let at = |(n, distance): (usize, &u64)| {
        let far = Arc::new(Far { inner: kv.clone(), distance: Duration::from_millis(*distance) });
        Arc::new(Lake::again(far, first.catalog.blocks().clone(), first.repo.clone(), n as u64 + 2))
    };
    let lakes: Vec<_> = distances.iter().enumerate().map(at).collect();
    let clocks: Vec<_> = lakes.iter().map(|lake| lake.clock.clone()).collect();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(Duration::from_millis(1)).await;
            for clock in &clocks {
                clock.advance_millis(1);
            }
        }
    });
    (kv, lakes)
}

/// A commit of nothing: it can only be overtaken.
async fn commit(lake: &Lake, message: String) -> Result<Commit, CatalogError> {
    let request = CommitRequest { message, allow_empty: true, ..CommitRequest::default() };
    lake.catalog.commit(&lake.repo, &branch("main"), request).await
}

/// Commits until told to stop; how many commits it made.
async fn commits_until(lake: Arc<Lake>, me: usize, stop: Arc<AtomicBool>) -> usize {
    let mut made = 0;
    while !stop.load(Ordering::Relaxed) {
        commit(&lake, format!("{me}/{made}")).await.unwrap();
        made += 1;
    }
    made
}

/// Whether some operation has a place in the row of main's turns.
async fn somebody_waits(kv: &MemKv) -> bool {
    !kv.scan(&KeyRange::prefix(b"T"), 1).await.unwrap().is_empty()
}

#[tokio::test(start_paused = true)]
async fn who_is_far_from_the_database_gets_a_turn() {
    let (kv, lakes) = servers(&[1, 1, 60, 80]).await;
    let stop = Arc::new(AtomicBool::new(false));
    let near: Vec<_> =
        (0..2).map(|me| tokio::spawn(commits_until(lakes[me].clone(), me, stop.clone()))).collect();
    let far = |me: usize| {
        let lake = lakes[me].clone();
        tokio::spawn(async move {
            for n in 0..5 {
                commit(&lake, format!("far {me}/{n}")).await.unwrap();
            }
        })
    };
    for worker in [far(2), far(3)] {
        worker.await.unwrap();
    }
    stop.store(true, Ordering::Relaxed);
    let mut made = 10;
    for worker in near {
        let own = worker.await.unwrap();
        assert!(own > 10, "the near ones go on meanwhile");
        made += own;
    }
    let log = lakes[0].log("main").await;
    assert_eq!(log.len(), made + 1, "each commit once, and the first one of the repository");
    assert!(!somebody_waits(&kv).await);
}

/// A near server whose last commit is under way, and a far one whose commit took a place and was given up.
async fn given_up_in_its_turn() -> (Arc<MemKv>, Vec<Arc<Lake>>, JoinHandle<usize>) {
    let (kv, lakes) = servers(&[1, 60]).await;
    let stop = Arc::new(AtomicBool::new(false));
    let near = tokio::spawn(commits_until(lakes[0].clone(), 0, stop.clone()));
    let far = lakes[1].clone();
    let given_up = tokio::spawn(async move { commit(&far, "never".to_owned()).await });
    while !somebody_waits(&kv).await {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    given_up.abort();
    assert!(given_up.await.unwrap_err().is_cancelled());
    stop.store(true, Ordering::Relaxed);
    (kv, lakes, near)
}

#[tokio::test(start_paused = true)]
async fn a_server_that_dies_in_its_turn_holds_nobody_up_for_long() {
    let (kv, lakes, near) = given_up_in_its_turn().await;
    let before = tokio::time::Instant::now();
    near.await.unwrap();
    commit(&lakes[0], "after the death".to_owned()).await.unwrap();
    assert!(before.elapsed() < Duration::from_mins(1));
    assert_eq!(lakes[0].log("main").await[0], "after the death");
    assert!(!somebody_waits(&kv).await, "the dead one's place was taken away");
}

#[tokio::test(start_paused = true)]
async fn who_fails_in_its_turn_leaves_it_to_the_others() {
    let (kv, lakes, near) = given_up_in_its_turn().await;
    let before = tokio::time::Instant::now();
    // The client hung up: the server lives on.
    lakes[1].catalog.sweep_once().await.unwrap();
    near.await.unwrap();
    assert!(before.elapsed() < Duration::from_secs(1), "nobody waited for the end of the turn");
    // One that had looked at the line before leaves what is left of it to the next.
    commit(&lakes[0], "next".to_owned()).await.unwrap();
    assert!(before.elapsed() < Duration::from_secs(1), "nor does the next");
    assert!(!somebody_waits(&kv).await);
}

/// Servers with many clients each: none is left behind, and whoever has the turn uses it for more than one commit.
#[tokio::test(start_paused = true)]
async fn a_turn_is_used_for_what_waits_on_the_same_server() {
    const CLIENTS: usize = 8;
    let (kv, lakes) = servers(&[1, 1, 1]).await;
    let stop = Arc::new(AtomicBool::new(false));
    let mut clients = Vec::new();
    for (server, lake) in lakes.iter().enumerate() {
        for _ in 0..CLIENTS {
            clients.push((server, tokio::spawn(commits_until(lake.clone(), server, stop.clone()))));
        }
    }
    tokio::time::sleep(Duration::from_secs(5)).await;
    stop.store(true, Ordering::Relaxed);
    let mut made = [0; 3];
    for (server, client) in clients {
        made[server] += client.await.unwrap();
    }
    let log = lakes[0].log("main").await;
    assert_eq!(log.len(), made.iter().sum::<usize>() + 1, "each commit once");
    let (least, most) = (made.iter().min().unwrap(), made.iter().max().unwrap());
    assert!(least * 10 >= most * 9, "{made:?}");
    let server = |message: &String| message.split('/').next().unwrap().to_owned();
    let turns = log.windows(2).filter(|two| server(&two[0]) != server(&two[1])).count();
    assert!(log.len() > 4 * turns, "{} commits in {turns} turns", log.len());
    for lake in &lakes {
        lake.catalog.sweep_once().await.unwrap();
    }
    commit(&lakes[0], "last".to_owned()).await.unwrap();
    assert!(!somebody_waits(&kv).await);
}

/// Clients that hang up while they wait: whatever place they were left goes back.
#[tokio::test(start_paused = true)]
async fn who_hangs_up_while_it_waits_leaves_no_place_behind() {
    for after in 1..60 {
        let (kv, lakes) = servers(&[1, 1]).await;
        let stop = Arc::new(AtomicBool::new(false));
        let busy = tokio::spawn(commits_until(lakes[0].clone(), 0, stop.clone()));
        let waiting: Vec<_> = (0..4)
            .map(|n| {
                let lake = lakes[1].clone();
                tokio::spawn(async move { commit(&lake, format!("waits {n}")).await })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(after)).await;
        for client in waiting.iter().rev() {
            client.abort();
        }
        for client in waiting {
            let _ = client.await;
        }
        lakes[1].catalog.sweep_once().await.unwrap();
        stop.store(true, Ordering::Relaxed);
        let before = tokio::time::Instant::now();
        busy.await.unwrap();
        commit(&lakes[0], "next".to_owned()).await.unwrap();
        assert!(
            before.elapsed() < Duration::from_secs(1),
            "after {after} ms: somebody's turn was waited for"
        );
        assert!(!somebody_waits(&kv).await, "after {after} ms");
    }
}
