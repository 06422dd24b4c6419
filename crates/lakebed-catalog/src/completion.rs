//! How a multipart upload ends (`protocol.md`, Multipart). Its row is turned by one transaction at a time, so exactly
//! one end wins:
//!
//! - *completing*: which parts, for good: from here on the parts stay as they are, and only a completion of the same
//!   parts goes on. Whatever breaks off behind this point - the store, a precondition, the process - is repeated by the
//!   client, or the upload is aborted.
//! - *done*: in the transaction that links the object. Repeating the completion within a day answers the same.
//! - *aborted*: what is left in the store and of the parts is then removed, by the sweeper if need be. The bytes of a
//!   completion that lost against an abort are collected like any that no entry names.

use std::collections::BTreeMap;
use std::sync::{Arc, Weak};

use bytes::Bytes;
use lakebed_blocks::{BlockAddress, BlockError, Namespace, StoredPart};
use lakebed_core::traces::SPAN;
use lakebed_core::{BranchId, Incarnation, ObjectPath};
use lakebed_kv::{Check, KeyRange, Outcome, Transaction, Versioned, Write};
use md5::{Digest, Md5};

use crate::catalog::Inner;
use crate::multipart::{Found, PAGE, UPLOAD_LIFE_MILLIS, not_found, part};
use crate::publish::MOVE_ATTEMPTS;
use crate::staging::Along;
use crate::sweep::OUTCOME_LIFE_MILLIS;
use crate::working::busy;
use crate::{
    Catalog, CatalogError, CompletedPart, Completion, Entry, EntryBytes, ErrorKind, Upload, UploadPart,
    UploadTarget, keys, wire,
};

/// More waiting completions than this: those nobody waits for are forgotten.
const KNOWN_COMPLETIONS: usize = 1024;

impl wire::UploadRow {
    /// Neither completed nor aborted.
    pub(crate) fn is_open(&self) -> bool {
        self.done.is_empty() && !self.aborted
    }
}

/// What a completion names, in few bytes.
fn digest_of(parts: &[CompletedPart]) -> Vec<u8> {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&part.number.to_be_bytes());
        hasher.update(&(part.etag.len() as u64).to_be_bytes());
        hasher.update(part.etag.as_bytes());
    }
    hasher.finalize().as_bytes().to_vec()
}

/// The parts a completion names, as they are in the store and as the edge knows them.
struct Matched {
    stored: Vec<StoredPart>,
    parts: Vec<UploadPart>,
    size: u64,
    /// `md5(concatenated part MD5s)-N`.
    etag: String,
}

impl Catalog {
    /// Joins parts and links the object. Repeating a successful completion within a day answers the same, whatever the
    /// precondition; one that runs already is waited for.
    ///
    /// `describe` is given the upload and its parts before anything is changed. It may refuse, and what it answers is
    /// added to the headers of the upload's draft.
    #[tracing::instrument(target = SPAN, name = "catalog complete upload", skip_all)]
    pub async fn complete_upload<E: From<CatalogError>>(
        &self,
        target: &UploadTarget,
        completion: &Completion,
        describe: impl FnOnce(&Upload, &[UploadPart]) -> Result<BTreeMap<String, String>, E> + Send,
    ) -> Result<Entry, E> {
        let inner = &self.inner;
        let found = inner.find_upload(target).await?;
        let queue = inner.completion_queue(found.key());
        let _turn = queue.lock().await;
        let found = inner.find_upload(target).await?;
        let named = digest_of(&completion.parts);
        if let Some(entry) = result_of(&found, &named)? {
            return Ok(entry);
        }
        // What forbids the write is said before what is wrong with the parts. Asked again when the row is turned.
        let precondition = completion.precondition.clone();
        self.begin_write(&target.repository, &target.branch, &target.path, precondition, false).await?;
        let matched = inner.match_parts(&found, completion).await?;
        let headers = describe(&found.upload()?, &matched.parts)?;
        Ok(self.join_and_link(target, completion, &named, &matched, headers).await?)
    }

    async fn join_and_link(
        &self,
        target: &UploadTarget,
        completion: &Completion,
        named: &[u8],
        matched: &Matched,
        headers: BTreeMap<String, String>,
    ) -> Result<Entry, CatalogError> {
        let inner = &self.inner;
        for _ in 0..MOVE_ATTEMPTS {
            let mut found = inner.find_upload(target).await?;
            if let Some(entry) = result_of(&found, named)? {
                return Ok(entry);
            }
            let branch: BranchId = found.row.branch.parse()?;
            let path: ObjectPath = found.row.path.parse()?;
            // Protected, read-only, gone, precondition: refused before the upload is turned.
            let mut ticket = self
                .begin_write(&target.repository, &branch, &path, completion.precondition.clone(), false)
                .await?;
            ticket.relative_address.clone_from(&found.row.address);
            ticket.address = found.address();
            ticket.branch_incarnation = wire::id16(&found.row.branch_incarnation, "upload")?;
            if found.row.completing.is_empty() {
                found.row.completing = named.to_vec();
                let turn = Transaction::new()
                    .check(found.key(), Check::Version(found.version))
                    .put(found.key(), wire::encode(&found.row));
                match inner.kv.transact(turn).await? {
                    Outcome::Done(version) => found.version = version,
                    // Another server turned it, or we did and were not told: its row says.
                    Outcome::Refused(_) | Outcome::Unknown => continue,
                }
            }
            let store_upload = &found.row.store_upload;
            match inner.blocks.complete_multipart(&ticket.address, store_upload, &matched.stored).await {
                Ok(()) => {}
                Err(BlockError::NoSuchUpload(_)) => {
                    // Aborted meanwhile; or completed elsewhere and the object collected since.
                    return Err(not_found(&target.id));
                }
                Err(error) => return Err(error.into()),
            }
            let now = inner.clock.now();
            let mut draft = found.row.draft();
            draft.headers.extend(headers.clone());
            (draft.size, draft.checksum, draft.mtime) = (matched.size, matched.etag.clone(), Some(now));
            found.row.done = Entry {
                address: ticket.relative_address.clone(),
                size: draft.size,
                checksum: draft.checksum.clone(),
                mtime_secs: now.secs(),
                content_type: draft.content_type.clone(),
                metadata: draft.metadata.clone(),
                headers: draft.headers.clone(),
            }
            .encode()
            .as_bytes()
            .to_vec();
            found.row.done_ms = now.millis();
            let along = Along {
                checks: vec![(found.key(), Check::Version(found.version))],
                writes: vec![
                    (found.key(), Write::Put(wire::encode(&found.row))),
                    (found.index_key(), Write::Delete),
                    // Repeated completions are answered for a day.
                    (keys::expiry(now, &found.key()), Write::Put(Bytes::new())),
                ],
                ..Along::default()
            };
            let address = ticket.relative_address.clone();
            match inner.stage_entry(&ticket, address, draft, along).await {
                Ok(entry) => {
                    // The object is there; rows of parts that stay behind go with the upload's.
                    if let Err(error) = inner.forget_parts(&found.repository.incarnation, &target.id).await {
                        tracing::warn!(%error, "parts of a completed upload could not be removed yet");
                    }
                    return Ok(entry);
                }
                // The row was turned by another: completed with the same parts, or aborted.
                Err(error) if error.kind() == ErrorKind::Conflict => {}
                Err(error) => return Err(error),
            }
        }
        Err(busy("complete multipart upload"))
    }

    /// Drops an upload, also one whose completion broke off.
    pub async fn abort_upload(&self, target: &UploadTarget) -> Result<(), CatalogError> {
        let inner = &self.inner;
        for _ in 0..MOVE_ATTEMPTS {
            let found = inner.open_upload(target).await?;
            if inner.turn_to_aborted(&found.key(), found.row.clone(), found.version).await? {
                return inner.drop_aborted(&found.key(), &found.row).await;
            }
        }
        Err(busy("abort multipart upload"))
    }
}

/// The entry a completed upload became, if this completion is the one; `None`: it is not completed yet.
fn result_of(found: &Found, named: &[u8]) -> Result<Option<Entry>, CatalogError> {
    let row = &found.row;
    if row.aborted || (!row.done.is_empty() && row.completing != named) {
        return Err(not_found(&row.id));
    }
    if row.done.is_empty() {
        if !row.completing.is_empty() && row.completing != named {
            return Err(CatalogError::refused(
                ErrorKind::Conflict,
                format!(
                    "multipart upload '{}': a completion with other parts was begun: repeat that one, or abort the \
                     upload",
                    row.id
                ),
            ));
        }
        return Ok(None);
    }
    let entry = EntryBytes::from_bytes(row.done.clone().into());
    let entry = entry.view().ok_or(CatalogError::Damaged { what: "upload" })?.to_entry();
    Ok(Some(entry))
}

impl Inner {
    /// Where completions of one upload wait for each other in this process: none joins what another is joining.
    fn completion_queue(&self, key: Bytes) -> Arc<tokio::sync::Mutex<()>> {
        let mut known = self.completions.lock();
        if let Some(queue) = known.get(&key).and_then(Weak::upgrade) {
            return queue;
        }
        if known.len() >= KNOWN_COMPLETIONS {
            known.retain(|_, queue| queue.strong_count() > 0);
        }
        let queue = Arc::default();
        known.insert(key, Arc::downgrade(&queue));
        queue
    }

    async fn match_parts(&self, found: &Found, completion: &Completion) -> Result<Matched, CatalogError> {
        let named = &completion.parts;
        if named.is_empty() {
            return Err(CatalogError::refused(
                ErrorKind::Invalid,
                "a completion names at least one part: validation error",
            ));
        }
        if named.windows(2).any(|pair| pair[0].number >= pair[1].number) {
            return Err(CatalogError::refused(
                ErrorKind::InvalidPartOrder,
                "parts must be named in ascending order of their numbers",
            ));
        }
        let mut stored = Vec::with_capacity(named.len());
        let mut parts: Vec<UploadPart> = Vec::with_capacity(named.len());
        let mut size = 0;
        let mut md5 = Md5::new();
        for chunk in named.chunks(PAGE) {
            let r = &found.repository.incarnation;
            let wanted: Vec<Bytes> =
                chunk.iter().map(|part| keys::upload_part(r, &found.row.id, part.number)).collect();
            for (named, row) in chunk.iter().zip(self.kv.get_many(&wanted).await?) {
                let row = matching(named, row)?;
                let digest =
                    hex::decode(&row.md5).map_err(|_| CatalogError::Damaged { what: "upload part" })?;
                md5.update(&digest);
                size += row.size;
                parts.push(part(named.number, &row));
                stored.push(StoredPart { number: named.number, tag: row.tag, size: row.size });
            }
        }
        let least = completion.least_part_bytes;
        if let Some((_, rest)) = parts.split_last()
            && let Some(small) = rest.iter().find(|part| part.size < least)
        {
            return Err(CatalogError::PartTooSmall {
                number: small.number,
                etag: small.etag.clone(),
                size: small.size,
                least,
            });
        }
        let etag = format!("{}-{}", hex::encode(md5.finalize()), named.len());
        Ok(Matched { stored, parts, size, etag })
    }

    /// Turns the row of an upload that is open or completing, and takes it off the lists. False: it changed meanwhile.
    async fn turn_to_aborted(
        &self,
        key: &Bytes,
        mut row: wire::UploadRow,
        version: lakebed_kv::Version,
    ) -> Result<bool, CatalogError> {
        let Some((r, _)) = keys::upload_of(key) else {
            return Err(CatalogError::Damaged { what: "upload" });
        };
        row.aborted = true;
        let order = format!("{}/{}\0{}", row.branch, row.path, row.id);
        let transaction = Transaction::new()
            .check(key.clone(), Check::Version(version))
            .put(key.clone(), wire::encode(&row))
            .delete(keys::upload_index(&r, &order))
            // For the sweeper, should we not get to it ourselves.
            .put(keys::expiry(self.clock.now(), key), "");
        Ok(matches!(self.kv.transact(transaction).await?, Outcome::Done(_)))
    }

    /// Removes what an aborted upload left: in the store, its parts' rows, its own.
    async fn drop_aborted(&self, key: &Bytes, row: &wire::UploadRow) -> Result<(), CatalogError> {
        let address = BlockAddress::in_namespace(&Namespace::decode(&row.namespace), &row.address);
        match self.blocks.abort_multipart(&address, &row.store_upload).await {
            Ok(()) | Err(BlockError::NoSuchUpload(_)) => {}
            Err(error) => return Err(error.into()),
        }
        if let Some((r, id)) = keys::upload_of(key) {
            self.forget_parts(&r, id).await?;
        }
        self.kv.transact(Transaction::new().delete(key.clone())).await?;
        Ok(())
    }

    pub(crate) async fn forget_parts(&self, r: &Incarnation, id: &str) -> Result<(), CatalogError> {
        self.delete_range(KeyRange::prefix(&keys::upload_parts(r, id))).await
    }

    /// An upload's time may have come: a completed one is forgotten a day later, one that was left lying is aborted.
    pub(crate) async fn expire_upload(&self, key: &Bytes) -> Result<(), CatalogError> {
        for _ in 0..MOVE_ATTEMPTS {
            let Some(Versioned { value, version }) = self.kv.get(key).await? else { return Ok(()) };
            let row: wire::UploadRow = wire::decode(&value, "upload")?;
            let now = self.clock.now().millis();
            if !row.done.is_empty() {
                // Noted again when it was completed; this may be the note made when it was begun.
                if now - row.done_ms >= OUTCOME_LIFE_MILLIS
                    && let Some((r, id)) = keys::upload_of(key)
                {
                    self.forget_parts(&r, id).await?;
                    self.kv.transact(Transaction::new().delete(key.clone())).await?;
                }
                return Ok(());
            }
            if row.aborted {
                return self.drop_aborted(key, &row).await;
            }
            if now - row.initiated_ms < UPLOAD_LIFE_MILLIS {
                return Ok(());
            }
            if self.turn_to_aborted(key, row.clone(), version).await? {
                tracing::info!(
                    upload = row.id,
                    path = row.path,
                    "multipart upload was never completed: aborted"
                );
                return self.drop_aborted(key, &row).await;
            }
        }
        Err(busy("expire multipart upload"))
    }

    /// Drops what the uploads of a deleted repository left in the store.
    pub(crate) async fn drop_uploads(&self, r: &Incarnation) -> Result<(), CatalogError> {
        let range = KeyRange::prefix(&keys::uploads(r));
        loop {
            let rows = self.kv.scan(&range, PAGE).await?;
            for row in &rows {
                let upload: wire::UploadRow = wire::decode(&row.value, "upload")?;
                if upload.done.is_empty() {
                    self.drop_aborted(&row.key, &upload).await?;
                } else {
                    self.kv.transact(Transaction::new().delete(row.key.clone())).await?;
                }
            }
            if rows.len() < PAGE {
                return Ok(());
            }
        }
    }
}

/// The row of a part a completion names, if it is that part.
fn matching(named: &CompletedPart, row: Option<Versioned>) -> Result<wire::PartRow, CatalogError> {
    let invalid = || {
        CatalogError::refused(
            ErrorKind::InvalidPart,
            format!("part {} was not uploaded, or its ETag is not '{}'", named.number, named.etag),
        )
    };
    let row: wire::PartRow = wire::decode(&row.ok_or_else(invalid)?.value, "upload part")?;
    if row.md5 == named.etag { Ok(row) } else { Err(invalid()) }
}
