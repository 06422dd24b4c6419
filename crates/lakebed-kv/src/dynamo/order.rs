//! Whose turn it is among the transactions of this server.
//!
//! DynamoDB cancels a transaction that meets another one at work on the same item. Under load a seal, which deletes sixteen
//! gates that every staged write checks, would seldom find all of them free. Here it waits for those before it, those behind it
//! wait, and nobody is cancelled for a neighbour's sake. It is about speed only.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Weak};

use parking_lot::Mutex;
use tokio::sync::{OwnedRwLockReadGuard, OwnedRwLockWriteGuard, RwLock};

use crate::{Key, Transaction};

/// Entries of keys nobody holds are cleared away when there are this many.
const MANY: usize = 1024;

/// The keys that are being checked and written.
#[derive(Default)]
pub(super) struct Order(Mutex<Keys>);

#[derive(Default)]
struct Keys {
    locks: HashMap<Key, Weak<RwLock<()>>>,
    clear_at: usize,
}

/// Held while a transaction is at work.
#[expect(dead_code, reason = "guards are held, not read")]
pub(super) enum Held {
    Shared(OwnedRwLockReadGuard<()>),
    Alone(OwnedRwLockWriteGuard<()>),
}

impl Order {
    fn lock(&self, key: &Key) -> Arc<RwLock<()>> {
        let mut keys = self.0.lock();
        if let Some(lock) = keys.locks.get(key).and_then(Weak::upgrade) {
            return lock;
        }
        if keys.locks.len() >= keys.clear_at.max(MANY) {
            keys.locks.retain(|_, lock| lock.strong_count() > 0);
            keys.clear_at = keys.locks.len() * 2;
        }
        let lock = Arc::new(RwLock::new(()));
        keys.locks.insert(key.clone(), Arc::downgrade(&lock));
        lock
    }

    /// Waits until no other transaction at work writes what this one names, or names what it writes. In the order of keys,
    /// so nobody waits in a circle.
    pub(super) async fn turn(&self, transaction: &Transaction) -> Vec<Held> {
        let mut keys: BTreeMap<&Key, bool> = transaction.checks.iter().map(|(key, _)| (key, false)).collect();
        keys.extend(transaction.writes.iter().map(|(key, _)| (key, true)));
        let mut held = Vec::with_capacity(keys.len());
        for (key, alone) in keys {
            let lock = self.lock(key);
            held.push(if alone {
                Held::Alone(lock.write_owned().await)
            } else {
                Held::Shared(lock.read_owned().await)
            });
        }
        held
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;
    use crate::Check;

    #[tokio::test]
    async fn writers_go_alone_and_those_who_check_together() {
        let order = Order::default();
        let check = |row: &'static str| Transaction::new().check("gate", Check::Exists).put(row, "");
        let seal = Transaction::new().delete("gate");
        let one = order.turn(&check("a")).now_or_never().unwrap();
        let two = order.turn(&check("b")).now_or_never().unwrap();
        assert!(order.turn(&check("a")).now_or_never().is_none(), "it writes the same row");
        let mut sealing = Box::pin(order.turn(&seal));
        assert!((&mut sealing).now_or_never().is_none());
        assert!(order.turn(&check("c")).now_or_never().is_none(), "it came behind the seal");
        drop((one, two));
        let sealed = sealing.now_or_never().unwrap();
        drop(sealed);
        assert!(order.turn(&check("c")).now_or_never().is_some());
        for n in 0..10_000_u32 {
            drop(order.turn(&Transaction::new().delete(n.to_be_bytes().to_vec())).await);
        }
        assert!(order.0.lock().locks.len() <= 2 * MANY);
    }
}
