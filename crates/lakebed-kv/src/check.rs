//! What every engine asks of a transaction before it looks at any state, and how a check is decided.

use std::collections::HashSet;

use foldhash::quality::RandomState;

use crate::{Check, KvError, Limits, Transaction, Version, Write};

/// Refuses transactions that break the contract: a key named twice, `Absent` without a write, too much.
pub fn well_formed(transaction: &Transaction, limits: &Limits) -> Result<(), KvError> {
    let items = transaction.checks.len() + transaction.writes.len();
    if items > limits.max_items {
        return Err(KvError::Invalid(format!("{items} items, at most {} are taken", limits.max_items)));
    }
    let mut bytes = 0;
    let mut longest = 0;
    let mut written = Names::with_capacity(transaction.writes.len());
    for (key, write) in &transaction.writes {
        bytes += key.len();
        longest = longest.max(key.len());
        if let Write::Put(value) = write {
            bytes += value.len();
        }
        if !written.insert(key) {
            return Err(KvError::Invalid("a key is written twice".to_owned()));
        }
    }
    let mut checked = Names::with_capacity(transaction.checks.len());
    for (key, check) in &transaction.checks {
        bytes += key.len();
        longest = longest.max(key.len());
        if !checked.insert(key) {
            return Err(KvError::Invalid("a key is checked twice".to_owned()));
        }
        if *check == Check::Absent && !written.contains(key) {
            return Err(KvError::Invalid("absence is checked of a key that is not written".to_owned()));
        }
    }
    if longest > limits.max_key_bytes {
        return Err(KvError::Invalid(format!("a key of {longest} bytes, at most {}", limits.max_key_bytes)));
    }
    if bytes > limits.max_bytes {
        return Err(KvError::Invalid(format!("{bytes} bytes, at most {} are taken", limits.max_bytes)));
    }
    Ok(())
}

/// Keys met so far. Most transactions have a handful: comparing them is cheaper than hashing them.
enum Names<'a> {
    Few(Vec<&'a [u8]>),
    Many(HashSet<&'a [u8], RandomState>),
}

impl<'a> Names<'a> {
    fn with_capacity(keys: usize) -> Self {
        if keys <= 16 {
            Self::Few(Vec::with_capacity(keys))
        } else {
            Self::Many(HashSet::with_capacity_and_hasher(keys, RandomState::default()))
        }
    }

    /// False: it was there.
    fn insert(&mut self, key: &'a [u8]) -> bool {
        match self {
            Self::Few(keys) => {
                let new = !keys.contains(&key);
                keys.push(key);
                new
            }
            Self::Many(keys) => keys.insert(key),
        }
    }

    fn contains(&self, key: &[u8]) -> bool {
        match self {
            Self::Few(keys) => keys.contains(&key),
            Self::Many(keys) => keys.contains(key),
        }
    }
}

/// Whether a check holds of a key that is at `version` now (`None`: absent).
pub fn verdict(check: Check, version: Option<Version>) -> bool {
    match check {
        Check::Absent => version.is_none(),
        Check::Exists => version.is_some(),
        Check::Version(wanted) => version == Some(wanted),
    }
}
