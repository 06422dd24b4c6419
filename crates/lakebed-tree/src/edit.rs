//! Editing: a sorted stream of puts and deletes becomes a new tree that shares every untouched node with the old one,
//! and is exactly the tree built from scratch (`formats.md`, Boundaries).
//!
//! Each level is edited by the same rule. An edit opens a *run* at the beginning of the old node it falls in; old
//! entries and edits flow through the boundary rule into new nodes; the run may stop where a new node's cut meets an
//! old node's end with no edit pending before it. Old nodes that a run consumed and new ones it made are, in key order,
//! the edits of the level above. So everything streams: one open node per level is held, and saved when it closes.

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use lakebed_core::NodeId;

use crate::boundary::{Rule, weight};
use crate::cursor::{load, load_child};
use crate::node::{Child, MAX_ENTRY_BYTES, NodeBuilder, NodeCursor};
use crate::{Node, NodeStore, TreeError, empty_tree};

/// One change of a key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Edit {
    /// The key.
    pub key: Bytes,
    /// Its new value; `None` deletes it.
    pub value: Option<Bytes>,
}

/// Edits in strictly ascending key order.
#[async_trait]
pub trait EditSource: Send {
    /// The next edit.
    async fn next(&mut self) -> Result<Option<Edit>, TreeError>;

    /// Adds the next edits, one or more, to `into`; none if there are no more. For sources of many edits, which so are
    /// asked less often.
    async fn next_some(&mut self, into: &mut Vec<Edit>) -> Result<(), TreeError> {
        into.extend(self.next().await?);
        Ok(())
    }
}

/// How many edits a source may give at once.
pub const EDITS_AT_ONCE: usize = 256;

/// Edits held in memory, for callers that have few.
pub struct EditList(std::vec::IntoIter<Edit>);

impl EditList {
    /// The edits in this order, which must be ascending.
    pub fn new(edits: Vec<Edit>) -> Self {
        Self(edits.into_iter())
    }
}

#[async_trait]
impl EditSource for EditList {
    async fn next(&mut self) -> Result<Option<Edit>, TreeError> {
        Ok(self.0.next())
    }
}

/// What an edit made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Edited {
    /// The new tree.
    pub root: NodeId,
    /// Nodes given to the store.
    pub nodes_written: u64,
    /// Edits that changed something.
    pub changed: u64,
}

/// The tree `root` with the edits applied. Nodes are saved as they close; the caller flushes the store.
pub async fn edit(
    store: &dyn NodeStore,
    root: &NodeId,
    source: &mut dyn EditSource,
) -> Result<Edited, TreeError> {
    edit_by(Rule::FORMAT, store, root, source).await
}

pub(crate) async fn edit_by(
    rule: Rule,
    store: &dyn NodeStore,
    root: &NodeId,
    source: &mut dyn EditSource,
) -> Result<Edited, TreeError> {
    let root = load(store, root).await?;
    let mut editor = Editor { rule, store, levels: Vec::new(), old_root: root, written: 0 };
    let mut changed = 0;
    let mut last: Option<Bytes> = None;
    let mut edits = Vec::new();
    loop {
        source.next_some(&mut edits).await?;
        if edits.is_empty() {
            break;
        }
        for edit in edits.drain(..) {
            if last.as_ref().is_some_and(|last| *last >= edit.key) {
                return Err(TreeError::Source("edits must come in ascending key order".into()));
            }
            let bytes = edit.key.len() + edit.value.as_ref().map_or(0, Bytes::len);
            if bytes > MAX_ENTRY_BYTES {
                return Err(TreeError::TooLarge(bytes));
            }
            changed += u64::from(editor.apply(0, &edit.key, edit.value.as_deref()).await?);
            editor.pass_up().await?;
            last = Some(edit.key);
        }
    }
    let root = editor.finish().await?;
    Ok(Edited { root, nodes_written: editor.written, changed })
}

/// A change of the level above.
struct Change {
    key: Vec<u8>,
    child: Option<Child>,
}

/// An old node that a run consumes: it leaves the level above unless a new node takes its key.
struct Consumed {
    last_key: Vec<u8>,
    child: Child,
}

struct Level {
    builder: NodeBuilder,
    /// Sums over the open node.
    open: Totals,
    /// The old tree down to the node this level's run is in; empty: no run is open.
    old: Vec<NodeCursor>,
    /// Consumed old nodes not passed up yet.
    consumed: VecDeque<Consumed>,
    /// Changes for the level above, in key order.
    out: VecDeque<Change>,
    /// The node closed last: if it becomes the root, the store need not be asked for it.
    recent: Option<Arc<Node>>,
}

#[derive(Clone, Copy, Default)]
struct Totals {
    count: u64,
    bytes: u64,
}

struct Editor<'a> {
    rule: Rule,
    store: &'a dyn NodeStore,
    levels: Vec<Level>,
    old_root: Arc<Node>,
    written: u64,
}

impl Level {
    fn new(level: u8) -> Self {
        Self {
            builder: NodeBuilder::new(level),
            open: Totals::default(),
            old: Vec::new(),
            consumed: VecDeque::new(),
            out: VecDeque::new(),
            recent: None,
        }
    }
}

impl Editor<'_> {
    fn level(&mut self, level: usize) -> &mut Level {
        while self.levels.len() <= level {
            self.levels.push(Level::new(self.levels.len() as u8));
        }
        &mut self.levels[level]
    }

    /// Applies one change to a level. True if it changed something.
    async fn apply(&mut self, level: usize, key: &[u8], value: Option<&[u8]>) -> Result<bool, TreeError> {
        self.level(level);
        self.run_to(level, key).await?;
        let mut existed = false;
        let mut same = false;
        if let Some(old) = self.old_entry(level)
            && old.key() == key
        {
            existed = true;
            same = value == Some(old.value());
        }
        if existed {
            self.step_old(level);
        }
        if let Some(value) = value {
            self.add(level, key, value).await?;
        }
        if existed {
            self.next_old_node(level).await?;
        }
        Ok(!same && (existed || value.is_some()))
    }

    /// The old entry the run stands on.
    fn old_entry(&self, level: usize) -> Option<&NodeCursor> {
        self.levels[level].old.last().filter(|old| !old.is_end())
    }

    fn step_old(&mut self, level: usize) {
        if let Some(old) = self.levels[level].old.last_mut() {
            old.advance();
        }
    }

    /// Copies old entries before `key` into the run, opening one if none is, and stopping early where it may.
    async fn run_to(&mut self, level: usize, key: &[u8]) -> Result<(), TreeError> {
        loop {
            if self.may_stop(level) && self.old_entry(level).is_some_and(|old| old.node().last_key() < key) {
                // The cut met an old node's end and the next node has no edit in it: it may stay as it is.
                self.close_run(level);
            }
            if self.levels[level].old.is_empty() {
                // Behind a finished run, or at the very beginning: start at the node the key falls in.
                self.open_run(level, key).await?;
            }
            // Everything in this node before the key.
            while let Some(old) = self.old_entry(level)
                && old.key() < key
            {
                self.copy_old(level).await?;
            }
            if self.old_entry(level).is_some() || !self.next_old_node(level).await? {
                return Ok(());
            }
        }
    }

    /// Whether the open run stands exactly between two nodes on both sides.
    fn may_stop(&self, level: usize) -> bool {
        let level = &self.levels[level];
        level.builder.len() == 0 && level.old.last().is_some_and(|old| old.index() == 0)
    }

    /// Ends a run at the beginning of an old node, which is thereby not consumed.
    fn close_run(&mut self, level: usize) {
        let level = &mut self.levels[level];
        if level.old.last().is_some_and(|old| old.index() == 0 && !old.is_end()) {
            level.consumed.pop_back();
        }
        level.flush_consumed(None);
        level.old.clear();
    }

    /// Starts a run at the beginning of the old node that `key` falls in: the first whose last key is not smaller,
    /// or the last of the level.
    async fn open_run(&mut self, level: usize, key: &[u8]) -> Result<(), TreeError> {
        let height = usize::from(self.old_root.level());
        if level > height + 1 || self.old_root.is_empty() {
            return Ok(());
        }
        if level == height + 1 {
            // The old root is the one entry of a level that does not exist as a node.
            let root = self.root_entry();
            let mut virtual_node = NodeBuilder::new(level as u8);
            virtual_node.add(self.old_root.last_key(), &root.encode());
            self.levels[level].old = vec![NodeCursor::first(Arc::new(virtual_node.finish()))];
            return Ok(());
        }
        let mut path = vec![NodeCursor::first(self.old_root.clone())];
        while let Some(top) = path.last_mut()
            && usize::from(top.node().level()) > level
        {
            if key <= top.node().last_key() {
                top.seek(key);
            } else {
                let last = top.node().last_key().to_vec();
                top.seek(&last);
            }
            let child = load_child(self.store, top).await?;
            path.push(NodeCursor::first(child));
        }
        self.levels[level].old = path;
        self.consume(level)?;
        Ok(())
    }

    fn root_entry(&self) -> Child {
        let totals = self.totals_of(&self.old_root);
        Child { id: *self.old_root.id(), count: totals.count, bytes: totals.bytes }
    }

    fn totals_of(&self, node: &Arc<Node>) -> Totals {
        let mut totals = Totals::default();
        let mut cursor = NodeCursor::first(node.clone());
        while !cursor.is_end() {
            let more = entry_totals(self.store, node.level(), cursor.value());
            totals.count += more.count;
            totals.bytes = totals.bytes.saturating_add(more.bytes);
            cursor.advance();
        }
        totals
    }

    /// Notes that the old node the run stands at the beginning of is consumed.
    fn consume(&mut self, level: usize) -> Result<(), TreeError> {
        let height = usize::from(self.old_root.level());
        let consumed = if level == height {
            Consumed { last_key: self.old_root.last_key().to_vec(), child: self.root_entry() }
        } else {
            let path = &self.levels[level].old;
            let Some(parent) = path.len().checked_sub(2).and_then(|at| path.get(at)) else { return Ok(()) };
            Consumed { last_key: parent.key().to_vec(), child: parent.child()? }
        };
        self.levels[level].consumed.push_back(consumed);
        Ok(())
    }

    /// If the run stands at the end of an old node, moves it to the beginning of the next. False: there is none, or
    /// the run is not at an end.
    async fn next_old_node(&mut self, level: usize) -> Result<bool, TreeError> {
        let height = usize::from(self.old_root.level());
        let path = &mut self.levels[level].old;
        if level > height || !path.last().is_some_and(NodeCursor::is_end) {
            return Ok(false);
        }
        // Up to an ancestor that has a next child. Keep the path if there is none: the run stands at the end.
        let Some(up) = (0..path.len().saturating_sub(1))
            .rev()
            .find(|at| path[*at].index() as usize + 1 < path[*at].node().len())
        else {
            return Ok(false);
        };
        path.truncate(up + 1);
        path[up].advance();
        while let Some(top) = self.levels[level].old.last()
            && usize::from(top.node().level()) > level
        {
            let child = load_child(self.store, top).await?;
            self.levels[level].old.push(NodeCursor::first(child));
        }
        self.consume(level)?;
        Ok(true)
    }

    /// Moves the old entry stood on into the open node.
    async fn copy_old(&mut self, level: usize) -> Result<(), TreeError> {
        let Some(mut old) = self.levels[level].old.pop() else { return Ok(()) };
        let added = self.add(level, old.key(), old.value()).await;
        old.advance();
        self.levels[level].old.push(old);
        added
    }

    /// Adds an entry to the open node and closes it if the rule says so.
    async fn add(&mut self, level: usize, key: &[u8], value: &[u8]) -> Result<(), TreeError> {
        let totals = entry_totals(self.store, level as u8, value);
        let rule = self.rule;
        let state = &mut self.levels[level];
        let weight = weight(key, value);
        state.builder.add(key, value);
        state.builder.sum += weight;
        state.open.count += totals.count;
        // Sizes are what clients say they are: their sum may be senseless, but it stays a number.
        state.open.bytes = state.open.bytes.saturating_add(totals.bytes);
        let (sum, count) = (state.builder.sum, state.builder.len());
        if rule.closes(level as u8, key, weight, sum, count) {
            self.cut(level).await?;
        }
        Ok(())
    }

    /// Closes the open node and passes it to the level above.
    async fn cut(&mut self, level: usize) -> Result<(), TreeError> {
        let state = &mut self.levels[level];
        let node = Arc::new(state.builder.finish());
        let totals = std::mem::take(&mut state.open);
        let child = Child { id: *node.id(), count: totals.count, bytes: totals.bytes };
        let key = node.last_key().to_vec();
        let unchanged = state.flush_consumed(Some((&key, child)));
        state.recent = Some(node.clone());
        if !unchanged {
            state.out.push_back(Change { key, child: Some(child) });
            self.save(node).await?;
        }
        Ok(())
    }

    async fn save(&mut self, node: Arc<Node>) -> Result<(), TreeError> {
        self.written += 1;
        let stored = node.to_stored()?;
        self.store.save(*node.id(), stored, node).await
    }

    /// Passes changes up, level by level, until none waits.
    async fn pass_up(&mut self) -> Result<(), TreeError> {
        let mut level = 0;
        while level < self.levels.len() {
            while let Some(change) = self.levels[level].out.pop_front() {
                let value = change.child.map(|child| child.encode());
                self.apply(level + 1, &change.key, value.as_ref().map(|value| &value[..])).await?;
            }
            level += 1;
        }
        Ok(())
    }

    /// Lets the open run of a level flow on until it meets the old nodes again or the level ends.
    async fn drain(&mut self, level: usize) -> Result<(), TreeError> {
        loop {
            while self.old_entry(level).is_some() {
                if self.may_stop(level) && level <= usize::from(self.old_root.level()) {
                    self.close_run(level);
                    return Ok(());
                }
                self.copy_old(level).await?;
            }
            if !self.next_old_node(level).await? {
                break;
            }
        }
        Ok(())
    }

    /// Closes every level from the leaves up and finds the root.
    async fn finish(&mut self) -> Result<NodeId, TreeError> {
        if self.levels.is_empty() {
            return Ok(*self.old_root.id());
        }
        let height = usize::from(self.old_root.level());
        let mut level = 0;
        loop {
            self.drain(level).await?;
            if level > height && self.levels[level].out.is_empty() && !self.ever_cut(level) {
                // Above the old root and nothing closed yet: this level's open node is the root, or what it holds is.
                let state = &mut self.levels[level];
                if state.builder.len() == 0 {
                    return Ok(empty_tree());
                }
                let node = Arc::new(state.builder.finish());
                if node.len() == 1 && node.level() > 0 {
                    return self.collapse(NodeCursor::first(node).child()?.id).await;
                }
                let id = *node.id();
                self.save(node).await?;
                return Ok(id);
            }
            if self.levels[level].builder.len() > 0 {
                self.cut(level).await?;
            }
            let state = &mut self.levels[level];
            state.flush_consumed(None);
            state.old.clear();
            if self.levels[level].out.is_empty() && self.levels.len() == level + 1 {
                // Nothing changed above: the old root stands.
                return Ok(*self.old_root.id());
            }
            while let Some(change) = self.levels[level].out.pop_front() {
                let value = change.child.map(|child| child.encode());
                self.apply(level + 1, &change.key, value.as_ref().map(|value| &value[..])).await?;
            }
            level += 1;
            self.level(level);
        }
    }

    /// Whether a level above the old root has passed nodes up: then the root is higher.
    fn ever_cut(&self, level: usize) -> bool {
        self.levels.len() > level + 1
    }

    /// The lowest node with a single child below `id` that is no such node itself.
    async fn collapse(&self, mut id: NodeId) -> Result<NodeId, TreeError> {
        loop {
            let recent = self.levels.iter().filter_map(|level| level.recent.as_ref());
            let node = match recent.into_iter().find(|node| *node.id() == id) {
                Some(node) => node.clone(),
                None => load(self.store, &id).await?,
            };
            if node.level() == 0 || node.len() != 1 {
                return Ok(id);
            }
            id = NodeCursor::first(node).child()?.id;
        }
    }
}

fn entry_totals(store: &dyn NodeStore, level: u8, value: &[u8]) -> Totals {
    if level == 0 {
        return Totals { count: 1, bytes: store.object_size(value) };
    }
    Child::decode(value)
        .map_or_else(Totals::default, |child| Totals { count: child.count, bytes: child.bytes })
}

impl Level {
    /// Passes consumed old nodes up as deletions: those before a new node's key, or all. True if the new node is one of
    /// them, unchanged.
    fn flush_consumed(&mut self, new: Option<(&[u8], Child)>) -> bool {
        while let Some(old) = self.consumed.front() {
            match new {
                Some((key, child)) if old.last_key == key => {
                    let same = old.child == child;
                    self.consumed.pop_front();
                    return same;
                }
                Some((key, _)) if old.last_key.as_slice() > key => return false,
                _ => {}
            }
            if let Some(old) = self.consumed.pop_front() {
                self.out.push_back(Change { key: old.last_key, child: None });
            }
        }
        false
    }
}
