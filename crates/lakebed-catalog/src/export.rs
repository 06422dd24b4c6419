//! Keeping a copy of refs and settings in the bucket, so that the bucket alone is enough to rebuild a repository
//! (`architecture.md` §5). Trees and commits are objects already; staged changes, pull requests and users are not copied.
//!
//! Under `_lakebed/refs/<birth>/` in the namespace: `tree/` holds the nodes of the trees of branches and tags, and
//! `manifests/` one small record for each of the last exports, named so that the newest sorts first. A manifest is written
//! when the nodes it names are durable, and never overwritten. A change is exported at most [`INTERVAL`] after it
//! happened; only what changed is written.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Weak;
use std::time::Duration;

use lakebed_blocks::{BlockAddress, BlockError, BlockInfo, PutOptions};
use lakebed_core::traces::WORK_SPAN;
use lakebed_core::{Incarnation, NodeId, ObjectName, RepositoryId, Timestamp};
use lakebed_tree::{NodeStore, TreeError, child_ids};
use parking_lot::Mutex;
use tokio::task::JoinHandle;
use tracing::Instrument;

use crate::catalog::Inner;
use crate::ref_trees::{Listed, RefNodes};
use crate::{Catalog, CatalogError, ErrorKind, PageRequest, Repository, keys, wire};

/// Where exports lie in a namespace.
pub(crate) const EXPORTS: &str = "_lakebed/refs";

/// The format these exports are written in.
pub(crate) const FORMAT: u32 = 1;

/// How often changed repositories are exported.
const INTERVAL: Duration = Duration::from_secs(30);

/// All repositories are looked at every so many intervals: a server may have died before it exported what it changed.
const ALL_EVERY: u32 = 120;

/// Manifests kept of each repository.
const KEPT: usize = 8;

/// After so many exports of a repository the nodes that no kept manifest names are deleted.
const SWEEP_EVERY: u32 = 64;

/// Nodes younger than this are never deleted: another server's export may be about to name them.
const YOUNG_SECS: i64 = 3600;

/// Objects listed at once.
const PAGE: usize = 1000;

/// The most bytes of a manifest.
pub(crate) const MOST_MANIFEST_BYTES: usize = 16 << 20;

/// What is to be exported. For speed only: a server that starts looks at every repository, and all do so now and then. What
/// was exported last is asked of the bucket, for it may have been another server's doing.
#[derive(Default)]
pub(crate) struct Exports {
    changed: Mutex<BTreeSet<RepositoryId>>,
    /// Exports since the nodes were swept.
    since_sweep: Mutex<HashMap<Incarnation, u32>>,
}

impl Exports {
    /// Notes that refs or settings of a repository changed.
    pub(crate) fn mark(&self, repository: &RepositoryId) {
        let mut changed = self.changed.lock();
        if !changed.contains(repository) {
            changed.insert(repository.clone());
        }
    }
}

/// Has a repository exported again if its export fails or is broken off.
struct Unfinished<'a> {
    exports: &'a Exports,
    id: Option<&'a RepositoryId>,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        if let Some(id) = self.id {
            self.exports.mark(id);
        }
    }
}

/// Exports until the catalog is dropped or the task is aborted.
pub(crate) fn spawn(catalog: Weak<Inner>) -> JoinHandle<()> {
    tokio::spawn(async move {
        let mut until_all = 0;
        loop {
            tokio::time::sleep(INTERVAL).await;
            let Some(inner) = catalog.upgrade() else { return };
            let catalog = Catalog { inner };
            if until_all > 0 {
                until_all -= 1;
            } else {
                match catalog.mark_all().await {
                    Ok(()) => until_all = ALL_EVERY,
                    Err(error) => {
                        tracing::warn!(%error, "listing repositories to export failed; trying again");
                    }
                }
            }
            catalog.export_once().await;
        }
    })
}

impl Catalog {
    /// Exports every repository whose refs or settings changed since the last time. One that fails is tried again the
    /// next time.
    pub async fn export_once(&self) {
        let exports = &self.inner.exports;
        let all: Vec<RepositoryId> = exports.changed.lock().iter().cloned().collect();
        for id in all {
            // What changes from here on is for the next time.
            exports.changed.lock().remove(&id);
            let mut unfinished = Unfinished { exports, id: Some(&id) };
            let span = tracing::info_span!(
                target: WORK_SPAN,
                parent: None,
                "exporting refs",
                lakebed.repository = id.as_str(),
            );
            match self.inner.export(&id).instrument(span).await {
                Ok(()) => unfinished.id = None,
                // Its namespace may be another's, and closed to us.
                Err(error) if self.repository(&id).await.is_ok_and(|repository| repository.read_only) => {
                    tracing::debug!(%error, repository = %id, "a read-only repository was not exported");
                    unfinished.id = None;
                }
                Err(error) => {
                    tracing::warn!(%error, repository = %id, "exporting refs failed; trying again");
                }
            }
        }
    }

    /// Has every repository looked at: what changed while no server was running, or was not exported before one
    /// crashed.
    pub(crate) async fn mark_all(&self) -> Result<(), CatalogError> {
        let mut page = PageRequest { amount: PAGE, ..PageRequest::default() };
        loop {
            let repositories = self.list_repositories(&page, "").await?;
            for repository in &repositories.items {
                self.inner.exports.mark(&repository.id);
            }
            if !repositories.has_more {
                return Ok(());
            }
            page.after = repositories.next_offset;
        }
    }
}

impl wire::ExportManifest {
    /// The same but for the time.
    fn same_content(&self, other: &Self) -> bool {
        Self { exported_ms: 0, ..self.clone() } == Self { exported_ms: 0, ..other.clone() }
    }
}

fn manifests(repository: &Repository, birth: &Incarnation) -> BlockAddress {
    BlockAddress::in_namespace(&repository.storage_namespace, &format!("{EXPORTS}/{birth}/manifests/"))
}

/// The nodes of the exports of the repository that was born as `birth`.
pub(crate) fn export_directory(birth: &Incarnation) -> String {
    format!("{EXPORTS}/{birth}/tree")
}

impl Inner {
    /// The newest manifest that the repository born as `birth` has in this repository's namespace.
    pub(crate) async fn newest_export(
        &self,
        repository: &Repository,
        birth: &Incarnation,
    ) -> Result<Option<wire::ExportManifest>, CatalogError> {
        let newest = self.blocks.list(&manifests(repository, birth), None, 1).await?;
        let Some(newest) = newest.first() else { return Ok(None) };
        let bytes = self.blocks.get_bytes(&newest.address, MOST_MANIFEST_BYTES).await?;
        let manifest: wire::ExportManifest = wire::decode_numbered(&bytes, "export")?;
        Ok((manifest.format == FORMAT).then_some(manifest))
    }

    async fn export(&self, id: &RepositoryId) -> Result<(), CatalogError> {
        let repository = match self.repository(id).await {
            Ok((repository, _)) => repository,
            // Its exports stay, as everything in the bucket does.
            Err(error) if error.kind() == ErrorKind::RepositoryNotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        if repository.bare {
            return Ok(());
        }
        let birth = repository.birth;
        let last = self.newest_export(&repository, &birth).await?;
        let mut manifest = match self.make_export(&repository, last.as_ref()).await {
            // A node of the last one is gone: begin afresh.
            Err(CatalogError::Tree(TreeError::Missing(_))) => self.make_export(&repository, None).await?,
            other => other?,
        };
        if last.as_ref().is_some_and(|last| last.same_content(&manifest)) {
            return Ok(());
        }
        // Names tell seconds, and servers' clocks differ: this one must come before the one it replaces.
        let after_last = last.map_or(0, |last| last.exported_ms / 1000 + 1);
        let now = self.clock.now().max(Timestamp::from_secs(after_last));
        manifest.exported_ms = now.millis();
        let name = ObjectName::descending(now, &*self.entropy);
        let address = manifests(&repository, &birth).and(&name.to_string());
        let options = PutOptions { if_absent: true, ..PutOptions::default() };
        self.blocks.put_bytes(&address, wire::encode(&manifest), options).await?;
        // Another server may have exported meanwhile, from refs read before or after ours. Whoever wrote last looks again.
        self.exports.mark(id);
        let due = {
            let mut all = self.exports.since_sweep.lock();
            let since = all.entry(birth).or_insert(0);
            *since += 1;
            let due = *since >= SWEEP_EVERY;
            if due {
                *since = 0;
            }
            due
        };
        self.prune_exports(&repository, due).await
    }

    /// Writes what changed since `last` and says what there is now; its nodes are durable.
    async fn make_export(
        &self,
        repository: &Repository,
        last: Option<&wire::ExportManifest>,
    ) -> Result<wire::ExportManifest, CatalogError> {
        let nodes = RefNodes::new(self, repository, &export_directory(&repository.birth));
        let empty = lakebed_tree::empty_tree();
        let base = |root: Option<&Vec<u8>>| root.map_or(Ok(empty), |root| wire::node_id(root));
        let from = base(last.map(|last| &last.branches))?;
        let branches = self.write_ref_tree(repository, &nodes, Listed::Branches, from, &|_| {}).await?;
        let from = base(last.map(|last| &last.tags))?;
        let tags = self.write_ref_tree(repository, &nodes, Listed::Tags, from, &|_| {}).await?;
        nodes.flush().await?;
        let settings = [keys::rules(&repository.birth), keys::gc_rules(&repository.birth)];
        let mut settings = self.kv.get_many(&settings).await?.into_iter();
        let mut setting = || settings.next().flatten().map(|row| row.value.to_vec());
        Ok(wire::ExportManifest {
            format: FORMAT,
            repository: repository.id.to_string(),
            default_branch: repository.default_branch.clone(),
            created_ms: repository.created.millis(),
            read_only: repository.read_only,
            metadata: repository.metadata.clone(),
            branches: branches.as_bytes().to_vec(),
            tags: tags.as_bytes().to_vec(),
            rules: setting(),
            gc_rules: setting(),
            exported_ms: self.clock.now().millis(),
        })
    }

    /// Deletes manifests beyond those kept and, when it is time, the nodes that none of the kept ones names.
    async fn prune_exports(&self, repository: &Repository, sweep: bool) -> Result<(), CatalogError> {
        let found = self.blocks.list(&manifests(repository, &repository.birth), None, PAGE).await?;
        let addresses: Vec<BlockAddress> = found.into_iter().map(|found| found.address).collect();
        let (kept, old) = addresses.split_at(KEPT.min(addresses.len()));
        for result in self.blocks.delete(old).await {
            result?;
        }
        if !sweep {
            return Ok(());
        }
        let nodes = RefNodes::new(self, repository, &export_directory(&repository.birth));
        let mut named = HashSet::new();
        for address in kept {
            let bytes = match self.blocks.get_bytes(address, MOST_MANIFEST_BYTES).await {
                // Another server's export pruned it.
                Err(BlockError::NotFound(_)) => continue,
                other => other?,
            };
            let manifest: wire::ExportManifest = wire::decode_numbered(&bytes, "export")?;
            if manifest.format != FORMAT {
                // It may name nodes that we know nothing of.
                return Ok(());
            }
            for root in [&manifest.branches, &manifest.tags] {
                name_nodes(&nodes, wire::node_id(root)?, &mut named).await?;
            }
        }
        self.delete_unnamed(repository, &named).await
    }

    async fn delete_unnamed(
        &self,
        repository: &Repository,
        named: &HashSet<NodeId>,
    ) -> Result<(), CatalogError> {
        let directory = export_directory(&repository.birth);
        let prefix = BlockAddress::in_namespace(&repository.storage_namespace, &format!("{directory}/"));
        let oldest = self.clock.now().secs() - YOUNG_SECS;
        let unnamed = |found: &BlockInfo| {
            let name = found.address.as_str().rsplit('/').next().unwrap_or_default();
            found.mtime_secs < oldest && name.parse::<NodeId>().is_ok_and(|id| !named.contains(&id))
        };
        self.delete_objects(&prefix, unnamed).await.map(drop)
    }
}

/// Adds the ids of all nodes of a tree. Leaves are named by their parents and not loaded.
async fn name_nodes(nodes: &RefNodes, root: NodeId, named: &mut HashSet<NodeId>) -> Result<(), CatalogError> {
    let mut open = vec![root];
    while let Some(id) = open.pop() {
        if !named.insert(id) {
            continue;
        }
        let node = nodes.load(&id).await?;
        match node.level() {
            0 => {}
            1 => named.extend(child_ids(&node)?),
            _ => open.extend(child_ids(&node)?),
        }
    }
    Ok(())
}
