//! Refs and commits as trees: what dumps and exports are written as.
//!
//! Three trees of one shape. Their first entry, at the key `\0`, says which format it is and what the tree lists; no
//! name begins so, and no commit's 32-byte id is one byte long. Then:
//!
//! | tree | key | value |
//! |---|---|---|
//! | commits | the id's 32 bytes | the stored record; of one that is too large only id and generation: it is under `_lakebed/commits/` |
//! | tags, branches | the name | commit, and whether a branch is hidden |

use std::collections::VecDeque;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use lakebed_core::{CommitId, NodeId};
use lakebed_kv::{KeyRange, Kv};
use lakebed_tree::{Cursor, Edit, EditSource, Node, NodeStore, TreeError};

use crate::catalog::Inner;
use crate::neighbours::rows_at;
use crate::nodes::Nodes;
use crate::sweep::after;
use crate::{CatalogError, ErrorKind, Repository, keys, wire};

/// What a tree lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listed {
    Commits,
    Tags,
    Branches,
}

impl Listed {
    fn stored(self) -> u32 {
        match self {
            Self::Commits => 1,
            Self::Tags => 2,
            Self::Branches => 3,
        }
    }

    fn name(self) -> &'static str {
        match self {
            Self::Commits => "commits",
            Self::Tags => "tags",
            Self::Branches => "branches",
        }
    }
}

/// The format these trees are written in.
const FORMAT: u32 = 1;

/// The key of the entry that says so.
const HEADER: &[u8] = &[0];

/// A record longer than this is not in the tree: an entry is bounded, and the record is an object of its own.
const MOST_INLINE: usize = 32 << 10;

/// Rows read from the engine at once.
const PAGE: usize = 512;

/// The nodes of trees of refs: as those of objects, but their values name no objects.
pub(crate) struct RefNodes(Arc<Nodes>);

impl RefNodes {
    /// The nodes under a directory of a repository's namespace.
    pub(crate) fn new(inner: &Inner, repository: &Repository, directory: &str) -> Arc<Self> {
        let base = repository.storage_namespace.below(directory);
        Arc::new(Self(Nodes::new(inner.blocks.clone(), inner.nodes.clone(), base)))
    }
}

#[async_trait]
impl NodeStore for RefNodes {
    async fn load(&self, id: &NodeId) -> Result<Arc<Node>, TreeError> {
        self.0.load(id).await
    }

    async fn save(&self, id: NodeId, stored: Bytes, node: Arc<Node>) -> Result<(), TreeError> {
        self.0.save(id, stored, node).await
    }

    async fn flush(&self) -> Result<(), TreeError> {
        self.0.flush().await
    }

    fn object_size(&self, _: &[u8]) -> u64 {
        0
    }
}

/// The refs or commits of a repository in key order, read from the engine page by page.
struct Rows {
    kv: Arc<dyn Kv>,
    repository: lakebed_core::Incarnation,
    listed: Listed,
    begun: bool,
    range: KeyRange,
    exhausted: bool,
    page: VecDeque<(Bytes, Bytes)>,
}

impl Rows {
    fn new(kv: Arc<dyn Kv>, repository: &Repository, listed: Listed) -> Self {
        let r = &repository.incarnation;
        let prefix = match listed {
            Listed::Commits => keys::commits(r, b""),
            Listed::Tags => keys::tag_index(r, ""),
            Listed::Branches => keys::branch_index(r, ""),
        };
        Self {
            kv,
            repository: *r,
            listed,
            begun: false,
            range: KeyRange::prefix(&prefix),
            exhausted: false,
            page: VecDeque::new(),
        }
    }

    async fn next(&mut self) -> Result<Option<(Bytes, Bytes)>, CatalogError> {
        if !self.begun {
            self.begun = true;
            let header = wire::RefTreeHeader { format: FORMAT, listed: self.listed.stored() };
            return Ok(Some((Bytes::from_static(HEADER), wire::encode(&header))));
        }
        while self.page.is_empty() && !self.exhausted {
            self.read().await?;
        }
        Ok(self.page.pop_front())
    }

    async fn read(&mut self) -> Result<(), CatalogError> {
        let rows = self.kv.scan(&self.range, PAGE).await?;
        self.exhausted = rows.len() < PAGE;
        if let Some(last) = rows.last() {
            self.range.start = after(&last.key);
        }
        if self.listed == Listed::Commits {
            for row in rows {
                let value = if row.value.len() > MOST_INLINE {
                    let stored: wire::CommitRow = wire::decode(&row.value, "commit")?;
                    wire::encode(&wire::CommitRow { record: None, ..stored })
                } else {
                    row.value
                };
                self.page.push_back((row.key.slice(keys::NAME_AT..), value));
            }
            return Ok(());
        }
        let names: Vec<Bytes> = rows.iter().map(|row| row.key.slice(keys::NAME_AT..)).collect();
        let wanted: Vec<Bytes> = names
            .iter()
            .filter_map(|name| std::str::from_utf8(name).ok())
            .map(|name| keys::reference(&self.repository, name))
            .collect();
        if wanted.len() != names.len() {
            return Err(CatalogError::Damaged { what: "ref index" });
        }
        for (name, row) in names.into_iter().zip(rows_at(&*self.kv, &wanted).await?) {
            // Deleted since the index was read: then it is not there.
            let Some(row) = row else { continue };
            let decoded: wire::RefRow = wire::decode(&row.value, "ref")?;
            let dumped = match (decoded.branch, self.listed) {
                (Some(branch), Listed::Branches) => {
                    wire::DumpedRef { commit: branch.head, hidden: branch.hidden }
                }
                (None, Listed::Tags) => wire::DumpedRef { commit: decoded.tag, hidden: false },
                // Deleted and made again as the other kind.
                _ => continue,
            };
            self.page.push_back((name, wire::encode(&dumped)));
        }
        Ok(())
    }
}

/// What turns a tree into one of the present rows.
struct Changes<'a> {
    rows: Rows,
    have: Cursor,
    row: Option<(Bytes, Bytes)>,
    begun: bool,
    counted: &'a (dyn Fn(u64) + Sync),
}

#[async_trait]
impl EditSource for Changes<'_> {
    async fn next(&mut self) -> Result<Option<Edit>, TreeError> {
        let failed = |error: CatalogError| TreeError::Source(error.to_string().into());
        if !self.begun {
            self.begun = true;
            self.have.seek(b"").await?;
            self.row = self.rows.next().await.map_err(failed)?;
        }
        loop {
            let gone = match (self.have.key(), &self.row) {
                (None, None) => return Ok(None),
                (Some(have), Some((want, _))) => have < &want[..],
                (Some(_), None) => true,
                (None, Some(_)) => false,
            };
            if gone {
                let key = Bytes::copy_from_slice(self.have.key().unwrap_or_default());
                self.have.advance().await?;
                return Ok(Some(Edit { key, value: None }));
            }
            let Some((key, value)) = self.row.take() else { return Ok(None) };
            self.row = self.rows.next().await.map_err(failed)?;
            (self.counted)(1);
            if self.have.key() == Some(&key[..]) {
                let same = self.have.value().is_some_and(|have| have == value);
                self.have.advance().await?;
                if same {
                    continue;
                }
            }
            return Ok(Some(Edit { key, value: Some(value) }));
        }
    }
}

/// A ref of a tree.
pub(crate) struct RefEntry {
    pub(crate) name: String,
    pub(crate) commit: CommitId,
    pub(crate) hidden: bool,
}

/// Reads one of these trees.
pub(crate) struct RefTree {
    cursor: Cursor,
    listed: Listed,
}

impl Inner {
    /// The tree of a repository's present refs or commits, made from `base`, one of the same kind from before (or the
    /// empty tree). Its nodes are saved, not flushed. `counted` is told how many rows were read.
    pub(crate) async fn write_ref_tree(
        &self,
        repository: &Repository,
        nodes: &Arc<RefNodes>,
        listed: Listed,
        base: NodeId,
        counted: &(dyn Fn(u64) + Sync),
    ) -> Result<NodeId, CatalogError> {
        let mut changes = Changes {
            rows: Rows::new(self.kv.clone(), repository, listed),
            have: Cursor::new(nodes.clone(), base),
            row: None,
            begun: false,
            counted,
        };
        Ok(lakebed_tree::edit(&**nodes, &base, &mut changes).await?.root)
    }
}

impl RefTree {
    /// A tree named by a client: refused if it is none of these, or lists something else. [`TreeError::Missing`] if it
    /// is not there.
    pub(crate) async fn open(
        nodes: Arc<RefNodes>,
        root: NodeId,
        listed: Listed,
    ) -> Result<Self, CatalogError> {
        let refused = |why: &str| {
            let what = listed.name();
            CatalogError::refused(ErrorKind::Invalid, format!("tree '{root}' is no dump of {what}: {why}"))
        };
        if !nodes.0.has(&root).await? {
            return Err(TreeError::Missing(root).into());
        }
        let mut cursor = Cursor::new(nodes, root);
        cursor.seek(b"").await?;
        let header = cursor.value().filter(|_| cursor.key() == Some(HEADER));
        let header = header.ok_or_else(|| refused("it was not written by a dump"))?;
        let header: wire::RefTreeHeader =
            wire::decode_numbered(&header, "dump").map_err(|_| refused("it was not written by a dump"))?;
        if header.format != FORMAT {
            return Err(refused(&format!("its format is {}, this server reads {FORMAT}", header.format)));
        }
        if header.listed != listed.stored() {
            return Err(refused("it lists something else: are the ids mixed up?"));
        }
        cursor.advance().await?;
        Ok(Self { cursor, listed })
    }

    /// The next commit; of one that is too large for the tree only its id.
    pub(crate) async fn next_commit(&mut self) -> Result<Option<(CommitId, Option<Bytes>)>, CatalogError> {
        debug_assert!(self.listed == Listed::Commits);
        let (Some(key), Some(value)) = (self.cursor.key(), self.cursor.value()) else { return Ok(None) };
        let id = wire::commit_id(key)?;
        let row: wire::CommitRow = wire::decode(&value, "dumped commit")?;
        if row.id != key {
            return Err(CatalogError::Damaged { what: "dumped commit" });
        }
        let whole = if row.record.is_some() {
            // Read once whole, so that nothing is stored that cannot be read.
            row.to_commit()?;
            Some(value)
        } else {
            None
        };
        self.cursor.advance().await?;
        Ok(Some((id, whole)))
    }

    /// The next tag or branch.
    pub(crate) async fn next_ref(&mut self) -> Result<Option<RefEntry>, CatalogError> {
        let (Some(key), Some(value)) = (self.cursor.key(), self.cursor.value()) else { return Ok(None) };
        let damaged = || CatalogError::Damaged { what: "dumped ref" };
        let name = std::str::from_utf8(key).map_err(|_| damaged())?.to_owned();
        let dumped: wire::DumpedRef = wire::decode(&value, "dumped ref")?;
        let entry = RefEntry { name, commit: wire::commit_id(&dumped.commit)?, hidden: dumped.hidden };
        self.cursor.advance().await?;
        Ok(Some(entry))
    }
}
