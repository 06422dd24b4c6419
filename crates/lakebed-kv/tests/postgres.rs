//! The PostgreSQL engine on a real server: the suite of all engines, and what only happens over a network.
//! `make test-engines` runs it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests say what they expect by panicking

mod cluster;
mod history;
mod pglite;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use bytes::Bytes;
use cluster::{Cluster, Cut, Wire};
use history::judge_in_trouble;
use lakebed_core::SystemEntropy;
use lakebed_kv::{
    Check, KeyRange, Kv, KvError, Outcome, PostgresConfig, PostgresKv, Transaction, conformance,
};

fn config(address: &str) -> PostgresConfig {
    PostgresConfig { connection_string: address.to_owned(), max_connections: 6, ..PostgresConfig::default() }
}

async fn open(address: &str) -> Arc<dyn Kv> {
    Arc::new(PostgresKv::open(&config(address), Arc::new(SystemEntropy)).await.unwrap())
}

async fn put(kv: &dyn Kv, key: &str, value: &str) -> Result<Outcome, KvError> {
    kv.transact(Transaction::new().put(key.to_owned(), value.to_owned())).await
}

async fn value(kv: &dyn Kv, key: &str) -> Option<String> {
    let found = kv.get(key.as_bytes()).await.unwrap();
    found.map(|row| String::from_utf8(row.value.to_vec()).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: make test-engines"]
async fn the_suite_of_all_engines() {
    let cluster = Cluster::start();
    conformance::run_all(async || open(&Cluster::address(&cluster.fresh(), cluster.port)).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PGlite: make test-engines"]
async fn the_suite_of_all_engines_on_pglite() {
    let pglite = pglite::Pglite::start();
    conformance::run_all(async || {
        pglite.empty();
        open(&pglite.address()).await
    })
    .await;
}

/// Whoever is told that the rows are gone finds none, also while another server deletes the same ones.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: make test-engines"]
async fn two_servers_abandon_the_same_rows() {
    let cluster = Cluster::start();
    let address = Cluster::address(&cluster.fresh(), cluster.port);
    let (one, two) = (open(&address).await, open(&address).await);
    let rows = KeyRange::prefix(b"w01");
    for _ in 0..5 {
        for batch in 0..7 {
            let row = |n: u32| format!("w01/{batch}/{n:04}");
            let all = (0..1000).fold(Transaction::new(), |all, n| all.put(row(n), "x"));
            assert!(matches!(one.transact(all).await.unwrap(), Outcome::Done(_)));
        }
        let abandon = async |kv: &dyn Kv| {
            assert!(kv.abandon(&rows).await.unwrap());
            assert_eq!(kv.scan(&rows, 10).await.unwrap(), []);
        };
        tokio::join!(abandon(&*one), abandon(&*two));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: make test-engines"]
async fn histories_of_two_servers_are_linearizable_while_connections_break() {
    let cluster = Cluster::start();
    let schema = cluster.fresh();
    let wire = Wire::to(cluster.port).await;
    let engines = [
        open(&Cluster::address(&schema, cluster.port)).await,
        open(&Cluster::address(&schema, wire.port)).await,
    ];
    let cuts = [Cut::Before, Cut::After, Cut::Meanwhile];
    judge_in_trouble(&engines, 60, async |done| {
        while !done.load(Ordering::SeqCst) {
            let before = wire.cuts.load(Ordering::SeqCst);
            wire.cut(cuts[before as usize % 3]);
            while wire.cuts.load(Ordering::SeqCst) == before && !done.load(Ordering::SeqCst) {
                tokio::task::yield_now().await;
            }
            for _ in 0..2000 {
                tokio::task::yield_now().await;
            }
        }
        wire.cut(Cut::Never);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: make test-engines"]
async fn a_connection_lost_around_the_commit_leaves_an_unknown_outcome_and_never_two() {
    let cluster = Cluster::start();
    let wire = Wire::to(cluster.port).await;
    let kv = open(&Cluster::address(&cluster.fresh(), wire.port)).await;
    assert!(matches!(put(&*kv, "k", "0").await, Ok(Outcome::Done(_))));
    wire.cut(Cut::Before);
    assert_eq!(put(&*kv, "k", "before").await.unwrap(), Outcome::Unknown);
    assert_eq!(value(&*kv, "k").await.as_deref(), Some("0"));
    let version = kv.get(b"k").await.unwrap().unwrap().version;
    wire.cut(Cut::After);
    let once = Transaction::new().check("k", Check::Version(version)).put("k", "after");
    assert_eq!(kv.transact(once).await.unwrap(), Outcome::Unknown);
    assert_eq!(value(&*kv, "k").await.as_deref(), Some("after"));
    // A read is sent again; whether it came is no question.
    wire.cut(Cut::After);
    assert_eq!(value(&*kv, "k").await.as_deref(), Some("after"));
    assert_eq!(wire.cuts.load(Ordering::SeqCst), 3);
    assert!(matches!(put(&*kv, "k", "last").await, Ok(Outcome::Done(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: make test-engines"]
async fn a_crash_of_the_database_loses_nothing_acknowledged_and_service_goes_on() {
    let mut cluster = Cluster::start();
    let schema = cluster.fresh();
    let kv = open(&Cluster::address(&schema, cluster.port)).await;
    let stop = Arc::new(AtomicBool::new(false));
    let progress: Arc<Vec<AtomicU32>> = Arc::new((0..4).map(|_| AtomicU32::new(0)).collect());
    let mut writers = tokio::task::JoinSet::new();
    for me in 0..4usize {
        let (kv, stop, progress) = (kv.clone(), stop.clone(), progress.clone());
        writers.spawn(async move {
            let key = Bytes::from(format!("counter{me}"));
            let (mut acknowledged, mut unknown) = (0u32, 0u32);
            while !stop.load(Ordering::SeqCst) {
                let Ok(now) = kv.get(&key).await else { continue };
                let count =
                    now.as_ref().map_or(0, |row| std::str::from_utf8(&row.value).unwrap().parse().unwrap());
                assert!(
                    (acknowledged..=acknowledged + unknown).contains(&count),
                    "{acknowledged} {unknown} {count}"
                );
                let check = now.map_or(Check::Absent, |row| Check::Version(row.version));
                let add =
                    Transaction::new().check(key.clone(), check).put(key.clone(), (count + 1).to_string());
                match kv.transact(add).await {
                    Ok(Outcome::Done(_)) => acknowledged += 1,
                    Ok(Outcome::Unknown) => unknown += 1,
                    Ok(Outcome::Refused(_)) => assert!(unknown > 0, "nobody else writes this key"),
                    Err(KvError::Unavailable(_)) => {}
                    Err(error) => panic!("{error}"),
                }
                progress[me].store(acknowledged, Ordering::SeqCst);
            }
            (acknowledged, unknown)
        });
    }
    let all_advance = async |by: u32| {
        let floor: Vec<u32> = progress.iter().map(|at| at.load(Ordering::SeqCst) + by).collect();
        while progress.iter().zip(&floor).any(|(at, floor)| at.load(Ordering::SeqCst) < *floor) {
            tokio::task::yield_now().await;
        }
    };
    all_advance(30).await;
    // Sessions that are ended by an administrator, then the whole server.
    cluster.psql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'lakebed'");
    all_advance(30).await;
    for _ in 0..2 {
        cluster.crash();
        cluster.launch();
        all_advance(30).await;
    }
    stop.store(true, Ordering::SeqCst);
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
    kv.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: make test-engines"]
async fn a_statement_that_takes_too_long_has_not_happened() {
    let cluster = Cluster::start();
    let schema = cluster.fresh();
    let short = PostgresConfig {
        statement_timeout: Duration::from_millis(300),
        ..config(&Cluster::address(&schema, cluster.port))
    };
    let kv = PostgresKv::open(&short, Arc::new(SystemEntropy)).await.unwrap();
    put(&kv, "k", "old").await.unwrap();
    let (mut holder, connection) = tokio_postgres::connect(
        &format!("host=127.0.0.1 port={} user=lakebed dbname=postgres", cluster.port),
        tokio_postgres::NoTls,
    )
    .await
    .unwrap();
    let carrier = tokio::spawn(connection);
    let held = holder.transaction().await.unwrap();
    held.execute(&format!("SELECT 1 FROM {schema}.lakebed_kv FOR UPDATE"), &[]).await.unwrap();
    let error = put(&kv, "k", "new").await.unwrap_err().to_string();
    assert!(error.contains("57014"), "{error}");
    // Whoever asks for nothing that is held does not wait.
    assert!(matches!(put(&kv, "other", "x").await, Ok(Outcome::Done(_))));
    held.rollback().await.unwrap();
    assert_eq!(value(&kv, "k").await.as_deref(), Some("old"));
    assert!(matches!(put(&kv, "k", "new").await, Ok(Outcome::Done(_))));
    drop(holder);
    carrier.await.unwrap().unwrap();
}

/// Transactions that name the same keys in all orders, make and delete them: nobody is stuck, nobody sees an error.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: make test-engines"]
async fn contention_is_waited_out() {
    let cluster = Cluster::start();
    let schema = cluster.fresh();
    let address = Cluster::address(&schema, cluster.port);
    let engines = [open(&address).await, open(&address).await];
    let mut writers = tokio::task::JoinSet::new();
    for me in 0..12usize {
        let kv = engines[me % 2].clone();
        writers.spawn(async move {
            for round in 0..40usize {
                let mut transaction = Transaction::new();
                for at in 0..5 {
                    let key = format!("k{}", (me * 3 + round + at * (me + 1)) % 7);
                    if transaction.writes.iter().any(|(k, _)| *k == key.as_bytes()) {
                        continue;
                    }
                    transaction = if (round + at) % 3 == 0 {
                        transaction.delete(key)
                    } else {
                        transaction.put(key, "v")
                    };
                }
                assert!(matches!(kv.transact(transaction).await.unwrap(), Outcome::Done(_)));
            }
        });
    }
    while let Some(done) = writers.join_next().await {
        done.unwrap();
    }
}

/// Reads that go together are answered each for itself, in one instant each, whoever gives up meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: make test-engines"]
async fn reads_that_go_together_keep_apart() {
    let cluster = Cluster::start();
    let kv = open(&Cluster::address(&cluster.fresh(), cluster.port)).await;
    let both = |n: u32| Transaction::new().put("a", n.to_string()).put("b", n.to_string());
    assert!(matches!(kv.transact(both(0)).await.unwrap(), Outcome::Done(_)));
    let done = Arc::new(AtomicBool::new(false));
    let mut readers = tokio::task::JoinSet::new();
    for me in 0..40usize {
        let (kv, done) = (kv.clone(), done.clone());
        readers.spawn(async move {
            let (mut least, mut rounds) = (0, 0);
            while !done.load(Ordering::SeqCst) || rounds == 0 {
                rounds += 1;
                let number = |row: &Option<lakebed_kv::Versioned>| -> u32 {
                    std::str::from_utf8(&row.as_ref().unwrap().value).unwrap().parse().unwrap()
                };
                let wanted: [Bytes; 4] = ["b".into(), format!("none{me}").into(), "a".into(), "b".into()];
                // Some give up before they are answered.
                if me.is_multiple_of(3) {
                    let mut asked = Box::pin(kv.get_many(&wanted));
                    let _ = futures::poll!(asked.as_mut());
                }
                let found = kv.get_many(&wanted).await.unwrap();
                assert!(found[1].is_none() && found[0] == found[2] && found[0].as_ref() == found[3].as_ref());
                assert!(number(&found[0]) >= least, "what was seen once does not go back");
                least = number(&found[0]);
                assert_eq!(kv.get(format!("none{me}").as_bytes()).await.unwrap(), None);
            }
        });
    }
    for n in 1..100 {
        assert!(matches!(kv.transact(both(n)).await.unwrap(), Outcome::Done(_)));
        // Asked for after it was acknowledged.
        assert_eq!(value(&*kv, "a").await, Some(n.to_string()));
    }
    done.store(true, Ordering::SeqCst);
    while let Some(reader) = readers.join_next().await {
        reader.unwrap();
    }
    kv.close().await.unwrap();
    assert!(matches!(kv.get(b"a").await, Err(KvError::Stopped(_))));
    assert!(matches!(kv.get_many(&["a".into()]).await, Err(KvError::Stopped(_))));
}

/// A bulk of rows behind one gate, then the clean-up, from both sides.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: make test-engines"]
async fn many_items_at_once() {
    let cluster = Cluster::start();
    let kv = open(&Cluster::address(&cluster.fresh(), cluster.port)).await;
    put(&*kv, "gate", "").await.unwrap();
    let row = |n: usize| Bytes::from(format!("row/{n:05}"));
    let bulk = (0..4000).fold(Transaction::new().check("gate", Check::Exists), |all, n| all.put(row(n), "v"));
    assert!(matches!(kv.transact(bulk).await.unwrap(), Outcome::Done(_)));
    assert_eq!(kv.scan(&KeyRange::prefix(b"row/"), 5000).await.unwrap().len(), 4000);
    // Every other was there.
    let clean = (0..4000).fold(Transaction::new(), |all, n| all.delete(row(n * 2)));
    assert!(matches!(kv.transact(clean).await.unwrap(), Outcome::Done(_)));
    assert_eq!(kv.scan(&KeyRange::prefix(b"row/"), 5000).await.unwrap().len(), 2000);
    put(&*kv, "other", "").await.unwrap();
    let refused = Transaction::new().check("none", Check::Exists).delete("other");
    assert_eq!(kv.transact(refused).await.unwrap(), Outcome::Refused("none".into()));
    assert_eq!(value(&*kv, "other").await.as_deref(), Some(""));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: make test-engines"]
async fn an_empty_database_is_set_up_once_and_an_unknown_schema_refused() {
    let cluster = Cluster::start();
    let schema = cluster.fresh();
    let config = config(&Cluster::address(&schema, cluster.port));
    let entropy = || Arc::new(SystemEntropy);
    assert_eq!(PostgresKv::schema_version(&config, entropy()).await.unwrap(), None);
    let mut servers = tokio::task::JoinSet::new();
    for me in 0..5u32 {
        let config = config.clone();
        servers.spawn(async move {
            let kv = PostgresKv::open(&config, Arc::new(SystemEntropy)).await.unwrap();
            assert!(matches!(put(&kv, &me.to_string(), "here").await, Ok(Outcome::Done(_))));
        });
    }
    while let Some(done) = servers.join_next().await {
        done.unwrap();
    }
    let kv = open(&config.connection_string).await;
    assert_eq!(kv.scan(&KeyRange::prefix(b""), 10).await.unwrap().len(), 5);
    assert_eq!(PostgresKv::schema_version(&config, entropy()).await.unwrap(), Some(1));
    let again = PostgresKv::migrate(&config, entropy()).await.unwrap();
    assert_eq!((again.from, again.to), (1, 1));
    for (version, said) in [(2, "later one"), (0, "lakebed migrate up")] {
        cluster.psql(&format!("UPDATE {schema}.lakebed_schema SET version = {version}"));
        let error = PostgresKv::open(&config, entropy()).await.err().unwrap().to_string();
        assert!(error.contains(said), "{error}");
    }
    cluster.psql(&format!("UPDATE {schema}.lakebed_schema SET version = 2"));
    let error = PostgresKv::migrate(&config, entropy()).await.err().unwrap().to_string();
    assert!(error.contains("later one"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs PostgreSQL: make test-engines"]
async fn a_database_that_is_not_there_is_named_without_its_password() {
    let nobody = "postgres://lakebed:sesame@127.0.0.1:9/postgres?sslmode=disable";
    let error = PostgresKv::open(&config(nobody), Arc::new(SystemEntropy)).await.err().unwrap().to_string();
    assert!(error.contains("refused") && !error.contains("sesame"), "{error}");
}
