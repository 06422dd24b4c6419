//! Objects: look up, read, write, delete, copy (`api-objects`).

use std::collections::BTreeMap;
use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use lakebed_blocks::{BlockAddress, ByteRange, ByteStream, Namespace, PutOptions};
use lakebed_core::{BranchId, CommitId, ObjectName, ObjectPath, RefExpr, RepositoryId, Timestamp};
use parking_lot::Mutex;
use sha2::Sha256;
use subtle::ConstantTimeEq;

use crate::branch_state::BranchState;
use crate::catalog::Inner;
use crate::entry::MAX_ENTRY_BYTES;
use crate::import::tag_of;
use crate::refs::{Target, is_working_state};
use crate::staging::{Along, Change, StagedWrite, check_precondition};
use crate::{
    Catalog, CatalogError, CopyRequest, Entry, EntryBytes, EntryDraft, EntryView, ErrorKind, Precondition,
    Repository, StoredBody, WriteTicket, keys,
};

/// How long an issued address may be linked (`api-objects` §6).
pub(crate) const ADDRESS_LIFE_SECS: i64 = 24 * 3600;

/// A slice of `data/` belongs to one server for an hour or this many objects (`operations.md` 4.2).
const SLICE_OBJECTS: u32 = 100_000;
const SLICE_MILLIS: i64 = 3_600_000;

/// The directory new objects of this server go to.
#[derive(Default)]
pub(crate) struct Slice {
    current: Option<(ObjectName, Timestamp)>,
    used: u32,
}

impl Inner {
    /// A fresh address under a namespace: `data/<slice>/<object>`. Newer slices sort first; the object id carries its
    /// creation time.
    fn fresh_address(&self) -> String {
        let now = self.clock.now();
        let mut slice = self.slice.lock();
        let stale = slice.current.is_none_or(|(_, since)| now.millis() - since.millis() > SLICE_MILLIS);
        if stale || slice.used >= SLICE_OBJECTS {
            *slice = Slice { current: Some((ObjectName::descending(now, &*self.entropy), now)), used: 0 };
        }
        slice.used += 1;
        let name = slice.current.map(|(name, _)| name.to_string()).unwrap_or_default();
        format!("data/{name}/{}", ObjectName::ascending(now, &*self.entropy))
    }

    /// Signs an address together with the store it is in.
    fn sign_address(&self, namespace: &Namespace, address: &str) -> String {
        let Ok(mut mac) = Hmac::<Sha256>::new_from_slice(&self.signing_key) else {
            // HMAC takes keys of any length; an empty signature verifies nowhere.
            return String::new();
        };
        mac.update(Namespace::new(namespace.store().clone(), address).encode().as_bytes());
        URL_SAFE_NO_PAD.encode(mac.finalize().into_bytes())
    }

    /// The relative address behind one issued by us; refuses others inside the namespace.
    fn verify_issued(&self, repository: &Repository, address: &str) -> Result<String, CatalogError> {
        let refused = |why: &str| {
            CatalogError::refused(
                ErrorKind::Invalid,
                format!(
                    "physical address '{address}': {why}: ask for a new one: link address validation error"
                ),
            )
        };
        let (unsigned, signature) =
            address.rsplit_once(',').ok_or_else(|| refused("it carries no signature"))?;
        let right = self.sign_address(&repository.storage_namespace, unsigned);
        if right.is_empty() || !bool::from(right.as_bytes().ct_eq(signature.as_bytes())) {
            return Err(refused("its signature is wrong"));
        }
        let relative = repository
            .storage_namespace
            .key_in(unsigned)
            .ok_or_else(|| refused("it belongs to another repository"))?;
        let name = unsigned.rsplit('/').next().and_then(|name| name.parse::<ObjectName>().ok());
        let age = name.map_or(i64::MAX, |name| self.clock.now().secs() - name.ascending_secs());
        if age > ADDRESS_LIFE_SECS {
            return Err(refused("it is older than a day"));
        }
        Ok(relative.to_owned())
    }

    /// An address given by a client as entries keep it: issued by us, or outside the namespace.
    pub(crate) async fn linkable(
        &self,
        repository: &Repository,
        address: &str,
    ) -> Result<String, CatalogError> {
        if repository.storage_namespace.key_in(address).is_some() {
            return self.verify_issued(repository, address);
        }
        self.check_scheme(repository, address)?;
        self.mention(repository, address).await?;
        Ok(address.to_owned())
    }

    fn check_scheme(&self, repository: &Repository, address: &str) -> Result<(), CatalogError> {
        let scheme = self.store_of(repository)?.scheme;
        let rest = address.strip_prefix(scheme).and_then(|rest| rest.strip_prefix("://"));
        if rest.is_none_or(str::is_empty) {
            return Err(CatalogError::refused(
                ErrorKind::Invalid,
                format!(
                    "physical address '{address}': the repository's store takes {scheme}://... addresses: \
                     validation error"
                ),
            ));
        }
        Ok(())
    }

    pub(crate) fn entry(
        &self,
        address: String,
        draft: EntryDraft,
        path: &ObjectPath,
    ) -> Result<(Entry, EntryBytes), CatalogError> {
        let entry = Entry {
            address,
            size: draft.size,
            checksum: draft.checksum,
            mtime_secs: draft.mtime.unwrap_or_else(|| self.clock.now()).secs(),
            content_type: draft.content_type,
            metadata: draft.metadata,
            headers: draft.headers,
        };
        let bytes = entry.encode();
        if bytes.as_bytes().len() > MAX_ENTRY_BYTES {
            return Err(CatalogError::refused(
                ErrorKind::Invalid,
                format!(
                    "'{path}': metadata and content type take {} bytes, at most {MAX_ENTRY_BYTES} are kept: \
                     validation error",
                    bytes.as_bytes().len()
                ),
            ));
        }
        Ok((entry, bytes))
    }

    /// Stages an entry at a ticket's path, with further checks and writes.
    pub(crate) async fn stage_entry(
        &self,
        ticket: &WriteTicket,
        address: String,
        draft: EntryDraft,
        mut along: Along,
    ) -> Result<Entry, CatalogError> {
        // The names may have been given to others since the ticket: the bytes would lie elsewhere.
        along.of = Some((ticket.incarnation, ticket.branch_incarnation));
        let (entry, bytes) = self.entry(address, draft, &ticket.path)?;
        let target = (&ticket.repository, &ticket.branch, &ticket.path);
        let make = |_| Ok(Change::Put(bytes.clone()));
        let begun = ticket.begun.is_fresh(self.clock.now()).then(|| ticket.begun.clone());
        let write =
            StagedWrite { precondition: &ticket.precondition, force: ticket.force, along: &along, begun };
        self.stage(target, write, &make, false).await?;
        Ok(entry)
    }
}

impl Catalog {
    /// The entry of an object, in a branch's working state or a commit.
    pub async fn stat(
        &self,
        repository: &RepositoryId,
        expr: &RefExpr,
        path: &ObjectPath,
    ) -> Result<EntryBytes, CatalogError> {
        Ok(self.locate(repository, expr, path).await?.1)
    }

    /// [`Catalog::stat`], with the repository whose namespace the entry's address belongs to.
    pub async fn locate(
        &self,
        repository: &RepositoryId,
        expr: &RefExpr,
        path: &ObjectPath,
    ) -> Result<(Arc<Repository>, EntryBytes), CatalogError> {
        let (repository, entry, _) = self.locate_at(repository, expr, path).await?;
        Ok((repository, entry))
    }

    /// [`Catalog::locate`], with a commit that has this entry at this path: the one read, or the branch's head where
    /// nothing is staged for the path. `None` of an uncommitted entry, which no commit has yet.
    pub async fn locate_at(
        &self,
        repository: &RepositoryId,
        expr: &RefExpr,
        path: &ObjectPath,
    ) -> Result<(Arc<Repository>, EntryBytes, Option<CommitId>), CatalogError> {
        let inner = &self.inner;
        // What the branch's layers say of the path is read along, with the layers it had when it was read last.
        let mut guess: Option<Arc<BranchState>> = None;
        let beneath = |repository: &Repository| {
            let mut wanted = vec![keys::reference(&repository.incarnation, expr.base())];
            guess = inner.known_branch(&wanted[0]).filter(|_| is_working_state(expr));
            wanted.extend(guess.iter().flat_map(|state| state.keys_of(path.as_bytes())));
            wanted
        };
        let (repository, _, rows) = inner.repository_with(repository, beneath).await?;
        let Some((row, staged)) = rows.split_first() else {
            return Err(CatalogError::Damaged { what: "answer of the key-value engine" });
        };
        let (entry, at) = match inner.target_in(&repository, expr, row.as_ref()).await? {
            Target::Branch(state) => {
                let found = match guess {
                    Some(guess) if guess.version == state.version => {
                        inner.working_entry_in(&repository, &state, path.as_bytes(), staged).await?
                    }
                    _ => None,
                };
                match found {
                    Some((entry, _, of_head)) => {
                        (entry.map(EntryBytes::from_bytes), of_head.then_some(state.head))
                    }
                    None => inner.working_entry_at(&repository, expr.base(), path, state).await?,
                }
            }
            Target::Commit(commit) => match &commit.tree {
                Some(tree) => {
                    let found =
                        lakebed_tree::lookup(&*inner.nodes(&repository), tree, path.as_bytes()).await?;
                    (found.map(EntryBytes::from_bytes), Some(commit.id))
                }
                None => (None, None),
            },
        };
        let entry = entry.ok_or_else(|| {
            CatalogError::refused(ErrorKind::ObjectNotFound, format!("object '{path}' of '{expr}' not found"))
        })?;
        Ok((repository, entry, at))
    }

    /// The bytes at an entry's full address. [`ErrorKind::ObjectGone`] if the store has none.
    pub async fn read(
        &self,
        address: &BlockAddress,
        range: Option<ByteRange>,
    ) -> Result<ByteStream, CatalogError> {
        Ok(self.inner.blocks.get(address, range).await?)
    }

    /// Compares an entry with what the store has at its address now: for objects that were imported or linked, whose
    /// bytes others may change. [`ErrorKind::ObjectGone`] if there is nothing, [`ErrorKind::PreconditionFailed`] if it is
    /// something else.
    pub async fn verify(&self, repository: &Repository, entry: &EntryView<'_>) -> Result<(), CatalogError> {
        let address = entry.full_address(&repository.storage_namespace);
        let now = self.inner.blocks.head(&address).await?;
        let own = repository.storage_namespace.key_of(&address).is_some();
        let same_tag = tag_of(&now) == entry.checksum;
        // What a client linked may have a digest of its own for a checksum; with a dash in it, it is a store's tag.
        let same_time = now.mtime_secs == entry.mtime_secs && !entry.checksum.contains('-');
        if now.size == entry.size && (own || same_tag || same_time) {
            return Ok(());
        }
        Err(CatalogError::refused(
            ErrorKind::PreconditionFailed,
            format!(
                "source object changed since import: '{address}' had {} bytes, it has {} now, and its time or tag \
                 differ: import it again",
                entry.size, now.size
            ),
        ))
    }

    /// May this path be written? Checks repository, branch, protection, read-only and the precondition, and gives a
    /// fresh address. Nothing is promised until [`Catalog::link`].
    pub async fn begin_write(
        &self,
        repository: &RepositoryId,
        branch: &BranchId,
        path: &ObjectPath,
        precondition: Precondition,
        force: bool,
    ) -> Result<WriteTicket, CatalogError> {
        let inner = &self.inner;
        let begun = inner.writable(repository, branch, force).await?;
        let record = &begun.repository;
        if precondition != Precondition::None {
            let entry = inner.working_entry_of(record, branch.as_str(), path, begun.state.clone()).await?;
            check_precondition(&precondition, entry.as_ref(), path)?;
        }
        let relative_address = inner.fresh_address();
        Ok(WriteTicket {
            repository: repository.clone(),
            incarnation: record.incarnation,
            branch: branch.clone(),
            branch_incarnation: begun.state.incarnation,
            path: path.clone(),
            address: BlockAddress::in_namespace(&record.storage_namespace, &relative_address),
            relative_address,
            precondition,
            force,
            begun,
        })
    }

    /// Streams the bytes to the ticket's address, durably. `size_hint` is the length if known.
    pub async fn store_body(
        &self,
        ticket: &WriteTicket,
        body: ByteStream,
        size_hint: Option<u64>,
    ) -> Result<StoredBody, CatalogError> {
        let options = PutOptions { if_absent: false, size_hint };
        let stored = self.inner.blocks.put(&ticket.address, body, options).await?;
        Ok(StoredBody { size: stored.size, md5: hex::encode(stored.md5) })
    }

    /// Stages an entry for the bytes at the ticket's address: one atomic, durable step.
    pub async fn link(&self, ticket: WriteTicket, draft: EntryDraft) -> Result<Entry, CatalogError> {
        let address = ticket.relative_address.clone();
        self.inner.stage_entry(&ticket, address, draft, Along::default()).await
    }

    /// Stages an entry for an address given by the client: issued by [`Catalog::issue_address`] (signature and age are
    /// verified) or outside the namespace.
    pub async fn link_address(
        &self,
        ticket: WriteTicket,
        address: &str,
        draft: EntryDraft,
    ) -> Result<Entry, CatalogError> {
        let kept = self.inner.linkable(&ticket.begun.repository, address).await?;
        self.inner.stage_entry(&ticket, kept, draft, Along::default()).await
    }

    /// A signed address inside the namespace for a client that writes the bytes itself.
    pub async fn issue_address(&self, repository: &RepositoryId) -> Result<String, CatalogError> {
        let repository = self.repository(repository).await?;
        let address = BlockAddress::in_namespace(&repository.storage_namespace, &self.inner.fresh_address());
        Ok(format!("{address},{}", self.inner.sign_address(&repository.storage_namespace, address.as_str())))
    }

    /// The address behind one issued to a client; signature and age are verified.
    pub async fn issued_address(
        &self,
        repository: &RepositoryId,
        issued: &str,
    ) -> Result<BlockAddress, CatalogError> {
        let repository = self.repository(repository).await?;
        let relative = self.inner.verify_issued(&repository, issued)?;
        Ok(BlockAddress::in_namespace(&repository.storage_namespace, &relative))
    }

    /// Registers any address of this store without checking it (`stageObject`).
    pub async fn stage_address(
        &self,
        ticket: WriteTicket,
        address: &str,
        draft: EntryDraft,
    ) -> Result<Entry, CatalogError> {
        let repository = &ticket.begun.repository;
        self.inner.check_scheme(repository, address)?;
        self.inner.mention(repository, address).await?;
        let kept = repository.storage_namespace.key_in(address).unwrap_or(address).to_owned();
        self.inner.stage_entry(&ticket, kept, draft, Along::default()).await
    }

    /// Deletes an object from a branch's working state; an absent one is fine, whatever the precondition.
    pub async fn delete_object(
        &self,
        repository: &RepositoryId,
        branch: &BranchId,
        path: &ObjectPath,
        precondition: Precondition,
        force: bool,
    ) -> Result<(), CatalogError> {
        let target = (repository, branch, path);
        let make = |_| Ok(Change::Delete);
        let along = Along::default();
        let write = StagedWrite { force, ..StagedWrite::of(&precondition, &along) };
        match self.inner.stage(target, write, &make, false).await {
            Err(error) if error.kind() == ErrorKind::ObjectNotFound => Ok(()),
            other => other,
        }
    }

    /// Deletes many, each with its own result, in order.
    pub async fn delete_objects(
        &self,
        repository: &RepositoryId,
        branch: &BranchId,
        paths: &[ObjectPath],
        force: bool,
    ) -> Result<Vec<Result<(), CatalogError>>, CatalogError> {
        // What holds for all is asked once; what changes in between is noticed by each transaction.
        let mut begun = Some(self.inner.writable(repository, branch, force).await?);
        let mut unique: Vec<&ObjectPath> = paths.iter().collect();
        unique.sort_unstable();
        unique.dedup();
        let per_transaction = (self.inner.kv.limits().max_items / 2).clamp(1, 512);
        let mut failed: BTreeMap<&ObjectPath, CatalogError> = BTreeMap::new();
        for chunk in unique.chunks(per_transaction) {
            if let Err(error) = self.inner.stage_deletes(repository, branch, chunk, force, begun.take()).await
            {
                for path in chunk {
                    failed.insert(path, CatalogError::refused(error.kind(), error.to_string()));
                }
            }
        }
        Ok(paths
            .iter()
            .map(|path| match failed.get(path) {
                Some(error) => Err(CatalogError::refused(error.kind(), error.to_string())),
                None => Ok(()),
            })
            .collect())
    }

    /// Copies an object inside the store; the bytes get an address of their own unless the copy is shallow.
    pub async fn copy_object(&self, request: CopyRequest) -> Result<Entry, CatalogError> {
        let source = self.stat(&request.source_repository, &request.source_ref, &request.source_path).await?;
        let source = source.view().ok_or(CatalogError::Damaged { what: "entry" })?.to_entry();
        let from = self.repository(&request.source_repository).await?;
        let CopyRequest { repository, branch, path, precondition, force, shallow, .. } = request;
        let ticket = self.begin_write(&repository, &branch, &path, precondition, force).await?;
        let draft = EntryDraft { mtime: None, ..source.to_draft() };
        if shallow {
            return self.link_copy(ticket, &from, &source, draft).await;
        }
        self.inner.blocks.copy(&source.full_address(&from.storage_namespace), &ticket.address).await?;
        self.link(ticket, EntryDraft { size: source.size, checksum: source.checksum, ..draft }).await
    }

    /// Stages an entry for the bytes of another one at the ticket's path: shared within a repository, since objects
    /// never change; copied from another repository. Size and checksum are the source's.
    pub async fn link_copy(
        &self,
        ticket: WriteTicket,
        source_repository: &Repository,
        source: &Entry,
        mut draft: EntryDraft,
    ) -> Result<Entry, CatalogError> {
        (draft.size, draft.checksum) = (source.size, source.checksum.clone());
        if source_repository.incarnation == ticket.incarnation {
            let address = source.address.clone();
            return self.inner.stage_entry(&ticket, address, draft, Along::default()).await;
        }
        let from = source.full_address(&source_repository.storage_namespace);
        self.inner.blocks.copy(&from, &ticket.address).await?;
        self.link(ticket, draft).await
    }

    /// Replaces the user metadata of an object, atomically against other writes to the path.
    pub async fn set_user_metadata(
        &self,
        repository: &RepositoryId,
        branch: &BranchId,
        path: &ObjectPath,
        metadata: BTreeMap<String, String>,
        force: bool,
    ) -> Result<Entry, CatalogError> {
        self.update_entry(repository, branch, path, force, &|entry: &mut Entry| {
            entry.metadata.clone_from(&metadata);
        })
        .await
    }

    /// Changes what an object says of itself (not its bytes), atomically against other writes to the path.
    pub async fn update_entry(
        &self,
        repository: &RepositoryId,
        branch: &BranchId,
        path: &ObjectPath,
        force: bool,
        change: &(dyn Fn(&mut Entry) + Sync),
    ) -> Result<Entry, CatalogError> {
        let result: Mutex<Option<Entry>> = Mutex::new(None);
        let make = |current: Option<EntryBytes>| {
            let current = current.ok_or_else(|| {
                CatalogError::refused(ErrorKind::ObjectNotFound, format!("object '{path}' not found"))
            })?;
            let mut entry = current.view().ok_or(CatalogError::Damaged { what: "entry" })?.to_entry();
            change(&mut entry);
            let bytes = entry.encode();
            if bytes.as_bytes().len() > MAX_ENTRY_BYTES {
                return Err(CatalogError::refused(
                    ErrorKind::Invalid,
                    format!(
                        "'{path}': metadata is too large, at most {MAX_ENTRY_BYTES} bytes: validation error"
                    ),
                ));
            }
            *result.lock() = Some(entry);
            Ok(Change::Put(bytes))
        };
        let target = (repository, branch, path);
        let (precondition, along) = (Precondition::None, Along::default());
        let write = StagedWrite { force, ..StagedWrite::of(&precondition, &along) };
        self.inner.stage(target, write, &make, true).await?;
        result.into_inner().ok_or(CatalogError::Damaged { what: "entry" })
    }

    /// Stores small content and stages it: for sample data and tests.
    pub async fn put_bytes(
        &self,
        repository: &RepositoryId,
        branch: &BranchId,
        path: &ObjectPath,
        content_type: &str,
        bytes: Bytes,
    ) -> Result<Entry, CatalogError> {
        let ticket = self.begin_write(repository, branch, path, Precondition::None, false).await?;
        let size = bytes.len() as u64;
        let body: ByteStream = Box::pin(futures::stream::iter([Ok(bytes)]));
        let stored = self.store_body(&ticket, body, Some(size)).await?;
        let draft = EntryDraft {
            size: stored.size,
            checksum: stored.md5,
            content_type: content_type.to_owned(),
            ..EntryDraft::default()
        };
        self.link(ticket, draft).await
    }
}
