//! Where a key lies in the table: partition and sort key.
//!
//! DynamoDB orders items by their sort key (bytes, at most 1,024) within a partition only, and a partition takes about
//! 1,000 writes a second. So:
//!
//! - A key of at most [`SHORT`] bytes lies in one of [`SHARDS`] partitions, by its hash, and *is* its sort key. A scan asks
//!   all of them at once and merges; keys written together, such as the rows of one layer, are spread.
//! - A longer one is taken apart: its first [`SHORT`] bytes name a partition of its own, a *group*, and the rest is the sort
//!   key. Among the short keys a *sign* says that the group is there: the group's name and a byte more, so that it sorts
//!   where all keys of the group do, and is told from every short key by its length. It is written with every key of its
//!   group, in the same transaction.
//!
//! What a table holds was written so: none of this can change without a new format ([`super::table`]).

use bytes::Bytes;
use xxhash_rust::xxh3::xxh3_64;

use crate::KeyRange;

/// Partitions of short keys.
pub(super) const SHARDS: u8 = 16;

/// The longest key that is a sort key by itself; a sign is a byte longer.
pub(super) const SHORT: usize = 1022;

/// The longest key: the rest behind a group's name must be a sort key.
pub(super) const LONGEST: usize = SHORT + 1024;

const SIGN: u8 = 1;

/// The two parts of an item's primary key.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    pub(super) partition: Vec<u8>,
    pub(super) sort: Vec<u8>,
}

/// The partition of short keys with this number.
pub(super) fn shard(number: u8) -> Vec<u8> {
    vec![b'k', number]
}

fn shard_of(key: &[u8]) -> Vec<u8> {
    shard((xxh3_64(key) % u64::from(SHARDS)) as u8)
}

/// The partition of the long keys that begin so.
pub(super) fn group(name: &[u8]) -> Vec<u8> {
    [b"l", name].concat()
}

/// Where the piece `number` of a large value lies.
pub(super) fn piece(handle: &[u8], number: u16) -> Place {
    Place { partition: [b"c", handle].concat(), sort: number.to_be_bytes().to_vec() }
}

/// Where it is noted that a large value has pieces.
pub(super) fn pieces_note(handle: &[u8]) -> Place {
    Place { partition: pieces_notes(), sort: handle.to_vec() }
}

/// The partition of those notes.
pub(super) fn pieces_notes() -> Vec<u8> {
    vec![b'n']
}

/// Where the table's format stands.
pub(super) fn format() -> Place {
    Place { partition: vec![b'f'], sort: vec![b'f'] }
}

/// Where a key lies. It is neither empty nor longer than [`LONGEST`].
pub(super) fn place(key: &[u8]) -> Place {
    match key.split_at_checked(SHORT) {
        Some((name, rest)) if !rest.is_empty() => Place { partition: group(name), sort: rest.to_vec() },
        _ => Place { partition: shard_of(key), sort: key.to_vec() },
    }
}

/// Where the sign of a long key's group lies.
pub(super) fn sign(key: &[u8]) -> Option<Place> {
    let (name, rest) = key.split_at_checked(SHORT)?;
    (!rest.is_empty()).then(|| Place { partition: shard_of(name), sort: [name, &[SIGN]].concat() })
}

/// What a sort key among the short ones is.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Sorted<'a> {
    Key(&'a [u8]),
    /// The sign of the group with this name.
    Group(&'a [u8]),
}

/// What a sort key among the short ones is.
pub(super) fn sorted(sort: &[u8]) -> Sorted<'_> {
    match sort.split_at_checked(SHORT) {
        Some((name, [SIGN])) => Sorted::Group(name),
        _ => Sorted::Key(sort),
    }
}

/// Bounds of sort keys, both inclusive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Bounds {
    pub(super) first: Option<Vec<u8>>,
    pub(super) last: Option<Vec<u8>>,
}

fn bound(key: &[u8]) -> Vec<u8> {
    match key.split_at_checked(SHORT) {
        Some((name, rest)) if !rest.is_empty() => [name, &[SIGN]].concat(),
        _ => key.to_vec(),
    }
}

/// Between which sort keys of the short ones the keys of a range and the signs of their groups lie. At the end there may be
/// one that is not of the range.
pub(super) fn short_bounds(range: &KeyRange) -> Bounds {
    let first = (!range.start.is_empty()).then(|| bound(&range.start));
    Bounds { first, last: range.end.as_deref().map(bound) }
}

/// Between which sort keys of a group the keys of a range lie, one behind it perhaps; `None`: nothing of the group is in it.
pub(super) fn group_bounds(name: &[u8], range: &KeyRange) -> Option<Bounds> {
    let within = |key: &Bytes| key.strip_prefix(name).filter(|rest| !rest.is_empty()).map(<[u8]>::to_vec);
    let first = within(&range.start);
    if first.is_none() && range.start[..] > *name && !range.start.starts_with(name) {
        return None;
    }
    let last = match &range.end {
        None => None,
        Some(end) => match within(end) {
            Some(rest) => Some(rest),
            None if **end > *name => None,
            None => return None,
        },
    };
    Some(Bounds { first, last })
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    /// Short and long ones, many alike up to where the two part.
    fn keys() -> impl Strategy<Value = Vec<u8>> {
        let end = prop::collection::vec(prop::sample::select(vec![0, 1, 2, b'a', 254, 255]), 0..6);
        let length = prop_oneof![0..8_usize, SHORT - 6..SHORT + 4, Just(LONGEST - 6)];
        (prop::sample::select(vec![0, 1, b'a', 255]), length, end).prop_map(|(fill, length, end)| {
            let mut key = vec![fill; length];
            key.extend(end);
            if key.is_empty() { vec![fill] } else { key }
        })
    }

    type Table = BTreeMap<Vec<u8>, BTreeSet<Vec<u8>>>;

    fn table(keys: &[Vec<u8>]) -> Table {
        let mut table = Table::new();
        for key in keys {
            for Place { partition, sort } in std::iter::once(place(key)).chain(sign(key)) {
                assert!((1..=2048).contains(&partition.len()) && (1..=1024).contains(&sort.len()));
                table.entry(partition).or_default().insert(sort);
            }
        }
        table
    }

    fn between(table: &Table, partition: &[u8], bounds: &Bounds) -> Vec<Vec<u8>> {
        let Some(items) = table.get(partition) else { return Vec::new() };
        let inside = |sort: &&Vec<u8>| {
            bounds.first.as_ref().is_none_or(|first| *sort >= first)
                && bounds.last.as_ref().is_none_or(|last| *sort <= last)
        };
        items.iter().filter(inside).cloned().collect()
    }

    /// What the layout says of a range, without pages.
    fn scan(table: &Table, range: &KeyRange) -> Vec<Vec<u8>> {
        let bounds = short_bounds(range);
        let mut merged: Vec<Vec<u8>> =
            (0..SHARDS).flat_map(|number| between(table, &shard(number), &bounds)).collect();
        merged.sort();
        let mut found = Vec::new();
        for sort in merged {
            match sorted(&sort) {
                Sorted::Key(key) => found.push(key.to_vec()),
                Sorted::Group(name) => {
                    let Some(bounds) = group_bounds(name, range) else { continue };
                    let rests = between(table, &group(name), &bounds);
                    found.extend(rests.into_iter().map(|rest| [name, &rest].concat()));
                }
            }
        }
        found.retain(|key| range.end.as_ref().is_none_or(|end| key[..] < **end));
        found
    }

    proptest! {
        #[test]
        fn every_range_is_found_whole_and_in_order(
            mut present in prop::collection::vec(keys(), 0..40),
            start in prop::option::of(keys()),
            end in prop::option::of(keys()),
        ) {
            let table = table(&present);
            let range = KeyRange { start: start.unwrap_or_default().into(), end: end.map(Bytes::from) };
            prop_assume!(range.end.as_ref().is_none_or(|end| range.start < *end));
            present.sort();
            present.dedup();
            present.retain(|key| key[..] >= *range.start && range.end.as_ref().is_none_or(|end| key[..] < **end));
            prop_assert_eq!(scan(&table, &range), present);
        }

        #[test]
        fn places_are_told_apart(one in keys(), two in keys()) {
            prop_assert_eq!(place(&one) == place(&two), one == two);
            for sign in sign(&one).into_iter().chain(sign(&two)) {
                prop_assert!(sign != place(&one) && sign != place(&two));
            }
        }
    }

    #[test]
    fn the_layout_is_what_tables_hold() {
        assert_eq!(place(b"row"), Place { partition: vec![b'k', 13], sort: b"row".to_vec() });
        let shards: std::collections::BTreeSet<_> =
            (0..1000_u32).map(|n| place(&n.to_be_bytes()).partition).collect();
        assert_eq!(shards.len(), usize::from(SHARDS));
    }
}
