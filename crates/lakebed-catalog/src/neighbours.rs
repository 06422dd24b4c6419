//! Rows at many keys that probably lie side by side: the refs of a page of names.

use bytes::Bytes;
use lakebed_kv::{KeyRange, Kv, KvError, Row, Versioned};

use crate::sweep::after;

/// The rows at ascending keys, in their order, each as it was at some instant since the call.
///
/// One scan over all of them costs an engine a fraction of as many look-ups. What it does not come to, because too many
/// others lie between, is looked up.
pub(crate) async fn rows_at(kv: &dyn Kv, keys: &[Bytes]) -> Result<Vec<Option<Versioned>>, KvError> {
    let (Some(first), Some(last)) = (keys.first(), keys.last()) else { return Ok(Vec::new()) };
    let most = 2 * keys.len();
    let rows = kv.scan(&KeyRange { start: first.clone(), end: Some(after(last)) }, most).await?;
    let reached = match rows.last() {
        Some(row) if rows.len() == most => keys.partition_point(|key| *key <= row.key),
        _ => keys.len(),
    };
    let mut found = Vec::with_capacity(keys.len());
    let mut rows = rows.into_iter().peekable();
    for key in &keys[..reached] {
        while rows.next_if(|row| row.key < *key).is_some() {}
        let row = rows.next_if(|row| row.key == *key);
        found.push(row.map(|Row { value, version, .. }| Versioned { value, version }));
    }
    if reached < keys.len() {
        found.extend(kv.get_many(&keys[reached..]).await?);
    }
    Ok(found)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)] // tests say what they expect by panicking
mod tests {
    use std::collections::BTreeSet;

    use lakebed_kv::{MemKv, Transaction};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn the_same_as_looked_up(there in proptest::collection::btree_set(0u8..60, 0..60),
                                 asked in proptest::collection::btree_set(0u8..60, 0..20)) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            let keys = |of: &BTreeSet<u8>| of.iter().map(|n| Bytes::copy_from_slice(&[*n])).collect::<Vec<_>>();
            runtime.block_on(async {
                let kv = MemKv::new();
                for key in keys(&there) {
                    kv.transact(Transaction::new().put(key.clone(), key)).await.unwrap();
                }
                let asked = keys(&asked);
                let (found, expected) = (rows_at(&kv, &asked).await.unwrap(), kv.get_many(&asked).await.unwrap());
                prop_assert_eq!(found, expected);
                Ok(())
            })?;
        }
    }
}
