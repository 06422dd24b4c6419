//! Recorded histories of the engines that need no service, and what the judge itself is worth.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)] // tests say what they expect by panicking

mod history;

use std::sync::Arc;

use history::{Asked, Must, Operation, Plan, Told, is_linearizable, judge};
use lakebed_kv::{FjallConfig, FjallKv, Kv, MemKv};

fn read(called: u64, answered: u64, values: [Option<u32>; 3]) -> Operation {
    Operation { called, answered, asked: Asked::Read(vec![0, 1, 2]), told: Told::Values(values.to_vec()) }
}

fn transact(
    called: u64,
    answered: u64,
    checks: &[(usize, Must)],
    writes: &[(usize, Option<u32>)],
    told: Told,
) -> Operation {
    let asked = Asked::Transact { checks: checks.to_vec(), writes: writes.to_vec() };
    Operation { called, answered, asked, told }
}

#[test]
fn the_judge_accepts_what_one_order_explains() {
    let put = transact(0, 3, &[(0, Must::Absent)], &[(0, Some(1)), (1, Some(1))], Told::Done);
    let early = read(1, 2, [None; 3]);
    let late = read(4, 5, [Some(1), Some(1), None]);
    assert!(is_linearizable(&[put.clone(), early.clone(), late.clone()]));
    let refused = transact(1, 6, &[(0, Must::Absent)], &[(0, Some(2))], Told::Refused(0));
    assert!(is_linearizable(&[put.clone(), refused, late.clone()]));
    // Of unknown outcome: it happened late, or never.
    let unknown = transact(0, 1, &[], &[(2, Some(9))], Told::Unknown);
    assert!(is_linearizable(&[put.clone(), unknown.clone(), late.clone()]));
    assert!(is_linearizable(&[put, unknown, late, read(6, 7, [Some(1), Some(1), Some(9)])]));
}

#[test]
fn the_judge_refuses_what_no_order_explains() {
    let put = |told| transact(0, 1, &[], &[(0, Some(1)), (1, Some(1))], told);
    // A stale read.
    assert!(!is_linearizable(&[put(Told::Done), read(2, 3, [None; 3])]));
    // A torn one.
    assert!(!is_linearizable(&[put(Told::Unknown), read(0, 3, [Some(1), None, None])]));
    // One that goes back.
    let slow = transact(0, 9, &[], &[(0, Some(1))], Told::Done);
    assert!(!is_linearizable(&[slow, read(1, 2, [Some(1), None, None]), read(3, 4, [None; 3])]));
    // An unknown outcome that happens twice.
    let again = transact(4, 5, &[], &[(0, None), (1, None)], Told::Done);
    let history = [
        put(Told::Unknown),
        read(2, 3, [Some(1), Some(1), None]),
        again,
        read(6, 7, [Some(1), Some(1), None]),
    ];
    assert!(!is_linearizable(&history));
    // Two that both replace the same version: an update is lost.
    let made = transact(0, 1, &[], &[(0, Some(1))], Told::Done);
    let replace = |write| transact(2, 5, &[(0, Must::Hold(1))], &[(0, Some(write))], Told::Done);
    assert!(!is_linearizable(&[made.clone(), replace(2), replace(3)]));
    // A refusal whose check held all the time.
    let refused = transact(2, 3, &[(0, Must::Exist)], &[(0, Some(4))], Told::Refused(0));
    assert!(!is_linearizable(&[made, refused]));
}

async fn many(engine: Arc<dyn Kv>) {
    let engines = [engine];
    let mut recorded = 0;
    for seed in 0..40 {
        recorded += judge(&engines, &format!("h{seed}"), Plan { clients: 5, operations: 16, seed }).await.0;
    }
    assert!(recorded > 1000, "{recorded}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn memory() {
    many(Arc::new(MemKv::new())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn embedded() {
    let root = tempfile::tempdir().unwrap();
    many(Arc::new(FjallKv::open(root.path(), FjallConfig::default()).unwrap())).await;
}
