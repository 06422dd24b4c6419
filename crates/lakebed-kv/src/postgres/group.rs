//! Which transactions go to the database together, and how they are said to it.

use std::collections::{BTreeMap, HashSet, VecDeque};

use crate::{Check, Key, Transaction, Version, Write};

/// The most transactions of one group.
const GROUP: usize = 64;

/// The most checks and writes of one group.
const GROUP_ITEMS: usize = 4096;

/// The most bytes of one group, unless its first transaction alone has more.
const GROUP_BYTES: usize = 4 << 20;

fn size(transaction: &Transaction) -> usize {
    let checks: usize = transaction.checks.iter().map(|(key, _)| key.len()).sum();
    let writes = transaction.writes.iter().map(|(key, write)| match write {
        Write::Put(value) => key.len() + value.len(),
        Write::Delete => key.len(),
    });
    checks + writes.sum::<usize>()
}

/// Takes the first of those that wait, and behind it whatever is independent of all taken: no key that one of them
/// writes is named by another, so each is decided by itself. The rest keeps its order.
pub(super) fn take<T>(waiting: &mut VecDeque<T>, transaction: impl Fn(&T) -> &Transaction) -> Vec<T> {
    let (mut written, mut checked): (HashSet<Key>, HashSet<Key>) = Default::default();
    let (mut items, mut bytes) = (0, 0);
    let mut group = Vec::new();
    let mut left = VecDeque::new();
    while let Some(next) = waiting.pop_front() {
        let this = transaction(&next);
        let count = this.checks.len() + this.writes.len();
        let length = size(this);
        let fits = group.is_empty()
            || (items + count <= GROUP_ITEMS
                && bytes + length <= GROUP_BYTES
                && this.writes.iter().all(|(key, _)| !written.contains(key) && !checked.contains(key))
                && this.checks.iter().all(|(key, _)| !written.contains(key)));
        if !fits {
            left.push_back(next);
            continue;
        }
        items += count;
        bytes += length;
        written.extend(this.writes.iter().map(|(key, _)| key.clone()));
        checked.extend(this.checks.iter().map(|(key, _)| key.clone()));
        group.push(next);
        if group.len() == GROUP {
            break;
        }
    }
    left.append(waiting);
    *waiting = left;
    group
}

/// The arguments of `lakebed_transact` (`schema_1.sql`).
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Call<'a> {
    pub(super) transactions: i32,
    pub(super) lock_keys: Vec<&'a [u8]>,
    pub(super) run_ends: Vec<i32>,
    pub(super) run_strengths: Vec<i16>,
    pub(super) check_numbers: Vec<i32>,
    pub(super) check_keys: Vec<&'a [u8]>,
    pub(super) check_kinds: Vec<i16>,
    pub(super) check_versions: Vec<i64>,
    pub(super) write_numbers: Vec<i32>,
    pub(super) write_keys: Vec<&'a [u8]>,
    pub(super) write_values: Vec<Option<&'a [u8]>>,
    pub(super) write_new: Vec<bool>,
}

/// Row locks, weakest first. Those who only ask whether a row exists do not keep others from rewriting it, nor from asking
/// the same.
const KEY_SHARE: i16 = 0;
const SHARE: i16 = 1;
const NO_KEY_UPDATE: i16 = 2;
const UPDATE: i16 = 3;

impl<'a> Call<'a> {
    pub(super) fn of(group: impl IntoIterator<Item = &'a Transaction>) -> Self {
        let mut call = Self::default();
        // The strongest lock anyone needs, taken at once: one that is raised later is how transactions deadlock.
        let mut locks: BTreeMap<&'a [u8], i16> = BTreeMap::new();
        let mut lock = |key: &'a [u8], strength: i16| {
            let held = locks.entry(key).or_insert(strength);
            *held = strength.max(*held);
        };
        for transaction in group {
            call.transactions += 1;
            let number = call.transactions;
            let mut new: HashSet<&[u8]> = HashSet::new();
            for (key, check) in &transaction.checks {
                let (kind, version, strength) = match check {
                    Check::Absent => {
                        new.insert(key);
                        (0, Version(0), KEY_SHARE)
                    }
                    Check::Exists => (1, Version(0), KEY_SHARE),
                    Check::Version(version) => (2, *version, SHARE),
                };
                lock(key, strength);
                call.check_numbers.push(number);
                call.check_keys.push(key);
                call.check_kinds.push(kind);
                call.check_versions.push(version.0 as i64);
            }
            for (key, write) in &transaction.writes {
                let (value, strength) = match write {
                    Write::Put(value) => (Some(&value[..]), NO_KEY_UPDATE),
                    Write::Delete => (None, UPDATE),
                };
                lock(key, strength);
                call.write_numbers.push(number);
                call.write_keys.push(key);
                call.write_values.push(value);
                call.write_new.push(new.contains(&key[..]));
            }
        }
        for (key, strength) in locks {
            call.lock_keys.push(key);
            let end = call.lock_keys.len() as i32;
            match (call.run_strengths.last(), call.run_ends.last_mut()) {
                (Some(last), Some(run)) if *last == strength => *run = end,
                _ => {
                    call.run_strengths.push(strength);
                    call.run_ends.push(end);
                }
            }
        }
        call
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn staged(row: &str) -> Transaction {
        Transaction::new().check("gate", Check::Exists).put(row.to_owned(), "v")
    }

    fn groups(transactions: Vec<Transaction>) -> Vec<usize> {
        let mut waiting: VecDeque<Transaction> = transactions.into();
        let mut sizes = Vec::new();
        while !waiting.is_empty() {
            sizes.push(take(&mut waiting, |t| t).len());
        }
        sizes
    }

    #[test]
    fn writes_behind_one_gate_go_together_and_those_of_one_key_do_not() {
        assert_eq!(groups(vec![staged("a"), staged("b"), staged("c")]), [3]);
        assert_eq!(groups(vec![staged("a"), staged("a"), staged("b"), staged("a")]), [2, 1, 1]);
        // The gate goes: whoever asks for it is decided before or after.
        assert_eq!(groups(vec![staged("a"), Transaction::new().delete("gate"), staged("b")]), [2, 1]);
        assert_eq!(groups((0..150).map(|n| staged(&n.to_string())).collect()), [64, 64, 22]);
        let large = |n: u8| Transaction::new().put(vec![n], vec![0; GROUP_BYTES]);
        assert_eq!(groups(vec![large(1), large(2), staged("a")]), [1, 1, 1]);
    }

    #[test]
    fn what_waits_keeps_its_order() {
        let mut waiting: VecDeque<Transaction> =
            vec![staged("a"), staged("a").put("1", ""), staged("a").put("2", "")].into();
        take(&mut waiting, |t| t);
        assert_eq!(waiting.iter().map(|t| &t.writes[1].0[..]).collect::<Vec<_>>(), [b"1", b"2"]);
    }

    #[test]
    fn keys_are_locked_once_in_order_as_strongly_as_anyone_needs() {
        let one = Transaction::new()
            .check("m", Check::Version(Version(7)))
            .check("z", Check::Exists)
            .check("new", Check::Absent)
            .put("m", "x")
            .put("new", "y");
        let two = Transaction::new().check("z", Check::Version(Version(u64::MAX))).delete("a");
        let call = Call::of([&one, &two]);
        assert_eq!(call.lock_keys, [&b"a"[..], b"m", b"new", b"z"]);
        assert_eq!((call.run_ends, call.run_strengths), (vec![1, 3, 4], vec![UPDATE, NO_KEY_UPDATE, SHARE]));
        assert_eq!((call.check_numbers, call.check_kinds), (vec![1, 1, 1, 2], vec![2, 1, 0, 2]));
        assert_eq!(call.check_versions, [7, 0, 0, -1]);
        assert_eq!(call.write_values, [Some(&b"x"[..]), Some(b"y"), None]);
        assert_eq!(call.write_new, [false, true, false]);
    }
}
