//! Rebuilding a repository from its bucket alone: for the day on which the metadata is lost (`architecture.md` §5).
//!
//! Refs and settings come from the newest export, at most a minute older than the last change; commits from
//! `_lakebed/commits/`, all of them, also those that no ref leads to any more. Staged changes, pull requests and users are
//! not in the bucket.

use futures::{StreamExt, TryStreamExt};
use lakebed_blocks::BlockAddress;
use lakebed_core::{CommitId, Incarnation};
use lakebed_kv::{Check, Outcome, Transaction};

use crate::export::{EXPORTS, export_directory};
use crate::publish::MOVE_ATTEMPTS;
use crate::ref_trees::{Listed, RefNodes, RefTree};
use crate::restore::{CommitBatch, Restore};
use crate::working::busy;
use crate::{CatalogError, ErrorKind, Repository, keys, wire};

/// Objects listed at once.
const PAGE: usize = 1000;

/// Commits read from the store at once.
const READS_AT_ONCE: usize = 16;

/// The most repositories looked for in one namespace.
const MOST_REPOSITORIES: usize = 1000;

impl Restore<'_> {
    pub(crate) async fn rebuild(&self, name: Option<&str>) -> Result<(), CatalogError> {
        let (birth, manifest) = self.find_export(name).await?;
        let nodes = RefNodes::new(self.inner, self.hidden, &export_directory(&birth));
        let tags = RefTree::open(nodes.clone(), wire::node_id(&manifest.tags)?, Listed::Tags).await?;
        let branches = RefTree::open(nodes, wire::node_id(&manifest.branches)?, Listed::Branches).await?;
        self.all_commits().await?;
        self.refs(branches, Listed::Branches).await?;
        self.refs(tags, Listed::Tags).await?;
        // Before anything is seen, so that no branch is without the protection it had.
        self.adopt_settings(&manifest).await
    }

    /// The newest export of the repository of this name.
    async fn find_export(
        &self,
        name: Option<&str>,
    ) -> Result<(Incarnation, wire::ExportManifest), CatalogError> {
        let mut found = Vec::new();
        for birth in self.births().await? {
            if let Some(manifest) = self.inner.newest_export(self.hidden, &birth).await? {
                found.push((birth, manifest));
            }
        }
        let wanted = name.unwrap_or(self.hidden.id.as_str());
        // Of several lives of one name the one that was exported last.
        let of_name = found.iter().filter(|(_, manifest)| manifest.repository == wanted);
        if let Some(newest) = of_name.max_by_key(|(_, manifest)| manifest.exported_ms) {
            return Ok(newest.clone());
        }
        if let ([only], None) = (&found[..], name) {
            return Ok(only.clone());
        }
        let names: Vec<&str> = found.iter().map(|(_, manifest)| manifest.repository.as_str()).collect();
        let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        Err(CatalogError::refused(
            ErrorKind::NotFound,
            format!(
                "no export of repository '{wanted}' in '{}', there is: {there}",
                self.hidden.storage_namespace.as_str()
            ),
        ))
    }

    /// The repositories that exported something into the namespace.
    async fn births(&self) -> Result<Vec<Incarnation>, CatalogError> {
        let prefix = BlockAddress::in_namespace(&self.hidden.storage_namespace, &format!("{EXPORTS}/"));
        let mut births = Vec::new();
        let mut after: Option<BlockAddress> = None;
        while births.len() < MOST_REPOSITORIES {
            let next = self.inner.blocks.list(&prefix, after.as_ref(), 1).await?;
            let Some(next) = next.first() else { break };
            let name = next.address.as_str()[prefix.as_str().len()..].split('/').next().unwrap_or_default();
            births.extend(name.parse::<Incarnation>().ok());
            // Behind everything under this name.
            after = Some(prefix.and(&format!("{name}0")));
        }
        Ok(births)
    }

    /// Takes every commit in the namespace.
    async fn all_commits(&self) -> Result<(), CatalogError> {
        let prefix = BlockAddress::in_namespace(&self.hidden.storage_namespace, "_lakebed/commits/");
        let mut after: Option<BlockAddress> = None;
        let mut batch = CommitBatch::default();
        loop {
            let page = self.inner.blocks.list(&prefix, after.as_ref(), PAGE).await?;
            let names = page.iter().filter_map(|found| found.address.as_str().rsplit('/').next());
            let ids: Vec<CommitId> = names.filter_map(|name| name.parse().ok()).collect();
            let reads =
                ids.into_iter().map(async |id| Ok::<_, CatalogError>((id, self.stored_commit(&id).await?)));
            let mut read = futures::stream::iter(reads).buffered(READS_AT_ONCE);
            while let Some((id, row)) = read.try_next().await? {
                self.add(&mut batch, id, row).await?;
            }
            match page.last() {
                Some(last) if page.len() == PAGE => after = Some(last.address.clone()),
                _ => return self.flush(&mut batch).await,
            }
        }
    }

    /// Gives the repository the settings and metadata it had, but for those it has been given anew.
    async fn adopt_settings(&self, manifest: &wire::ExportManifest) -> Result<(), CatalogError> {
        let birth = &self.hidden.birth;
        let settings = [(keys::rules(birth), &manifest.rules), (keys::gc_rules(birth), &manifest.gc_rules)];
        for (key, value) in settings {
            let Some(value) = value else { continue };
            let put = self.gated().check(key.clone(), Check::Absent).put(key, value.clone());
            // Refused: there are others already, or the restore is lost, which its end finds out. Unknown: once more
            // is the same again, and absence keeps it from being done twice.
            for _ in 0..MOVE_ATTEMPTS {
                if self.inner.kv.transact(put.clone()).await? != Outcome::Unknown {
                    break;
                }
            }
        }
        for _ in 0..MOVE_ATTEMPTS {
            let (record, version) = self.inner.repository(&self.hidden.id).await?;
            let mut metadata = manifest.metadata.clone();
            metadata.extend(record.metadata.clone());
            let next = Repository { metadata, ..record.as_ref().clone() };
            let key = keys::repository(&self.hidden.id);
            let row = wire::encode(&wire::RepositoryRow::from(&next));
            let transaction: Transaction =
                self.gated().check(key.clone(), Check::Version(version)).put(key, row);
            match self.inner.kv.transact(transaction).await? {
                Outcome::Done(_) => return Ok(()),
                Outcome::Refused(key) if key == keys::gate(&self.hidden.incarnation, 0) => break,
                Outcome::Refused(_) | Outcome::Unknown => {}
            }
        }
        Err(busy("restore"))
    }
}
