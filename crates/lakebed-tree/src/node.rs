//! The node: sorted entries, prefix-compressed, searched in place (`formats.md`, Node).
//!
//! | bytes | content |
//! |---|---|
//! | 4 | magic and format number |
//! | 1 | level, 0 = leaf |
//! | 3 | zero |
//! | 4, 4, 4 | entries, restarts, length of the entry area (little-endian) |
//! | 4 x restarts | offset in the entry area of every 16th entry |
//! | the rest | entries: varint shared prefix, varint suffix length, varint value length, suffix, value |
//!
//! The id is the BLAKE3 of exactly these bytes. Stored as their length (4 bytes) and a zstd frame; compression is no
//! part of the id.

use std::cell::RefCell;
use std::io;
use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use lakebed_core::NodeId;
use zstd::bulk::{Compressor, Decompressor};

use crate::TreeError;

const MAGIC: [u8; 4] = *b"LKN1";
const HEADER: usize = 20;

/// Every so many entries a key is stored whole.
const RESTART_EVERY: u32 = 16;

/// The most bytes of a key and its value together.
pub const MAX_ENTRY_BYTES: usize = 64 << 10;

/// The most bytes of an encoded node: the greatest sum at which a node closes, and one entry.
const MAX_NODE_BYTES: usize = (512 << 10) + MAX_ENTRY_BYTES + (8 << 10);

/// zstd level: higher ones cost more and gain nothing on random bytes (`formats.md`).
const COMPRESSION: i32 = 1;

/// Length of an inner node's value: child id, object count, byte sum.
pub(crate) const CHILD_BYTES: usize = 48;

/// A parsed node. Cheap to share; never decoded whole.
#[derive(Debug)]
pub struct Node {
    id: NodeId,
    bytes: Bytes,
    level: u8,
    entries: u32,
    restarts: u32,
    last_key: Box<[u8]>,
}

static EMPTY: LazyLock<Arc<Node>> = LazyLock::new(|| Arc::new(NodeBuilder::new(0).finish()));

/// What an inner node says of a child.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Child {
    pub(crate) id: NodeId,
    pub(crate) count: u64,
    pub(crate) bytes: u64,
}

impl Child {
    pub(crate) fn encode(&self) -> [u8; CHILD_BYTES] {
        let mut out = [0; CHILD_BYTES];
        out[..32].copy_from_slice(self.id.as_bytes());
        out[32..40].copy_from_slice(&self.count.to_le_bytes());
        out[40..].copy_from_slice(&self.bytes.to_le_bytes());
        out
    }

    pub(crate) fn decode(value: &[u8]) -> Option<Self> {
        let value: &[u8; CHILD_BYTES] = value.try_into().ok()?;
        let id: [u8; 32] = value[..32].try_into().ok()?;
        Some(Self {
            id: NodeId::from_bytes(id),
            count: u64::from_le_bytes(value[32..40].try_into().ok()?),
            bytes: u64::from_le_bytes(value[40..].try_into().ok()?),
        })
    }
}

impl Node {
    /// The one empty leaf: the empty tree.
    pub fn empty() -> Arc<Self> {
        EMPTY.clone()
    }

    /// Its id.
    pub fn id(&self) -> &NodeId {
        &self.id
    }

    /// 0 for a leaf.
    pub fn level(&self) -> u8 {
        self.level
    }

    /// How many entries it has.
    pub fn len(&self) -> usize {
        self.entries as usize
    }

    /// Whether it has no entries.
    pub fn is_empty(&self) -> bool {
        self.entries == 0
    }

    /// Roughly how many bytes of memory it takes.
    pub fn size_in_memory(&self) -> usize {
        self.bytes.len() + self.last_key.len() + 128
    }

    /// The greatest key; empty if there is none.
    pub(crate) fn last_key(&self) -> &[u8] {
        &self.last_key
    }

    /// The stored form: length and compressed bytes.
    pub fn to_stored(&self) -> Result<Bytes, TreeError> {
        let compressed = compress(&self.bytes).map_err(|error| TreeError::Store(error.to_string().into()))?;
        let mut out = Vec::with_capacity(4 + compressed.len());
        out.extend_from_slice(&(self.bytes.len() as u32).to_le_bytes());
        out.extend_from_slice(&compressed);
        Ok(out.into())
    }

    /// Parses a stored node: bounds its size before decompressing, verifies that it is the node `id`, and checks every
    /// length once, so that reading it later cannot fail.
    pub fn decode(id: &NodeId, stored: &[u8]) -> Result<Self, TreeError> {
        let damaged = |why| TreeError::Damaged { id: *id, why };
        let (length, frame) = stored.split_first_chunk::<4>().ok_or_else(|| damaged("too short"))?;
        let length = u32::from_le_bytes(*length) as usize;
        if length > MAX_NODE_BYTES {
            return Err(damaged("longer than a node may be"));
        }
        let bytes = decompress(frame, length).map_err(|_| damaged("it does not decompress"))?;
        if NodeId::digest(&bytes) != *id {
            return Err(damaged("its content is not what its id says"));
        }
        Self::parse(*id, bytes.into()).map_err(damaged)
    }

    fn parse(id: NodeId, bytes: Bytes) -> Result<Self, &'static str> {
        let header: &[u8; HEADER] = bytes.first_chunk().ok_or("too short for a header")?;
        if header[..4] != MAGIC || header[5..8] != [0; 3] {
            return Err("its format is unknown: a newer version wrote it, or it is no node");
        }
        let number =
            |at: usize| u32::from_le_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
        let (level, entries, restarts, area) = (header[4], number(8), number(12), number(16));
        if restarts != entries.div_ceil(RESTART_EVERY) {
            return Err("wrong number of restarts");
        }
        if bytes.len() != HEADER + 4 * restarts as usize + area as usize {
            return Err("wrong length");
        }
        let mut node = Self { id, bytes, level, entries, restarts, last_key: Box::default() };
        node.last_key = node.check_entries()?;
        Ok(node)
    }

    /// Walks all entries once: lengths, order, restarts, child values. Gives the last key.
    fn check_entries(&self) -> Result<Box<[u8]>, &'static str> {
        let area = self.area();
        let mut rest = area;
        let mut key: Vec<u8> = Vec::new();
        for index in 0..self.entries {
            let at = area.len() - rest.len();
            let restart = index % RESTART_EVERY == 0;
            if restart && self.restart(index / RESTART_EVERY) != at {
                return Err("wrong restart");
            }
            let raw = RawEntry::read(&mut rest).ok_or("an entry leaves the node")?;
            if raw.shared > key.len() || (restart && raw.shared != 0) {
                return Err("wrong shared prefix");
            }
            let ordered = index == 0 || raw.suffix > &key[raw.shared..];
            if !ordered {
                return Err("keys out of order");
            }
            if self.level > 0 && raw.value.len() != CHILD_BYTES {
                return Err("wrong child");
            }
            key.truncate(raw.shared);
            key.extend_from_slice(raw.suffix);
        }
        if rest.is_empty() { Ok(key.into_boxed_slice()) } else { Err("bytes behind the last entry") }
    }

    fn area(&self) -> &[u8] {
        &self.bytes[HEADER + 4 * self.restarts as usize..]
    }

    fn area_start(&self) -> usize {
        HEADER + 4 * self.restarts as usize
    }

    fn restart(&self, index: u32) -> usize {
        let at = HEADER + 4 * index as usize;
        u32::from_le_bytes([self.bytes[at], self.bytes[at + 1], self.bytes[at + 2], self.bytes[at + 3]])
            as usize
    }

    /// The whole key stored at a restart.
    fn restart_key(&self, index: u32) -> &[u8] {
        let mut rest = &self.area()[self.restart(index)..];
        RawEntry::read(&mut rest).map_or(&[], |raw| raw.suffix)
    }
}

thread_local! {
    // Making a context for every node costs more than compressing a small one: the memory must be cleared each time.
    static COMPRESSOR: RefCell<Option<Compressor<'static>>> = const { RefCell::new(None) };
    static DECOMPRESSOR: RefCell<Option<Decompressor<'static>>> = const { RefCell::new(None) };
}

fn compress(bytes: &[u8]) -> io::Result<Vec<u8>> {
    COMPRESSOR.with_borrow_mut(|kept| match kept {
        Some(kept) => kept.compress(bytes),
        None => kept.insert(Compressor::new(COMPRESSION)?).compress(bytes),
    })
}

fn decompress(frame: &[u8], length: usize) -> io::Result<Vec<u8>> {
    DECOMPRESSOR.with_borrow_mut(|kept| match kept {
        Some(kept) => kept.decompress(frame, length),
        None => kept.insert(Decompressor::new()?).decompress(frame, length),
    })
}

/// How many bytes two keys begin with alike.
pub fn common_prefix(left: &[u8], right: &[u8]) -> usize {
    // Eight at a time: keys that lie side by side begin alike for long.
    let words = left.as_chunks::<8>().0.iter().zip(right.as_chunks::<8>().0);
    let whole = 8 * words.take_while(|(l, r)| l == r).count();
    whole + left[whole..].iter().zip(&right[whole..]).take_while(|(l, r)| l == r).count()
}

/// An entry as it lies in the node.
struct RawEntry<'a> {
    shared: usize,
    suffix: &'a [u8],
    value: &'a [u8],
}

impl<'a> RawEntry<'a> {
    #[inline]
    fn read(rest: &mut &'a [u8]) -> Option<Self> {
        let shared = varint(rest)?;
        let suffix = varint(rest)?;
        let value = varint(rest)?;
        let (suffix, tail) = rest.split_at_checked(suffix)?;
        let (value, tail) = tail.split_at_checked(value)?;
        *rest = tail;
        Some(Self { shared, suffix, value })
    }
}

#[inline]
fn varint(rest: &mut &[u8]) -> Option<usize> {
    let (&first, tail) = rest.split_first()?;
    if first < 0x80 {
        *rest = tail;
        return Some(first as usize);
    }
    let mut value = 0usize;
    for shift in [0, 7, 14, 21] {
        let (&byte, tail) = rest.split_first()?;
        *rest = tail;
        value |= ((byte & 0x7f) as usize) << shift;
        if byte < 0x80 {
            return Some(value);
        }
    }
    None
}

fn put_varint(out: &mut Vec<u8>, mut value: usize) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// A position in a node. The key is rebuilt as the cursor moves; the value is a slice of the node.
#[derive(Clone, Debug)]
pub(crate) struct NodeCursor {
    node: Arc<Node>,
    /// The entry stood on; `len` at the end.
    index: u32,
    /// Where the next entry starts in the entry area.
    next: usize,
    key: Vec<u8>,
    value: (usize, usize),
}

impl NodeCursor {
    /// On the first entry.
    pub(crate) fn first(node: Arc<Node>) -> Self {
        let mut cursor = Self { node, index: 0, next: 0, key: Vec::new(), value: (0, 0) };
        cursor.read();
        cursor
    }

    /// On the first entry at or after `key`.
    pub(crate) fn at(node: Arc<Node>, key: &[u8]) -> Self {
        let mut cursor = Self { node, index: 0, next: 0, key: Vec::new(), value: (0, 0) };
        cursor.seek(key);
        cursor
    }

    pub(crate) fn node(&self) -> &Arc<Node> {
        &self.node
    }

    pub(crate) fn index(&self) -> u32 {
        self.index
    }

    pub(crate) fn is_end(&self) -> bool {
        self.index >= self.node.entries
    }

    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    pub(crate) fn value(&self) -> &[u8] {
        &self.node.bytes[self.value.0..self.value.1]
    }

    /// The value, sharing the node's memory.
    pub(crate) fn value_bytes(&self) -> Bytes {
        self.node.bytes.slice(self.value.0..self.value.1)
    }

    pub(crate) fn child(&self) -> Result<Child, TreeError> {
        Child::decode(self.value()).ok_or(TreeError::Damaged { id: self.node.id, why: "wrong child" })
    }

    pub(crate) fn advance(&mut self) {
        if !self.is_end() {
            self.index += 1;
            self.read();
        }
    }

    /// Reads the entry at `next`, if `index` is one.
    fn read(&mut self) {
        if self.is_end() {
            return;
        }
        let area = self.node.area_start();
        let mut rest = &self.node.bytes[area + self.next..];
        // Every length was checked when the node was parsed.
        let Some(raw) = RawEntry::read(&mut rest) else { return };
        self.key.truncate(raw.shared);
        self.key.extend_from_slice(raw.suffix);
        let end = self.node.bytes.len() - rest.len();
        self.value = (end - raw.value.len(), end);
        self.next = end - area;
    }

    /// Moves to the first entry at or after `key`, forwards or backwards.
    pub(crate) fn seek(&mut self, key: &[u8]) {
        let node = &self.node;
        let (mut low, mut high) = (0, node.restarts);
        // The last restart whose key is not greater: the entry lies behind it, within one stretch.
        while low < high {
            let middle = low + (high - low) / 2;
            if node.restart_key(middle) <= key { low = middle + 1 } else { high = middle }
        }
        let stretch = low.saturating_sub(1);
        self.index = stretch * RESTART_EVERY;
        self.next = if node.restarts == 0 { 0 } else { node.restart(stretch) };
        self.key.clear();
        self.read();
        while !self.is_end() && self.key.as_slice() < key {
            self.index += 1;
            self.read();
        }
    }
}

/// Builds one node, entry by entry in key order.
#[derive(Debug)]
pub(crate) struct NodeBuilder {
    level: u8,
    area: Vec<u8>,
    restarts: Vec<u32>,
    entries: u32,
    last_key: Vec<u8>,
    /// The sum the boundary rule sees.
    pub(crate) sum: u64,
}

impl NodeBuilder {
    pub(crate) fn new(level: u8) -> Self {
        Self { level, area: Vec::new(), restarts: Vec::new(), entries: 0, last_key: Vec::new(), sum: 0 }
    }

    pub(crate) fn len(&self) -> u32 {
        self.entries
    }

    pub(crate) fn add(&mut self, key: &[u8], value: &[u8]) {
        let mut shared = 0;
        if self.entries.is_multiple_of(RESTART_EVERY) {
            self.restarts.push(self.area.len() as u32);
        } else {
            shared = common_prefix(key, &self.last_key);
        }
        put_varint(&mut self.area, shared);
        put_varint(&mut self.area, key.len() - shared);
        put_varint(&mut self.area, value.len());
        self.area.extend_from_slice(&key[shared..]);
        self.area.extend_from_slice(value);
        self.last_key.truncate(shared);
        self.last_key.extend_from_slice(&key[shared..]);
        self.entries += 1;
    }

    /// The node; the builder is empty again.
    pub(crate) fn finish(&mut self) -> Node {
        let mut bytes = Vec::with_capacity(HEADER + 4 * self.restarts.len() + self.area.len());
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&[self.level, 0, 0, 0]);
        for number in [self.entries, self.restarts.len() as u32, self.area.len() as u32] {
            bytes.extend_from_slice(&number.to_le_bytes());
        }
        for restart in &self.restarts {
            bytes.extend_from_slice(&restart.to_le_bytes());
        }
        bytes.extend_from_slice(&self.area);
        let node = Node {
            id: NodeId::digest(&bytes),
            bytes: bytes.into(),
            level: self.level,
            entries: self.entries,
            restarts: self.restarts.len() as u32,
            last_key: self.last_key.as_slice().into(),
        };
        self.area.clear();
        self.restarts.clear();
        self.last_key.clear();
        (self.entries, self.sum) = (0, 0);
        node
    }
}
