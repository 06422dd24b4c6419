//! The DynamoDB engine on an emulator: the suite of all engines, and what only happens over a network.
//! `make test-engines` runs it.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests say what they expect by panicking

mod emulator;
mod history;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use emulator::{Cut, Emulator, Wire};
use history::judge_in_trouble;
use lakebed_core::SystemEntropy;
use lakebed_kv::{
    Check, DynamoCall, DynamoConfig, DynamoKv, DynamoWatch, KeyRange, Kv, KvError, Outcome, Transaction,
    conformance,
};

fn config(table: &str, port: u16) -> DynamoConfig {
    DynamoConfig {
        table: table.to_owned(),
        endpoint: Some(format!("http://127.0.0.1:{port}")),
        region: Some("us-east-1".to_owned()),
        credentials: Some(("AKIAEMULATED".to_owned(), "sesame".to_owned())),
        // Small, so that a scan has many.
        scan_limit: 5,
        ..DynamoConfig::default()
    }
}

async fn opened(config: &DynamoConfig) -> DynamoKv {
    DynamoKv::open(config, Arc::new(SystemEntropy), Arc::new(())).await.unwrap()
}

async fn open(table: &str, port: u16) -> Arc<dyn Kv> {
    Arc::new(opened(&config(table, port)).await)
}

async fn put(kv: &dyn Kv, key: &str, value: &str) -> Result<Outcome, KvError> {
    kv.transact(Transaction::new().put(key.to_owned(), value.to_owned())).await
}

async fn value(kv: &dyn Kv, key: &str) -> Option<String> {
    let found = kv.get(key.as_bytes()).await.unwrap();
    found.map(|row| String::from_utf8(row.value.to_vec()).unwrap())
}

/// Two keys at once, so that it is a transaction.
fn pair(value: &str) -> Transaction {
    Transaction::new().put("one", value.to_owned()).put("two", value.to_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an emulator: make test-engines"]
async fn the_suite_of_all_engines() {
    let emulator = Emulator::start();
    conformance::run_all(async || open(&emulator.fresh(), emulator.port).await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an emulator: make test-engines"]
async fn histories_of_two_servers_are_linearizable_while_requests_are_lost() {
    let emulator = Emulator::start();
    let wire = Wire::to(emulator.port).await;
    let table = emulator.fresh();
    // What is not answered is lost soon.
    let hasty = DynamoConfig { attempt_timeout: Duration::from_millis(500), ..config(&table, wire.port) };
    let engines: [Arc<dyn Kv>; 2] = [open(&table, emulator.port).await, Arc::new(opened(&hasty).await)];
    let cuts = [Cut::Before, Cut::After, Cut::Meanwhile, Cut::Before, Cut::After, Cut::Silence];
    judge_in_trouble(&engines, 20, async |done| {
        while !done.load(Ordering::SeqCst) {
            let before = wire.cuts.load(Ordering::SeqCst);
            if before % 5 == 0 {
                let fault = ["conflict", "before", "after", "throttle"][before as usize / 5 % 4];
                tokio::task::block_in_place(|| emulator.fault(fault, 1));
            }
            wire.cut(cuts[before as usize % cuts.len()]);
            // Most writes come through: a history of nothing but unknown outcomes says little, and takes long to judge.
            let through = wire.writes.load(Ordering::SeqCst) + 8;
            while wire.writes.load(Ordering::SeqCst) < through && !done.load(Ordering::SeqCst) {
                tokio::task::yield_now().await;
            }
        }
        wire.cut(Cut::Never);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an emulator: make test-engines"]
async fn a_transaction_whose_answer_is_lost_happens_once() {
    let emulator = Emulator::start();
    let wire = Wire::to(emulator.port).await;
    let kv = opened(&config(&emulator.fresh(), wire.port)).await;
    for (at, cut) in [Cut::Before, Cut::After].into_iter().enumerate() {
        wire.cut(cut);
        // Sent again with its token, it happens, or is known to have happened.
        assert!(matches!(kv.transact(pair(&at.to_string())).await, Ok(Outcome::Done(_))), "{cut:?}");
        assert_eq!(value(&kv, "two").await, Some(at.to_string()));
    }
    for fault in ["before", "after"] {
        emulator.fault(fault, 1);
        let version = kv.get(b"one").await.unwrap().unwrap().version;
        let once = pair(fault).check("one", Check::Version(version));
        assert!(matches!(kv.transact(once).await, Ok(Outcome::Done(_))), "{fault}");
    }
    // A refusal of what was sent again says nothing of what was sent first.
    wire.cut(Cut::Before);
    let refused = pair("never").check("one", Check::Absent);
    assert_eq!(kv.transact(refused).await.unwrap(), Outcome::Unknown);
    assert_eq!(value(&kv, "one").await.as_deref(), Some("after"));
    assert_eq!(wire.cuts.load(Ordering::SeqCst), 3);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an emulator: make test-engines"]
async fn a_single_write_whose_answer_is_lost_is_looked_up_and_never_sent_again() {
    let emulator = Emulator::start();
    let wire = Wire::to(emulator.port).await;
    let kv = opened(&config(&emulator.fresh(), wire.port)).await;
    put(&kv, "k", "0").await.unwrap();
    wire.cut(Cut::Before);
    assert_eq!(put(&kv, "k", "before").await.unwrap(), Outcome::Unknown);
    assert_eq!(value(&kv, "k").await.as_deref(), Some("0"));
    wire.cut(Cut::After);
    let Outcome::Done(version) = put(&kv, "k", "after").await.unwrap() else { panic!("it is there") };
    assert_eq!(kv.get(b"k").await.unwrap().unwrap().version, version);
    // Nobody sees which delete it was.
    wire.cut(Cut::After);
    assert_eq!(kv.transact(Transaction::new().delete("k")).await.unwrap(), Outcome::Unknown);
    assert_eq!(value(&kv, "k").await, None);
    assert_eq!(wire.cuts.load(Ordering::SeqCst), 3);
}

#[derive(Default)]
struct Watch(parking_lot::Mutex<Vec<DynamoCall>>);

impl DynamoWatch for Watch {
    fn called(&self, call: DynamoCall) {
        self.0.lock().push(call);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an emulator: make test-engines"]
async fn throttled_and_contended_requests_are_repeated_within_bounds() {
    let emulator = Emulator::start();
    let watch = Arc::new(Watch::default());
    let config =
        DynamoConfig { max_attempts: 3, max_connections: 2, ..config(&emulator.fresh(), emulator.port) };
    let kv = DynamoKv::open(&config, Arc::new(SystemEntropy), watch.clone()).await.unwrap();
    watch.0.lock().clear();
    emulator.fault("throttle", 2);
    assert!(matches!(kv.transact(pair("throttled")).await, Ok(Outcome::Done(_))));
    // Waiting for others is no failure, and not counted.
    emulator.fault("conflict", 6);
    assert!(matches!(kv.transact(pair("contended")).await, Ok(Outcome::Done(_))));
    let calls = std::mem::take(&mut *watch.0.lock());
    assert_eq!(calls.iter().filter(|call| call.operation == "TransactWriteItems").count(), 10);
    assert_eq!(calls.iter().filter(|call| call.failed).count(), 2);
    emulator.fault("throttle", 3);
    let error = put(&kv, "k", "never").await.unwrap_err().to_string();
    assert!(error.contains("ThrottlingException") && error.contains("capacity"), "{error}");
    assert_eq!(value(&kv, "k").await, None);
    assert!(matches!(put(&kv, "k", "now").await, Ok(Outcome::Done(_))));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an emulator: make test-engines"]
async fn pieces_of_values_that_are_gone_are_swept() {
    let emulator = Emulator::start();
    let kv = opened(&config(&emulator.fresh(), emulator.port)).await;
    let large = |fill: u8| Bytes::from(vec![fill; 1 << 20]);
    for key in ["kept", "replaced", "deleted"] {
        kv.transact(Transaction::new().put(key, large(1))).await.unwrap();
    }
    kv.transact(Transaction::new().put("replaced", large(2)).delete("deleted")).await.unwrap();
    assert_eq!(kv.sweep().await.unwrap(), 2);
    assert_eq!(kv.sweep().await.unwrap(), 0);
    for (key, fill) in [("kept", 1), ("replaced", 2)] {
        assert_eq!(kv.get(key.as_bytes()).await.unwrap().unwrap().value, large(fill));
    }
    let rows = kv.scan(&KeyRange::prefix(b""), 10).await.unwrap();
    assert_eq!(
        rows.iter().map(|row| (&row.key[..], row.value[0])).collect::<Vec<_>>(),
        [(&b"kept"[..], 1), (b"replaced", 2)]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an emulator: make test-engines"]
async fn groups_of_long_keys_come_and_go() {
    let emulator = Emulator::start();
    let kv = opened(&config(&emulator.fresh(), emulator.port)).await;
    let long = |n: u32| Bytes::from(format!("{}/{n:04}", "d".repeat(1200)));
    put(&kv, "a", "").await.unwrap();
    put(&kv, "z", "").await.unwrap();
    for _ in 0..2 {
        for n in 0..30 {
            kv.transact(Transaction::new().put(long(n), n.to_string())).await.unwrap();
        }
        let mut range = KeyRange::prefix(b"d");
        let mut found = Vec::new();
        loop {
            let page = kv.scan(&range, 7).await.unwrap();
            found.extend(page.iter().map(|row| row.key.clone()));
            let Some(last) = page.last().filter(|_| page.len() == 7) else { break };
            range.start = Bytes::from([&last.key[..], &[0]].concat());
        }
        assert_eq!(found, (0..30).map(long).collect::<Vec<_>>());
        for n in 0..30 {
            kv.transact(Transaction::new().delete(long(n))).await.unwrap();
        }
        // The second finds no sign any more.
        for _ in 0..2 {
            let rest = kv.scan(&KeyRange::prefix(b""), 100).await.unwrap();
            assert_eq!(rest.iter().map(|row| &row.key[..]).collect::<Vec<_>>(), [b"a", b"z"]);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an emulator: make test-engines"]
async fn a_missing_table_is_made_once_and_anothers_refused() {
    let emulator = Emulator::start();
    let config = config(&emulator.fresh(), emulator.port);
    let entropy = || Arc::new(SystemEntropy);
    assert_eq!(DynamoKv::format_version(&config, entropy()).await.unwrap(), None);
    let mut servers = tokio::task::JoinSet::new();
    for me in 0..5u32 {
        let config = config.clone();
        servers.spawn(async move {
            let kv = opened(&config).await;
            assert!(matches!(put(&kv, &me.to_string(), "here").await, Ok(Outcome::Done(_))));
        });
    }
    while let Some(done) = servers.join_next().await {
        done.unwrap();
    }
    assert_eq!(DynamoKv::format_version(&config, entropy()).await.unwrap(), Some(1));
    let kv = opened(&config).await;
    assert_eq!(kv.scan(&KeyRange::prefix(b""), 10).await.unwrap().len(), 5);
    assert!(!format!("{config:?}").contains("sesame"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "needs an emulator: make test-engines"]
async fn a_service_that_is_not_there_is_named_without_secrets() {
    let nobody = DynamoConfig { max_attempts: 2, ..config("t", 9) };
    let error =
        DynamoKv::open(&nobody, Arc::new(SystemEntropy), Arc::new(())).await.err().unwrap().to_string();
    assert!(error.contains("refused") && !error.contains("sesame"), "{error}");
    let wrong = DynamoConfig { endpoint: Some("here".to_owned()), ..nobody };
    let error =
        DynamoKv::open(&wrong, Arc::new(SystemEntropy), Arc::new(())).await.err().unwrap().to_string();
    assert!(error.contains("database.dynamodb.endpoint"), "{error}");
}
