//! Multipart uploads (`s3-gateway` §8.8; `protocol.md`, Multipart): a row says address, path and state; parts have rows
//! of their own. How an upload ends - completed, aborted, expired - is in `completion`.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use lakebed_blocks::{BlockAddress, BlockError, ByteStream};
use lakebed_core::{BranchId, Entropy, ObjectPath, RepositoryId, Timestamp};
use lakebed_kv::{Check, KeyRange, Outcome, Transaction, Version};

use crate::catalog::Inner;
use crate::sweep::OUTCOME_LIFE_MILLIS;
use crate::working::{busy, outcome_unknown};
use crate::{
    Catalog, CatalogError, EntryDraft, ErrorKind, Precondition, Repository, StoredBody, Upload, UploadPart,
    UploadTarget, UploadsRequest, keys, wire,
};

/// S3's limit on parts of an upload.
const MOST_PARTS: u32 = 10_000;

/// Rows of parts or uploads read at once.
pub(crate) const PAGE: usize = 1000;

/// How long an upload that nobody completes or aborts is kept.
pub(crate) const UPLOAD_LIFE_MILLIS: i64 = 7 * 24 * 3600 * 1000;

pub(crate) fn not_found(id: &str) -> CatalogError {
    CatalogError::refused(
        ErrorKind::UploadNotFound,
        format!("multipart upload '{id}' does not exist: it may have been aborted or completed"),
    )
}

/// What S3 lists uploads by.
fn listed_key(row: &wire::UploadRow) -> String {
    format!("{}/{}", row.branch, row.path)
}

/// An id that sorts by time: the milliseconds, then randomness; 32 hex digits in all.
fn fresh_id(now: Timestamp, entropy: &dyn Entropy) -> String {
    let mut random = [0; 10];
    entropy.fill(&mut random);
    format!("{:012x}{}", now.millis().max(0) & 0xffff_ffff_ffff, hex::encode(random))
}

/// An upload's row as read.
pub(crate) struct Found {
    pub(crate) repository: Arc<Repository>,
    pub(crate) row: wire::UploadRow,
    pub(crate) version: Version,
}

impl Found {
    pub(crate) fn address(&self) -> BlockAddress {
        BlockAddress::in_namespace(&self.repository.storage_namespace, &self.row.address)
    }

    pub(crate) fn key(&self) -> Bytes {
        keys::upload(&self.repository.incarnation, &self.row.id)
    }

    pub(crate) fn index_key(&self) -> Bytes {
        let order = format!("{}\0{}", listed_key(&self.row), self.row.id);
        keys::upload_index(&self.repository.incarnation, &order)
    }

    pub(crate) fn upload(&self) -> Result<Upload, CatalogError> {
        upload(&self.row)
    }
}

fn upload(row: &wire::UploadRow) -> Result<Upload, CatalogError> {
    Ok(Upload {
        id: row.id.clone(),
        branch: row.branch.parse()?,
        path: row.path.parse()?,
        initiated: Timestamp::from_millis(row.initiated_ms),
        draft: row.draft(),
        options: row.options.clone(),
    })
}

/// A part as its row says it, by the number in its key.
pub(crate) fn part(number: u32, row: &wire::PartRow) -> UploadPart {
    UploadPart {
        number,
        size: row.size,
        etag: row.md5.clone(),
        modified: Timestamp::from_millis(row.modified_ms),
        checksums: row.checksums.clone(),
    }
}

impl Inner {
    /// The upload's row, whatever its state. An id of another object is no upload of this one.
    pub(crate) async fn find_upload(&self, target: &UploadTarget) -> Result<Found, CatalogError> {
        let (repository, _) = self.repository(&target.repository).await?;
        let row = self.kv.get(&keys::upload(&repository.incarnation, &target.id)).await?;
        let row = row.ok_or_else(|| not_found(&target.id))?;
        let decoded: wire::UploadRow = wire::decode(&row.value, "upload")?;
        if decoded.branch != target.branch.as_str() || decoded.path != target.path.as_str() {
            return Err(not_found(&target.id));
        }
        Ok(Found { repository, row: decoded, version: row.version })
    }

    /// An upload that was neither completed nor aborted.
    pub(crate) async fn open_upload(&self, target: &UploadTarget) -> Result<Found, CatalogError> {
        let found = self.find_upload(target).await?;
        if found.row.is_open() { Ok(found) } else { Err(not_found(&target.id)) }
    }

    /// An upload that still takes parts: the parts of one that is being completed stay as they are.
    async fn collecting_upload(&self, target: &UploadTarget) -> Result<Found, CatalogError> {
        let found = self.open_upload(target).await?;
        if found.row.completing.is_empty() { Ok(found) } else { Err(not_found(&target.id)) }
    }
}

impl Catalog {
    /// Begins an upload; the branch must be writable. `options` is what the edge wants to remember of the upload
    /// itself.
    pub async fn create_upload(
        &self,
        repository: &RepositoryId,
        branch: &BranchId,
        path: &ObjectPath,
        draft: EntryDraft,
        options: BTreeMap<String, String>,
    ) -> Result<Upload, CatalogError> {
        let inner = &self.inner;
        let ticket = self.begin_write(repository, branch, path, Precondition::None, false).await?;
        let (repository, pin) = inner.pinned(repository).await?;
        if repository.incarnation != ticket.incarnation {
            return Err(crate::catalog::repository_not_found(&ticket.repository));
        }
        let store_upload = inner.blocks.create_multipart(&ticket.address).await?;
        let now = inner.clock.now();
        let row = wire::UploadRow {
            id: fresh_id(now, &*inner.entropy),
            branch: branch.as_str().to_owned(),
            path: path.as_str().to_owned(),
            address: ticket.relative_address,
            store_upload,
            initiated_ms: now.millis(),
            content_type: draft.content_type,
            metadata: draft.metadata,
            headers: draft.headers,
            options,
            branch_incarnation: ticket.branch_incarnation.as_bytes().to_vec(),
            namespace: repository.storage_namespace.encode(),
            ..wire::UploadRow::default()
        };
        let found = Found { repository, row, version: Version(0) };
        let noted = now.plus_millis(UPLOAD_LIFE_MILLIS - OUTCOME_LIFE_MILLIS);
        let transaction = Transaction::new()
            .check(pin.0, pin.1)
            .put(found.key(), wire::encode(&found.row))
            .put(found.index_key(), found.row.id.clone())
            .put(keys::expiry(noted, &found.key()), "");
        match inner.kv.transact(transaction).await? {
            Outcome::Done(_) => found.upload(),
            Outcome::Refused(_) | Outcome::Unknown => Err(busy("create multipart upload")),
        }
    }

    /// The upload; [`ErrorKind::UploadNotFound`] if it is unknown, another object's, done or aborted.
    pub async fn upload(&self, target: &UploadTarget) -> Result<Upload, CatalogError> {
        self.inner.open_upload(target).await?.upload()
    }

    /// May parts be uploaded? The branch must (still) be writable and the upload collect parts. To be asked before the
    /// body is read.
    pub async fn begin_part(&self, target: &UploadTarget, number: u32) -> Result<Upload, CatalogError> {
        if !(1..=MOST_PARTS).contains(&number) {
            return Err(CatalogError::refused(
                ErrorKind::Invalid,
                format!("Part number must be an integer between 1 and {MOST_PARTS}, inclusive"),
            ));
        }
        self.inner.writable(&target.repository, &target.branch, false).await?;
        self.inner.collecting_upload(target).await?.upload()
    }

    /// Streams a part into the store, durably, but does not record it yet; `size` if its length is known. Asks [`Catalog::begin_part`] first.
    pub async fn store_part(
        &self,
        target: &UploadTarget,
        number: u32,
        body: ByteStream,
        size: Option<u64>,
    ) -> Result<(StoredBody, String), CatalogError> {
        self.begin_part(target, number).await?;
        let found = self.inner.collecting_upload(target).await?;
        let stored =
            self.inner.blocks.put_part(&found.address(), &found.row.store_upload, number, body, size).await;
        match stored {
            Ok((stored, tag)) => Ok((StoredBody { size: stored.size, md5: hex::encode(stored.md5) }, tag)),
            Err(BlockError::NoSuchUpload(_)) => Err(not_found(&target.id)),
            Err(error) => Err(error.into()),
        }
    }

    /// Records a stored part (its body and the store's tag from [`Catalog::store_part`]); replaces one of the same
    /// number.
    pub async fn record_part(
        &self,
        target: &UploadTarget,
        number: u32,
        stored: (StoredBody, String),
        checksums: BTreeMap<String, String>,
    ) -> Result<UploadPart, CatalogError> {
        let inner = &self.inner;
        let found = inner.collecting_upload(target).await?;
        let (body, tag) = stored;
        let row = wire::PartRow {
            size: body.size,
            md5: body.md5,
            tag,
            modified_ms: inner.clock.now().millis(),
            checksums,
        };
        // That the upload still collects is checked along: no part outlives an abort, and none changes under a
        // completion.
        let transaction = Transaction::new()
            .check(found.key(), Check::Version(found.version))
            .put(keys::upload_part(&found.repository.incarnation, &target.id, number), wire::encode(&row));
        match inner.kv.transact(transaction).await? {
            Outcome::Done(_) => Ok(part(number, &row)),
            Outcome::Refused(_) => Err(not_found(&target.id)),
            Outcome::Unknown => Err(outcome_unknown("upload part")),
        }
    }

    /// Parts by number, after `after`, at most `amount`; and whether more follow.
    pub async fn list_parts(
        &self,
        target: &UploadTarget,
        after: u32,
        amount: usize,
    ) -> Result<(Vec<UploadPart>, bool), CatalogError> {
        let inner = &self.inner;
        let found = inner.open_upload(target).await?;
        let r = &found.repository.incarnation;
        let mut range = KeyRange::prefix(&keys::upload_parts(r, &target.id));
        range.start = keys::upload_part(r, &target.id, after.saturating_add(1));
        let rows = inner.kv.scan(&range, amount + 1).await?;
        let more = rows.len() > amount;
        let damaged = || CatalogError::Damaged { what: "upload part" };
        let mut parts = Vec::with_capacity(rows.len().min(amount));
        for row in rows.iter().take(amount) {
            let number = row.key.last_chunk().copied().map(u32::from_be_bytes).ok_or_else(damaged)?;
            parts.push(part(number, &wire::decode(&row.value, "upload part")?));
        }
        Ok((parts, more))
    }

    /// A page of a repository's open uploads; and whether more follow.
    pub async fn list_uploads(
        &self,
        repository: &RepositoryId,
        request: &UploadsRequest,
    ) -> Result<(Vec<Upload>, bool), CatalogError> {
        let inner = &self.inner;
        let (record, _) = inner.repository(repository).await?;
        let r = &record.incarnation;
        let mut range = KeyRange::prefix(&keys::upload_index(r, &request.prefix));
        if !request.after.is_empty() {
            let after = match &request.after_id {
                Some(id) => format!("{}\0{id}\0", request.after),
                // Behind every upload of this very path.
                None => format!("{}\u{1}", request.after),
            };
            range.start = range.start.max(keys::upload_index(r, &after));
        }
        let mut uploads = Vec::new();
        loop {
            let rows = inner.kv.scan(&range, PAGE.min(request.amount + 1)).await?;
            let Some(last) = rows.last() else { return Ok((uploads, false)) };
            range.start = successor_of(&last.key);
            let wanted: Vec<Bytes> = rows
                .iter()
                .map(|row| match std::str::from_utf8(&row.value) {
                    Ok(id) => Ok(keys::upload(r, id)),
                    Err(_) => Err(CatalogError::Damaged { what: "upload index" }),
                })
                .collect::<Result<_, _>>()?;
            for row in inner.kv.get_many(&wanted).await?.into_iter().flatten() {
                let row: wire::UploadRow = wire::decode(&row.value, "upload")?;
                // One that ended since the index was read is simply not there.
                if !row.is_open() {
                    continue;
                }
                if uploads.len() == request.amount {
                    return Ok((uploads, true));
                }
                uploads.push(upload(&row)?);
            }
        }
    }
}

/// The first key behind this one.
fn successor_of(key: &Bytes) -> Bytes {
    let mut next = key.to_vec();
    next.push(0);
    next.into()
}
