//! Between the stored forms and what the catalog works with.

use lakebed_blocks::Namespace;
use lakebed_core::{CommitId, RepositoryId, Timestamp};
use prost::Message;

use super::{CommitRecord, CommitRow, RepositoryRow, UploadRow, commit_id, id16, node_id, optional_id16};
use crate::{CatalogError, Closing, Commit, EntryDraft, Repository};

impl RepositoryRow {
    pub(crate) fn namespace(&self) -> Result<Namespace, CatalogError> {
        let store = self.storage_id.parse();
        let store = store.map_err(|_| CatalogError::Damaged { what: "storage id of a repository" })?;
        Ok(Namespace::new(store, self.storage_namespace.as_str()))
    }

    pub(crate) fn to_repository(&self, id: &RepositoryId) -> Result<Repository, CatalogError> {
        let incarnation = id16(&self.incarnation, "repository")?;
        Ok(Repository {
            id: id.clone(),
            incarnation,
            birth: if self.birth.is_empty() { incarnation } else { id16(&self.birth, "repository")? },
            restoring: optional_id16(&self.restoring, "repository")?,
            storage_namespace: self.namespace()?,
            default_branch: self.default_branch.clone(),
            created: Timestamp::from_millis(self.created_ms),
            read_only: self.read_only,
            bare: self.bare,
            metadata: self.metadata.clone(),
            closing: optional_id16(&self.closing, "repository")?
                .map(|id| Closing { id, since: Timestamp::from_millis(self.closing_since_ms) }),
        })
    }
}

impl From<&Repository> for RepositoryRow {
    fn from(repository: &Repository) -> Self {
        Self {
            incarnation: repository.incarnation.as_bytes().to_vec(),
            birth: repository.birth.as_bytes().to_vec(),
            restoring: repository.restoring.map(|id| id.as_bytes().to_vec()).unwrap_or_default(),
            storage_namespace: repository.storage_namespace.as_str().to_owned(),
            storage_id: repository.storage_namespace.store().to_string(),
            default_branch: repository.default_branch.clone(),
            created_ms: repository.created.millis(),
            read_only: repository.read_only,
            bare: repository.bare,
            metadata: repository.metadata.clone(),
            closing: repository.closing.map(|closing| closing.id.as_bytes().to_vec()).unwrap_or_default(),
            closing_since_ms: repository.closing.map(|closing| closing.since.millis()).unwrap_or_default(),
        }
    }
}

/// Domain separation of commit ids, with the format's number.
const COMMIT_DOMAIN: &[u8] = b"lakebed commit 1\0";

impl CommitRecord {
    pub(crate) fn id(&self) -> CommitId {
        let mut bytes = COMMIT_DOMAIN.to_vec();
        bytes.extend_from_slice(&self.encode_to_vec());
        CommitId::digest(&bytes)
    }
}

impl CommitRow {
    pub(crate) fn of(commit: &Commit) -> Self {
        let record = CommitRecord {
            parents: commit.parents.iter().map(|p| p.as_bytes().to_vec()).collect(),
            tree: commit.tree.map(|t| t.as_bytes().to_vec()).unwrap_or_default(),
            committer: commit.committer.clone(),
            message: commit.message.clone(),
            created_secs: commit.created_secs,
            metadata: commit.metadata.clone(),
            version: commit.version,
        };
        Self {
            record: Some(record),
            generation: commit.generation,
            id: commit.id.as_bytes().to_vec(),
            created_millis: commit.created_millis,
        }
    }

    pub(crate) fn to_commit(&self) -> Result<Commit, CatalogError> {
        let record = self.record.as_ref().ok_or(CatalogError::Damaged { what: "commit" })?;
        Ok(Commit {
            id: commit_id(&self.id)?,
            parents: record.parents.iter().map(|p| commit_id(p)).collect::<Result<_, _>>()?,
            tree: if record.tree.is_empty() { None } else { Some(node_id(&record.tree)?) },
            committer: record.committer.clone(),
            message: record.message.clone(),
            created_secs: record.created_secs,
            created_millis: self.created_millis,
            metadata: record.metadata.clone(),
            generation: self.generation,
            version: record.version,
        })
    }
}

impl Commit {
    /// A commit of these fields, with the id they give.
    pub(crate) fn seal(mut self) -> Self {
        if let Some(record) = CommitRow::of(&self).record {
            self.id = record.id();
        }
        self
    }
}

impl UploadRow {
    pub(crate) fn draft(&self) -> EntryDraft {
        EntryDraft {
            content_type: self.content_type.clone(),
            metadata: self.metadata.clone(),
            headers: self.headers.clone(),
            ..EntryDraft::default()
        }
    }
}
