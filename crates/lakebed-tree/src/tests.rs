//! The tree against a naive map, and the tests that prove the boundary rule (`formats.md`, Boundaries).

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use lakebed_core::NodeId;
use proptest::prelude::*;

use crate::boundary::Rule;
use crate::canonical::check_by;
use crate::edit::edit_by;
use crate::{
    Cursor, Diff, Edit, EditList, Identity, MemNodeStore, Node, NodeStore, Resolution, ThreeWay, aggregate,
    empty_tree, lookup, merge,
};

type Map = BTreeMap<Vec<u8>, Vec<u8>>;
type Edits = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

async fn apply(store: &Arc<MemNodeStore>, rule: Rule, root: &NodeId, edits: &Edits) -> NodeId {
    let list = edits
        .iter()
        .map(|(key, value)| Edit { key: key.clone().into(), value: value.clone().map(Bytes::from) })
        .collect();
    edit_by(rule, &**store, root, &mut EditList::new(list)).await.unwrap().root
}

async fn scratch(store: &Arc<MemNodeStore>, rule: Rule, map: &Map) -> NodeId {
    let edits = map.iter().map(|(k, v)| (k.clone(), Some(v.clone()))).collect();
    apply(store, rule, &empty_tree(), &edits).await
}

fn key() -> impl Strategy<Value = Vec<u8>> {
    proptest::collection::vec(prop_oneof![Just(b'a'), Just(b'b'), Just(b'/'), Just(0u8), Just(255u8)], 1..6)
}

fn value() -> impl Strategy<Value = Vec<u8>> {
    (any::<u8>(), 0usize..40).prop_map(|(byte, length)| vec![byte; length])
}

#[derive(Clone, Debug)]
enum Batch {
    Edits(Edits),
    DeleteRange(Vec<u8>, Vec<u8>),
    DeleteAll,
    Append(Vec<Vec<u8>>),
}

fn batch() -> impl Strategy<Value = Batch> {
    let edits = |most| {
        proptest::collection::btree_map(key(), proptest::option::weighted(0.7, value()), 0..most)
            .prop_map(Batch::Edits)
    };
    prop_oneof![
        4 => edits(5),
        3 => edits(300),
        2 => (key(), key()).prop_map(|(a, b)| Batch::DeleteRange(a.clone().min(b.clone()), a.max(b))),
        1 => Just(Batch::DeleteAll),
        2 => proptest::collection::vec(value(), 1..60).prop_map(Batch::Append),
    ]
}

fn edits_of(batch: &Batch, map: &Map) -> Edits {
    match batch {
        Batch::Edits(edits) => edits.clone(),
        Batch::DeleteRange(from, to) => {
            map.range(from.clone()..=to.clone()).map(|(key, _)| (key.clone(), None)).collect()
        }
        Batch::DeleteAll => map.keys().map(|key| (key.clone(), None)).collect(),
        Batch::Append(values) => {
            let last = map.keys().next_back().cloned().unwrap_or_default();
            values
                .iter()
                .enumerate()
                .map(|(n, value)| {
                    let mut key = last.clone();
                    key.extend_from_slice(format!("~{n:04}").as_bytes());
                    (key, Some(value.clone()))
                })
                .collect()
        }
    }
}

fn apply_to(map: &mut Map, edits: &Edits) {
    for (key, value) in edits {
        match value {
            Some(value) => drop(map.insert(key.clone(), value.clone())),
            None => drop(map.remove(key)),
        }
    }
}

async fn contents(store: &Arc<MemNodeStore>, root: &NodeId) -> Map {
    let mut cursor = Cursor::new(store.clone(), *root);
    cursor.seek(b"").await.unwrap();
    let mut all = Map::new();
    while let (Some(key), Some(value)) = (cursor.key(), cursor.value()) {
        assert!(all.insert(key.to_vec(), value.to_vec()).is_none());
        cursor.advance().await.unwrap();
    }
    all
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 120, ..ProptestConfig::default() })]

    #[test]
    fn a_tree_is_the_same_whatever_order_its_edits_came_in(batches in proptest::collection::vec(batch(), 1..8)) {
        block_on(async {
            let store = MemNodeStore::new();
            let (mut root, mut map) = (empty_tree(), Map::new());
            for batch in &batches {
                let edits = edits_of(batch, &map);
                root = apply(&store, Rule::SMALL, &root, &edits).await;
                apply_to(&mut map, &edits);
                assert_eq!(contents(&store, &root).await, map);
                assert_eq!(root, scratch(&store, Rule::SMALL, &map).await, "not the tree built from scratch");
                check_by(Rule::SMALL, &*store, &root).await.unwrap();
            }
        });
    }

    #[test]
    fn looking_up_seeking_and_counting_agree_with_a_map(
        map in proptest::collection::btree_map(key(), value(), 0..200),
        probes in proptest::collection::vec(key(), 1..30),
    ) {
        block_on(async {
            let store = MemNodeStore::new();
            let root = scratch(&store, Rule::SMALL, &map).await;
            let mut cursor = Cursor::new(store.clone(), root);
            for (n, probe) in probes.iter().enumerate() {
                let found = lookup(&*store, &root, probe).await.unwrap();
                assert_eq!(found.as_deref(), map.get(probe).map(Vec::as_slice));
                cursor.seek(probe).await.unwrap();
                let mut expected = map.range(probe.clone()..);
                for _ in 0..=n % 5 {
                    let next = expected.next();
                    assert_eq!(cursor.key(), next.map(|(key, _)| key.as_slice()));
                    assert_eq!(cursor.value().as_deref(), next.map(|(_, value)| value.as_slice()));
                    cursor.advance().await.unwrap();
                }
                let end = &probes[(n * 7) % probes.len()];
                let sum = aggregate(&*store, &root, probe, Some(end)).await.unwrap();
                let within = |key: &Vec<u8>| key >= probe && key < end;
                let count = map.keys().filter(|key| within(key)).count() as u64;
                let bytes: usize = map.iter().filter(|(key, _)| within(key)).map(|(_, v)| v.len()).sum();
                assert_eq!((sum.count, sum.bytes), (count, bytes as u64));
            }
        });
    }

    #[test]
    fn a_diff_is_what_differs(
        left in proptest::collection::btree_map(key(), value(), 0..150),
        edits in proptest::collection::btree_map(key(), proptest::option::of(value()), 0..40),
        from in key(),
        end in key(),
    ) {
        block_on(async {
            let store = MemNodeStore::new();
            let left_root = scratch(&store, Rule::SMALL, &left).await;
            let right_root = apply(&store, Rule::SMALL, &left_root, &edits).await;
            let mut right = left.clone();
            apply_to(&mut right, &edits);
            let keys: std::collections::BTreeSet<_> = left.keys().chain(right.keys()).cloned().collect();
            let expected: Vec<_> = keys
                .into_iter()
                .filter(|key| left.get(key) != right.get(key))
                .map(|key| (key.clone(), left.get(&key).cloned(), right.get(&key).cloned()))
                .collect();
            for (seek, until) in [(None, None), (Some(&from), None), (None, Some(&end)), (Some(&from), Some(&end))] {
                let mut diff = Diff::new(store.clone(), left_root, right_root).until(until.cloned());
                if let Some(from) = seek {
                    diff.seek(from);
                }
                let mut got = Vec::new();
                while let Some(item) = diff.next().await.unwrap() {
                    got.push((item.key, item.left.map(|v| v.to_vec()), item.right.map(|v| v.to_vec())));
                }
                let within = |key| seek.is_none_or(|from| key >= from) && until.is_none_or(|end| key < end);
                let wanted: Vec<_> = expected.iter().filter(|(key, ..)| within(key)).cloned().collect();
                assert_eq!(got, wanted);
                assert_eq!(diff.next().await.unwrap(), None, "what ended begins again");
            }
        });
    }

    #[test]
    fn hostile_bytes_are_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200), cut in 0usize..100) {
        let id = NodeId::digest(&bytes);
        let mut stored = (bytes.len() as u32).to_le_bytes().to_vec();
        stored.extend(zstd::bulk::compress(&bytes, 1).unwrap());
        prop_assert!(Node::decode(&id, &stored).is_err());
        stored.truncate(cut);
        prop_assert!(Node::decode(&id, &stored).is_err());
    }

    #[test]
    fn a_damaged_node_is_never_read(flip in 0usize..2000, byte in 1u8..=255) {
        let map: Map = (0u8..40).map(|n| (vec![n, n / 2], vec![n; 9])).collect();
        block_on(async {
            let store = MemNodeStore::new();
            let root = scratch(&store, Rule::FORMAT, &map).await;
            let mut stored = store.load(&root).await.unwrap().to_stored().unwrap().to_vec();
            let at = flip % stored.len();
            stored[at] ^= byte;
            if let Ok(node) = Node::decode(&root, &stored) {
                // Compression may read the same bytes out of changed ones; then they are the right ones.
                assert_eq!(node.id(), &root);
                assert_eq!(node.len(), map.len());
            }
        });
    }
}

/// Values are the same if their first byte is: the rest stands for what does not count.
struct FirstByte;

impl Identity for FirstByte {
    fn same(&self, a: &[u8], b: &[u8]) -> bool {
        a.first() == b.first()
    }
}

fn naive_merge(trees: &ThreeWay<Map>, strategy: &Resolution) -> Result<Map, u64> {
    if trees.base == trees.destination && trees.base != trees.source {
        return Ok(trees.source.clone());
    }
    let same = |a: Option<&Vec<u8>>, b: Option<&Vec<u8>>| match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => a.first() == b.first(),
        _ => false,
    };
    let keys: std::collections::BTreeSet<_> =
        trees.base.keys().chain(trees.source.keys()).chain(trees.destination.keys()).collect();
    let (mut merged, mut conflicts) = (Map::new(), 0);
    for key in keys {
        let (b, s, d) = (trees.base.get(key), trees.source.get(key), trees.destination.get(key));
        let result = if same(b, s) {
            d
        } else if same(s, d) || same(b, d) {
            s
        } else {
            match strategy {
                Resolution::Source => s,
                Resolution::Destination => d,
                Resolution::Value(_) => b,
                Resolution::Conflict => {
                    conflicts += 1;
                    d
                }
            }
        };
        if let Some(value) = result {
            merged.insert(key.clone(), value.clone());
        }
    }
    if conflicts == 0 { Ok(merged) } else { Err(conflicts) }
}

type Keep<'a> = &'a dyn Fn(Option<&Vec<u8>>, Option<&Vec<u8>>) -> bool;

async fn merge_maps(trees: &ThreeWay<Map>, strategy: Resolution) -> Result<Map, u64> {
    let store = MemNodeStore::new();
    let roots = ThreeWay {
        base: scratch(&store, Rule::FORMAT, &trees.base).await,
        source: scratch(&store, Rule::FORMAT, &trees.source).await,
        destination: scratch(&store, Rule::FORMAT, &trees.destination).await,
    };
    // A value is the base's, as one example of what neither side has.
    let mut resolve = |_: &[u8], sides: ThreeWay<Option<&[u8]>>| match &strategy {
        Resolution::Value(_) => Resolution::Value(sides.base.map(Bytes::copy_from_slice)),
        strategy => strategy.clone(),
    };
    let mut told = Vec::new();
    let changed = &mut |key: &[u8]| told.push(key.to_vec());
    let merged = merge(store.clone(), roots, &FirstByte, &mut resolve, changed).await.unwrap();
    if merged.conflicts > 0 {
        return Err(merged.conflicts);
    }
    let map = contents(&store, &merged.root).await;
    let count = |keep: Keep<'_>| {
        let keys: std::collections::BTreeSet<_> = map.keys().chain(trees.destination.keys()).collect();
        keys.into_iter().filter(|key| keep(trees.destination.get(*key), map.get(*key))).count() as u64
    };
    assert_eq!(merged.added, count(&|old, new| old.is_none() && new.is_some()));
    assert_eq!(merged.removed, count(&|old, new| old.is_some() && new.is_none()));
    assert_eq!(merged.root, scratch(&store, Rule::FORMAT, &map).await);
    let all: std::collections::BTreeSet<_> = map.keys().chain(trees.destination.keys()).cloned().collect();
    let differs = |key: &Vec<u8>| match (trees.destination.get(key), map.get(key)) {
        (None, None) => false,
        (Some(old), Some(new)) => old.first() != new.first(),
        _ => true,
    };
    assert_eq!(told, all.into_iter().filter(differs).collect::<Vec<_>>());
    Ok(map)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn merging_follows_the_three_way_table(
        base in proptest::collection::btree_map("[a-f]", "[1-3][xy]?", 0..6),
        source in proptest::collection::btree_map("[a-f]", proptest::option::of("[1-3][xy]?"), 0..4),
        destination in proptest::collection::btree_map("[a-f]", proptest::option::of("[1-3][xy]?"), 0..4),
        strategy in prop_oneof![
            Just(Resolution::Source),
            Just(Resolution::Destination),
            Just(Resolution::Value(None)),
            Just(Resolution::Conflict),
        ],
    ) {
        let bytes = |map: BTreeMap<String, String>| -> Map {
            map.into_iter().map(|(k, v)| (k.into_bytes(), v.into_bytes())).collect()
        };
        let base = bytes(base);
        let side = |edits: BTreeMap<String, Option<String>>| {
            let mut map = base.clone();
            let edits = edits.into_iter().map(|(k, v)| (k.into_bytes(), v.map(String::into_bytes))).collect();
            apply_to(&mut map, &edits);
            map
        };
        let trees = ThreeWay { source: side(source), destination: side(destination), base: base.clone() };
        block_on(async { assert_eq!(merge_maps(&trees, strategy.clone()).await, naive_merge(&trees, &strategy)) });
    }
}

#[test]
fn a_key_only_the_destination_has_survives_next_to_a_deletion_at_the_end_of_the_source() {
    let map =
        |keys: &[&str]| -> Map { keys.iter().map(|k| (k.as_bytes().to_vec(), b"1".to_vec())).collect() };
    let trees = ThreeWay { base: map(&["a", "d"]), source: map(&["a"]), destination: map(&["a", "b", "d"]) };
    block_on(async { assert_eq!(merge_maps(&trees, Resolution::Conflict).await, Ok(map(&["a", "b"]))) });
}

fn large(entries: u32) -> Map {
    (0..entries)
        .map(|n| {
            let digest = lakebed_core::NodeId::digest(&n.to_le_bytes());
            let key = format!("tables/events/date=2026-{:02}/part-{n:08}.parquet", n % 12);
            (key.into_bytes(), digest.as_bytes().repeat(2)[..60].to_vec())
        })
        .collect()
}

#[test]
fn ids_of_the_format_are_pinned() {
    block_on(async {
        let store = MemNodeStore::new();
        assert_eq!(empty_tree().to_hex(), "e34a52cc20f066000681a7bd29dc5e8f8a7c9709c91622fd3c7eb209dbc764fa");
        let root = scratch(&store, Rule::FORMAT, &large(20_000)).await;
        assert_eq!(root.to_hex(), "07821b9982503fd088348fffb166fad7ca1dfa0f1ef123652d1681ca8ce0d167");
        check_by(Rule::FORMAT, &*store, &root).await.unwrap();
    });
}

#[test]
fn an_edit_rewrites_only_its_neighbourhood() {
    block_on(async {
        let store = MemNodeStore::new();
        let map = large(60_000);
        let root = scratch(&store, Rule::FORMAT, &map).await;
        let (mut written, mut loads, edits) = (0, 0, 300u32);
        for n in 0..edits {
            let key = format!("tables/events/date=2026-{:02}/part-{:08}.new", n % 12, n * 199);
            let change = Edit { key: key.into(), value: Some(Bytes::from_static(&[7; 60])) };
            let before = store.loads();
            let edited = crate::edit(&*store, &root, &mut EditList::new(vec![change])).await.unwrap();
            loads += store.loads() - before;
            written += edited.nodes_written;
        }
        // One leaf and one root each, hardly ever more (`formats.md`: 1.010 leaves on average).
        assert!(written <= u64::from(edits) * 2 + 12, "{written} nodes for {edits} edits");
        assert!(loads <= u64::from(edits) * 3 + 12, "{loads} loads for {edits} edits");
    });
}

#[test]
fn a_diff_of_one_change_loads_two_paths() {
    block_on(async {
        let store = MemNodeStore::new();
        let map = large(60_000);
        let left = scratch(&store, Rule::FORMAT, &map).await;
        let key = map.keys().nth(31_234).unwrap().clone();
        let right = apply(&store, Rule::FORMAT, &left, &Edits::from([(key.clone(), None)])).await;
        let before = store.loads();
        let mut diff = Diff::new(store.clone(), left, right);
        assert_eq!(diff.next().await.unwrap().unwrap().key, key);
        assert_eq!(diff.next().await.unwrap(), None);
        assert!(store.loads() - before <= 6, "{} loads", store.loads() - before);
    });
}

#[test]
fn a_diff_of_a_range_loads_only_the_way_to_it() {
    block_on(async {
        let store = MemNodeStore::new();
        let map = large(60_000);
        let left = scratch(&store, Rule::FORMAT, &map).await;
        let keys: Vec<_> = map.keys().collect();
        let edits = [100, 59_000].map(|n| (keys[n].clone(), None));
        let right = apply(&store, Rule::FORMAT, &left, &Edits::from(edits)).await;
        let height = u64::from(store.load(&left).await.unwrap().level());
        let loads = async |from: &[u8], end: Vec<u8>| {
            let before = store.loads();
            let mut diff = Diff::new(store.clone(), left, right).until(Some(end));
            diff.seek(from);
            let found = diff.next().await.unwrap().is_some();
            assert_eq!(diff.next().await.unwrap(), None);
            (found, store.loads() - before)
        };
        let point = async |key: &[u8]| loads(key, [key, &[0]].concat()).await;
        // Where the trees share a node, not even that is loaded: the two roots tell.
        assert_eq!(point(keys[30_000]).await, (false, 2));
        assert_eq!(loads(keys[20_000], keys[40_000].clone()).await, (false, 2));
        assert_eq!(point(keys[100]).await, (true, 2 * (height + 1)));
        assert_eq!(point(keys[101]).await, (false, 2 * (height + 1)));
    });
}

#[test]
fn entries_beyond_the_limit_are_refused() {
    block_on(async {
        let store = MemNodeStore::new();
        let change = |value: usize| Edit { key: "k".into(), value: Some(vec![0; value].into()) };
        let put =
            async |value| crate::edit(&*store, &empty_tree(), &mut EditList::new(vec![change(value)])).await;
        assert!(put((64 << 10) - 1).await.is_ok());
        assert!(put(64 << 10).await.is_err());
    });
}

#[test]
fn what_keys_have_in_common_is_found_at_every_length() {
    let key: Vec<u8> = (0..40).collect();
    for length in 0..=40 {
        for differs in 0..=length {
            let mut other = key[..length].to_vec();
            if let Some(byte) = other.get_mut(differs) {
                *byte ^= 1;
            }
            assert_eq!(crate::common_prefix(&key, &other), differs, "{differs} of {length}");
            assert_eq!(crate::common_prefix(&other, &key), differs);
        }
    }
}
