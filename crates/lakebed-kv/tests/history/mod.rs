//! Records what concurrent clients do to a few keys and are told, and searches an order of it that one client alone could
//! have seen: each operation at one instant between its call and its answer (after Wing and Gong, with Lowe's memory of
//! configurations tried before).
#![allow(dead_code)] // each test file uses its part

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use lakebed_kv::{Check, Kv, KvError, Outcome, Transaction, Version, Versioned};
use parking_lot::Mutex;
use rand::rngs::SmallRng;
use rand::{RngExt, SeedableRng};

/// Keys of one history.
pub(crate) const KEYS: usize = 3;

/// Which write a key holds; every write is told from all others by its value.
pub(crate) type State = [Option<u32>; KEYS];

/// What must hold of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Must {
    Absent,
    Exist,
    /// Be at the version of this write.
    Hold(u32),
}

/// What a client asked.
#[derive(Clone, Debug)]
pub(crate) enum Asked {
    Read(Vec<usize>),
    Transact { checks: Vec<(usize, Must)>, writes: Vec<(usize, Option<u32>)> },
}

/// What it was told.
#[derive(Clone, Debug)]
pub(crate) enum Told {
    Values(Vec<Option<u32>>),
    Done,
    Refused(usize),
    /// It may happen at any time from the call on, or never.
    Unknown,
}

/// One operation; times are places in the order of all calls and answers.
#[derive(Clone, Debug)]
pub(crate) struct Operation {
    pub(crate) called: u64,
    pub(crate) answered: u64,
    pub(crate) asked: Asked,
    pub(crate) told: Told,
}

fn holds(state: &State, (key, must): (usize, Must)) -> bool {
    match must {
        Must::Absent => state[key].is_none(),
        Must::Exist => state[key].is_some(),
        Must::Hold(write) => state[key] == Some(write),
    }
}

/// The states that may follow if the operation takes place in this one; empty: it cannot.
fn step(state: &State, operation: &Operation) -> Vec<State> {
    let after = |writes: &[(usize, Option<u32>)]| {
        let mut next = *state;
        for (key, value) in writes {
            next[*key] = *value;
        }
        next
    };
    match (&operation.asked, &operation.told) {
        (Asked::Read(keys), Told::Values(values)) => {
            let same = keys.iter().zip(values).all(|(key, value)| state[*key] == *value);
            if same { vec![*state] } else { vec![] }
        }
        (Asked::Transact { checks, writes }, Told::Done) => {
            if checks.iter().all(|check| holds(state, *check)) { vec![after(writes)] } else { vec![] }
        }
        (Asked::Transact { checks, .. }, Told::Refused(named)) => {
            let failed = checks.iter().any(|check| check.0 == *named && !holds(state, *check));
            if failed { vec![*state] } else { vec![] }
        }
        (Asked::Transact { checks, writes }, Told::Unknown) => {
            // Refused or never sent leaves all as it is, which is the same as taking place last.
            if checks.iter().all(|check| holds(state, *check)) { vec![after(writes)] } else { vec![] }
        }
        _ => vec![],
    }
}

/// Whether one order explains everything. At most 128 operations.
pub(crate) fn is_linearizable(history: &[Operation]) -> bool {
    assert!(history.len() <= 128);
    let must: u128 = history
        .iter()
        .enumerate()
        .filter(|(_, operation)| !matches!(operation.told, Told::Unknown))
        .fold(0, |all, (at, _)| all | 1 << at);
    let mut seen: HashSet<(u128, State)> = HashSet::new();
    let mut open: Vec<(u128, State)> = vec![(0, [None; KEYS])];
    while let Some((done, state)) = open.pop() {
        if done & must == must {
            return true;
        }
        if !seen.insert((done, state)) {
            continue;
        }
        // Whatever was answered before another was called comes before it.
        let horizon = history
            .iter()
            .enumerate()
            .filter(|(at, operation)| done & (1 << at) == 0 && !matches!(operation.told, Told::Unknown))
            .map(|(_, operation)| operation.answered)
            .min()
            .unwrap_or(u64::MAX);
        for (at, operation) in history.iter().enumerate() {
            if done & (1 << at) == 0 && operation.called < horizon {
                open.extend(step(&state, operation).into_iter().map(|next| (done | 1 << at, next)));
            }
        }
    }
    false
}

fn lines(history: &[Operation]) -> String {
    let line =
        |op: &Operation| format!("{:>3}-{:<3} {:?} -> {:?}\n", op.called, op.answered, op.asked, op.told);
    history.iter().map(line).collect()
}

/// How a history is made.
#[derive(Clone, Copy)]
pub(crate) struct Plan {
    pub(crate) clients: usize,
    pub(crate) operations: usize,
    pub(crate) seed: u64,
}

struct Recorder {
    clock: AtomicU64,
    writes: AtomicU64,
    operations: Mutex<Vec<Operation>>,
    /// Which write a version of a key stands for: for ever the same.
    versions: Mutex<HashMap<(usize, Version), u32>>,
}

impl Recorder {
    fn saw(&self, key: usize, version: Version, write: u32) {
        let known = *self.versions.lock().entry((key, version)).or_insert(write);
        assert_eq!(known, write, "{version:?} of key {key} was given twice");
    }
}

fn write_of(value: &Bytes) -> u32 {
    std::str::from_utf8(value).unwrap().parse().unwrap()
}

async fn client(
    kv: Arc<dyn Kv>,
    keys: Arc<Vec<Bytes>>,
    recorder: Arc<Recorder>,
    seed: u64,
    operations: usize,
) {
    let mut random = SmallRng::seed_from_u64(seed);
    let mut last: [Option<(Version, u32)>; KEYS] = [None; KEYS];
    for _ in 0..operations {
        let (asked, told, called);
        if random.random_bool(0.4) {
            let wanted: Vec<usize> = if random.random_bool(0.5) {
                (0..KEYS).collect()
            } else {
                vec![random.random_range(0..KEYS)]
            };
            called = recorder.clock.fetch_add(1, Ordering::SeqCst);
            let read: Result<Vec<Option<Versioned>>, KvError> = match &wanted[..] {
                [one] => kv.get(&keys[*one]).await.map(|found| vec![found]),
                _ => kv.get_many(&keys).await,
            };
            // A read that failed saw nothing.
            let Ok(read) = read else { continue };
            for (key, found) in wanted.iter().zip(&read) {
                last[*key] = found.as_ref().map(|row| (row.version, write_of(&row.value)));
                if let Some((version, write)) = last[*key] {
                    recorder.saw(*key, version, write);
                }
            }
            told =
                Told::Values(read.iter().map(|row| row.as_ref().map(|row| write_of(&row.value))).collect());
            asked = Asked::Read(wanted);
        } else {
            let mut transaction = Transaction::new();
            let (mut checks, mut writes) = (Vec::new(), Vec::new());
            for key in 0..KEYS {
                let change = match random.random_range(0..6) {
                    0 | 1 => Some(Some(recorder.writes.fetch_add(1, Ordering::SeqCst) as u32)),
                    2 => Some(None),
                    _ => None,
                };
                let check = match random.random_range(0..8) {
                    0 | 1 => last[key].map(|(version, write)| (Check::Version(version), Must::Hold(write))),
                    2 => Some((Check::Exists, Must::Exist)),
                    3 if change.is_some() => Some((Check::Absent, Must::Absent)),
                    _ => None,
                };
                if let Some((check, must)) = check {
                    transaction = transaction.check(keys[key].clone(), check);
                    checks.push((key, must));
                }
                if let Some(value) = change {
                    let key_bytes = keys[key].clone();
                    transaction = match value {
                        Some(write) => transaction.put(key_bytes, write.to_string()),
                        None => transaction.delete(key_bytes),
                    };
                    writes.push((key, value));
                }
            }
            if writes.is_empty() {
                continue;
            }
            called = recorder.clock.fetch_add(1, Ordering::SeqCst);
            told = match kv.transact(transaction).await {
                Ok(Outcome::Done(version)) => {
                    for (key, value) in &writes {
                        if let Some(write) = value {
                            recorder.saw(*key, version, *write);
                            last[*key] = Some((version, *write));
                        }
                    }
                    Told::Done
                }
                Ok(Outcome::Refused(key)) => Told::Refused(keys.iter().position(|k| *k == key).unwrap()),
                Ok(Outcome::Unknown) => Told::Unknown,
                // An error says that nothing happened.
                Err(_) => continue,
            };
            asked = Asked::Transact { checks, writes };
        }
        let answered = recorder.clock.fetch_add(1, Ordering::SeqCst);
        recorder.operations.lock().push(Operation { called, answered, asked, told });
        if random.random_bool(0.3) {
            tokio::task::yield_now().await;
        }
    }
}

/// Runs clients against keys of their own, records and judges. Answers how many operations were recorded and how many
/// outcomes were unknown.
pub(crate) async fn judge(engines: &[Arc<dyn Kv>], name: &str, plan: Plan) -> (usize, usize) {
    let keys: Arc<Vec<Bytes>> = Arc::new((0..KEYS).map(|key| Bytes::from(format!("{name}/{key}"))).collect());
    let recorder = Arc::new(Recorder {
        clock: AtomicU64::new(0),
        writes: AtomicU64::new(1),
        operations: Mutex::default(),
        versions: Mutex::default(),
    });
    let mut clients = tokio::task::JoinSet::new();
    for me in 0..plan.clients {
        let kv = engines[me % engines.len()].clone();
        let seed = plan.seed * 1000 + me as u64;
        clients.spawn(client(kv, keys.clone(), recorder.clone(), seed, plan.operations));
    }
    while let Some(done) = clients.join_next().await {
        done.unwrap();
    }
    let mut history = std::mem::take(&mut *recorder.operations.lock());
    history.sort_by_key(|operation| operation.called);
    let unknown = history.iter().filter(|operation| matches!(operation.told, Told::Unknown)).count();
    assert!(is_linearizable(&history), "{name}: no order explains this history:\n{}", lines(&history));
    (history.len(), unknown)
}

/// Judges histories, as many as `LAKEBED_HISTORIES` says or else `usually`: every second one while `trouble` is made, which
/// ends when it is told that the history is done. Fails unless some outcomes were unknown.
pub(crate) async fn judge_in_trouble(
    engines: &[Arc<dyn Kv>],
    usually: u64,
    mut trouble: impl AsyncFnMut(&AtomicBool),
) {
    let histories = std::env::var("LAKEBED_HISTORIES").map_or(usually, |text| text.parse().unwrap());
    let (mut recorded, mut unknown) = (0, 0);
    for seed in 0..histories {
        let name = format!("h{seed}");
        let done = AtomicBool::new(seed % 2 == 0);
        let judged = async {
            let found = judge(engines, &name, Plan { clients: 6, operations: 16, seed }).await;
            done.store(true, Ordering::SeqCst);
            found
        };
        let (found, ()) = tokio::join!(judged, trouble(&done));
        recorded += found.0;
        unknown += found.1;
    }
    println!("{histories} histories, {recorded} operations, {unknown} of unknown outcome");
    assert!(recorded as u64 > histories * 20 && unknown > 0, "{recorded} {unknown}");
}
