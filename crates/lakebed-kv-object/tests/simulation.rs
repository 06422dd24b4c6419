//! A fleet of servers over one store: crashes, sleeps past the lease, lost networks, clean stops, clocks that run unevenly,
//! slow calls, lost answers. What clients were told, by whichever server thought itself active, must be explained by one
//! order.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests say what they expect by panicking

mod fleet;
#[path = "../../lakebed-kv/tests/history/mod.rs"]
mod history;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use fleet::{Far, Link, Uneven, nobody};
use history::{Plan, judge};
use lakebed_blocks::{BlockAddress, BlockStore, MemStore};
use lakebed_core::SeededEntropy;
use lakebed_kv::{Check, Key, KeyRange, Kv, KvError, Limits, Outcome, Row, Transaction, Versioned};
use lakebed_kv_object::{ObjectConfig, ObjectKv};
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};
use tokio::time::Instant;

const PREFIX: &str = "mem://meta/sim";
const LEASE: Duration = Duration::from_secs(2);

fn config(holder: &str) -> ObjectConfig {
    let prefix = BlockAddress::new(PREFIX);
    ObjectConfig {
        lease: LEASE,
        checkpoint_bytes: 400,
        holder: holder.to_owned(),
        ..ObjectConfig::new(prefix)
    }
}

async fn open(link: &Arc<Link>, seed: u64) -> Result<ObjectKv, KvError> {
    let entropy = Arc::new(SeededEntropy::new(seed));
    let holder = config(&format!("server {seed}"));
    ObjectKv::open(&holder, Arc::new(Far(link.clone())), Arc::new(Uneven(link.clone())), entropy, &|_| {})
        .await
}

#[derive(Clone)]
struct Life {
    link: Arc<Link>,
    kv: Arc<ObjectKv>,
}

/// Three servers that start again whenever they end.
struct Fleet {
    store: Arc<MemStore>,
    begun: Instant,
    slots: [Mutex<Option<Life>>; 3],
    links: [Mutex<Option<Arc<Link>>>; 3],
    random: Mutex<SmallRng>,
    lives: AtomicU64,
    reigns: AtomicU64,
    unknown: AtomicU64,
}

impl Fleet {
    fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self {
            store: Arc::new(MemStore::new()),
            begun: Instant::now(),
            slots: Default::default(),
            links: Default::default(),
            random: Mutex::new(SmallRng::seed_from_u64(seed)),
            lives: AtomicU64::new(seed * 1000),
            reigns: AtomicU64::new(0),
            unknown: AtomicU64::new(0),
        })
    }

    fn pick(&self, range: std::ops::Range<u64>) -> u64 {
        self.random.lock().random_range(range)
    }

    async fn slot(self: Arc<Self>, at: usize) {
        loop {
            let seed = self.lives.fetch_add(1, Ordering::SeqCst);
            // A tenth slow to a tenth fast: a quarter on top of the lease is enough for that.
            let link = Link::new(self.store.clone(), seed, self.begun, self.pick(900..1101), true);
            *self.links[at].lock() = Some(link.clone());
            let opened = tokio::select! {
                opened = open(&link, seed) => opened,
                () = link.death() => { self.rest().await; continue }
            };
            // The probe is not repeated by the engine: a start that fails is the supervisor's.
            let Ok(kv) = opened else {
                self.rest().await;
                continue;
            };
            self.reigns.fetch_add(1, Ordering::SeqCst);
            let kv = Arc::new(kv);
            let ended = kv.ended();
            *self.slots[at].lock() = Some(Life { link: link.clone(), kv });
            tokio::select! {
                _ = ended.wait() => {}
                () = link.death() => {}
            }
            // One that was fenced may be asked a little longer.
            self.rest().await;
            *self.slots[at].lock() = None;
        }
    }

    async fn rest(&self) {
        tokio::time::sleep(Duration::from_millis(self.pick(1..500))).await;
    }

    async fn trouble(self: Arc<Self>) {
        loop {
            tokio::time::sleep(Duration::from_millis(self.pick(200..6000))).await;
            let at = self.pick(0..3) as usize;
            let Some(link) = self.links[at].lock().clone() else { continue };
            match self.pick(0..6) {
                0 => link.kill(),
                1 => {
                    let life = self.slots[at].lock().clone();
                    if let Some(life) = life {
                        tokio::spawn(async move { life.kv.close().await });
                    }
                }
                2 | 3 => link.cut_for(Duration::from_millis(self.pick(500..8000))),
                _ => link.sleep_for(Duration::from_millis(self.pick(100..8000))),
            }
        }
    }

    /// Calls a server that thinks itself active, whatever it is worth.
    async fn call<T, F>(
        &self,
        lost: Result<T, KvError>,
        call: impl FnOnce(Arc<ObjectKv>) -> F,
    ) -> Result<T, KvError>
    where
        F: Future<Output = Result<T, KvError>>,
    {
        tokio::time::sleep(Duration::from_millis(self.pick(1..300))).await;
        let first = self.pick(0..3) as usize;
        let life = (0..3).find_map(|n| self.slots[(first + n) % 3].lock().clone());
        let Some(Life { link, kv }) = life else {
            tokio::time::sleep(Duration::from_millis(300)).await;
            return Err(nobody());
        };
        let called = async {
            link.awake().await;
            let answer = call(kv).await;
            link.awake().await;
            answer
        };
        tokio::select! {
            biased;
            () = link.death() => lost,
            answer = called => answer,
        }
    }
}

struct Door(Arc<Fleet>);

#[async_trait]
impl Kv for Door {
    async fn get(&self, key: &[u8]) -> Result<Option<Versioned>, KvError> {
        self.0.call(Err(nobody()), async |kv| kv.get(key).await).await
    }

    async fn get_many(&self, keys: &[Key]) -> Result<Vec<Option<Versioned>>, KvError> {
        self.0.call(Err(nobody()), async |kv| kv.get_many(keys).await).await
    }

    async fn scan(&self, range: &KeyRange, limit: usize) -> Result<Vec<Row>, KvError> {
        self.0.call(Err(nobody()), async |kv| kv.scan(range, limit).await).await
    }

    async fn transact(&self, transaction: Transaction) -> Result<Outcome, KvError> {
        let outcome = self.0.call(Ok(Outcome::Unknown), async |kv| kv.transact(transaction).await).await;
        if matches!(outcome, Ok(Outcome::Unknown)) {
            self.0.unknown.fetch_add(1, Ordering::SeqCst);
        }
        outcome
    }

    fn limits(&self) -> Limits {
        Limits { max_items: 64, max_bytes: 1 << 20, max_key_bytes: 1024, gate_spread: 1 }
    }

    async fn close(&self) -> Result<(), KvError> {
        Ok(())
    }
}

fn virtually<T>(test: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .start_paused(true)
        .build()
        .unwrap()
        .block_on(test)
}

#[derive(Default)]
struct Seen {
    operations: usize,
    unknown: usize,
    reigns: u64,
}

fn one(seed: u64) -> Seen {
    virtually(async {
        let fleet = Fleet::new(seed);
        for at in 0..3 {
            tokio::spawn(fleet.clone().slot(at));
        }
        tokio::spawn(fleet.clone().trouble());
        let engines: [Arc<dyn Kv>; 1] = [Arc::new(Door(fleet.clone()))];
        let mut seen = Seen::default();
        for round in 0..6 {
            let plan = Plan { clients: 5, operations: 20, seed: seed * 10 + round };
            let (operations, unknown) = judge(&engines, &format!("h{round}"), plan).await;
            seen.operations += operations;
            seen.unknown += unknown;
        }
        seen.reigns = fleet.reigns.load(Ordering::SeqCst);
        seen
    })
}

#[test]
fn one_order_explains_what_a_troubled_fleet_says() {
    let seeds = std::env::var("SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(60);
    let first = std::env::var("SEED").ok().and_then(|n| n.parse().ok()).unwrap_or(0);
    let mut all = Seen::default();
    for seed in first..first + seeds {
        let seen = std::panic::catch_unwind(|| one(seed)).unwrap_or_else(|why| {
            eprintln!("seed {seed}");
            std::panic::resume_unwind(why)
        });
        all.operations += seen.operations;
        all.unknown += seen.unknown;
        all.reigns += seen.reigns;
    }
    eprintln!("{} operations, {} of unknown outcome, {} reigns", all.operations, all.unknown, all.reigns);
    if seeds >= 20 {
        assert!(all.operations as u64 > seeds * 150 && all.reigns > seeds * 3 && all.unknown > 20);
    }
}

fn calm(store: &Arc<MemStore>, seed: u64, begun: Instant) -> Arc<Link> {
    Link::new(store.clone(), seed, begun, 1000, false)
}

fn put(key: &'static str, value: &'static str) -> Transaction {
    Transaction::new().put(key, value)
}

#[test]
fn one_that_sleeps_past_its_lease_neither_reads_nor_writes_when_it_wakes() {
    virtually(async {
        let (store, begun) = (Arc::new(MemStore::new()), Instant::now());
        let (one, two) = (calm(&store, 1, begun), calm(&store, 2, begun));
        let old = open(&one, 1).await.unwrap();
        old.transact(put("k", "old")).await.unwrap();
        one.sleep_for(Duration::from_mins(1));
        let slept = Instant::now();
        let new = open(&two, 2).await.unwrap();
        let took = slept.elapsed();
        assert!(took > LEASE && took < LEASE * 2, "{took:?}");
        assert_eq!(new.get(b"k").await.unwrap().unwrap().value, "old");
        new.transact(put("k", "new")).await.unwrap();
        // Meanwhile a checkpoint covers the seal, and everything else before it is cleared away.
        for n in 0..200u32 {
            new.transact(Transaction::new().put(n.to_string(), vec![0; 100])).await.unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        one.awake().await;
        // It does not know yet; it may say nothing, but never the old value.
        let read = old.get(b"k").await;
        assert!(matches!(read, Err(KvError::Stopped(_) | KvError::Engine(_))), "{read:?}");
        let written = old.transact(put("k", "late")).await;
        assert!(matches!(written, Err(KvError::Stopped(_))), "{written:?}");
        assert!(old.ended().wait().await.contains("server 2"));
        assert_eq!(new.get(b"k").await.unwrap().unwrap().value, "new");
    });
}

#[test]
fn after_a_clean_stop_the_next_takes_over_at_once() {
    virtually(async {
        let (store, begun) = (Arc::new(MemStore::new()), Instant::now());
        let (one, two) = (calm(&store, 1, begun), calm(&store, 2, begun));
        let old = open(&one, 1).await.unwrap();
        old.transact(put("k", "old")).await.unwrap();
        let waited = Arc::new(AtomicBool::new(false));
        let next = {
            let waited = waited.clone();
            tokio::spawn(async move {
                let entropy = Arc::new(SeededEntropy::new(2));
                let told = move |waiting: lakebed_kv_object::Waiting| {
                    assert!(waiting.to_string().contains("server 1"), "{waiting}");
                    waited.store(true, Ordering::SeqCst);
                };
                ObjectKv::open(
                    &config("server 2"),
                    Arc::new(Far(two.clone())),
                    Arc::new(Uneven(two)),
                    entropy,
                    &told,
                )
                .await
            })
        };
        // As long as it lives, it stays.
        tokio::time::sleep(LEASE * 20).await;
        assert!(waited.load(Ordering::SeqCst) && !next.is_finished());
        old.transact(put("k", "last")).await.unwrap();
        let stopped = Instant::now();
        old.close().await.unwrap();
        let new = next.await.unwrap().unwrap();
        assert!(stopped.elapsed() < LEASE / 2, "{:?}", stopped.elapsed());
        assert_eq!(new.get(b"k").await.unwrap().unwrap().value, "last");
    });
}

/// The next server may take over as soon as the last word is in the log, be its answer ever so late: whoever says it reads
/// no more from before on.
#[test]
fn who_says_its_last_word_reads_no_more() {
    virtually(async {
        let (store, begun) = (Arc::new(MemStore::new()), Instant::now());
        let (one, two) = (calm(&store, 1, begun), calm(&store, 2, begun));
        let old = Arc::new(open(&one, 1).await.unwrap());
        old.transact(put("k", "old")).await.unwrap();
        let answer = Arc::new(tokio::sync::Notify::new());
        *one.late.lock() = Some(answer.clone());
        let closing = tokio::spawn({
            let old = old.clone();
            async move { old.close().await }
        });
        one.holding.notified().await;
        let new = open(&two, 2).await.unwrap();
        new.transact(put("k", "new")).await.unwrap();
        let read = old.get(b"k").await;
        assert!(matches!(read, Err(KvError::Stopped(_))), "{read:?}");
        answer.notify_one();
        closing.await.unwrap().unwrap();
    });
}

/// A candidate that sleeps between looking and sealing, so long that the name of its seal has been used, covered by a
/// checkpoint and deleted: its seal finds a free name, and must not count.
#[test]
fn a_seal_that_comes_late_counts_for_nothing() {
    virtually(async {
        let (store, begun) = (Arc::new(MemStore::new()), Instant::now());
        let (one, two, three) = (calm(&store, 1, begun), calm(&store, 2, begun), calm(&store, 3, begun));
        let first = open(&one, 1).await.unwrap();
        first.transact(put("k", "1")).await.unwrap();
        one.sleep_for(LEASE * 4);
        // The candidate gives up waiting and is held right before its seal is written: its second put, after the probe's.
        let release = Arc::new(tokio::sync::Notify::new());
        let candidate = tokio::spawn({
            let two = two.clone();
            async move { open(&two, 2).await }
        });
        tokio::time::sleep(LEASE / 2).await;
        *two.held.lock() = Some(release.clone());
        two.holding.notified().await;
        // The active server wakes up first: nobody has sealed, so its lease comes back, and it goes on for long.
        one.awake().await;
        for n in 0..400u32 {
            first
                .transact(Transaction::new().put("k", n.to_string()).put(format!("filler {n}"), vec![0; 100]))
                .await
                .unwrap();
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        release.notify_one();
        tokio::time::sleep(LEASE * 3).await;
        assert!(!candidate.is_finished(), "it stands by again");
        let written =
            first.transact(Transaction::new().check("k", Check::Exists).put("k", "still mine")).await;
        assert!(matches!(written, Ok(Outcome::Done(_))), "{written:?}");
        // Nor does the late seal deceive anybody else, be it before or after it was cleared away.
        let third = tokio::spawn(async move { open(&three, 3).await });
        tokio::time::sleep(LEASE * 2).await;
        assert!(!third.is_finished());
        first.close().await.unwrap();
        let next = tokio::select! { kv = candidate => kv, kv = third => kv }.unwrap().unwrap();
        assert_eq!(next.get(b"k").await.unwrap().unwrap().value, "still mine");
    });
}

/// One object for each reign stays, whatever happened; all else is of the present.
#[test]
fn what_crashed_servers_left_is_cleared_away() {
    virtually(async {
        let (store, begun) = (Arc::new(MemStore::new()), Instant::now());
        for life in 0..12 {
            let link = calm(&store, life, begun);
            let kv = open(&link, life).await.unwrap();
            for n in 0..60u32 {
                kv.transact(Transaction::new().put(n.to_string(), vec![life as u8; 200])).await.unwrap();
            }
            link.kill();
        }
        let link = calm(&store, 99, begun);
        let kv = open(&link, 99).await.unwrap();
        for n in 0..600u32 {
            kv.transact(Transaction::new().put((n % 60).to_string(), vec![99; 200])).await.unwrap();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let count = async |kind: &str| {
            store.list(&BlockAddress::new(format!("{PREFIX}/{kind}/")), None, 10_000).await.unwrap().len()
        };
        let (pieces, manifests, log) = (count("pieces").await, count("manifests").await, count("log").await);
        assert!(
            pieces <= 2 && manifests <= 2 && log < 13 + 40,
            "{pieces} pieces, {manifests} manifests, {log} segments"
        );
    });
}
