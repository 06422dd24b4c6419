//! Multipart uploads (`s3-gateway` §8; `protocol.md`, Multipart): a row says address, path and state; completing and
//! aborting turn the same row, so exactly one of them wins.

use std::collections::BTreeMap;

use bytes::Bytes;
use lakebed_blocks::{BlockAddress, BlockError, ByteStream, StoredPart};
use lakebed_core::{BranchId, Incarnation, ObjectPath, RepositoryId, Timestamp};
use lakebed_kv::{Check, KeyRange, Outcome, Transaction, Version, Write};
use md5::{Digest, Md5};

use crate::catalog::Inner;
use crate::publish::MOVE_ATTEMPTS;
use crate::staging::Along;
use crate::working::busy;
use crate::{
    Catalog, CatalogError, CompletedPart, Entry, EntryBytes, EntryDraft, ErrorKind, Precondition, Repository,
    StoredBody, Upload, UploadPart, WriteTicket, keys, wire,
};

/// S3's limit on parts of an upload.
const MOST_PARTS: u32 = 10_000;

/// Part rows read or deleted at once.
const PART_PAGE: usize = 1000;

fn not_found(id: &str) -> CatalogError {
    CatalogError::refused(
        ErrorKind::UploadNotFound,
        format!("multipart upload '{id}' does not exist: it may have been aborted or completed"),
    )
}

fn index_order(branch: &str, path: &str, id: &str) -> String {
    format!("{branch}/{path}\0{id}")
}

struct Found {
    repository: std::sync::Arc<Repository>,
    row: wire::UploadRow,
    version: Version,
}

impl Found {
    fn address(&self) -> BlockAddress {
        BlockAddress::in_namespace(&self.repository.storage_namespace, &self.row.address)
    }

    fn key(&self) -> Bytes {
        keys::upload(&self.repository.incarnation, &self.row.id)
    }

    fn index_key(&self) -> Bytes {
        let order = index_order(&self.row.branch, &self.row.path, &self.row.id);
        keys::upload_index(&self.repository.incarnation, &order)
    }

    fn upload(&self) -> Result<Upload, CatalogError> {
        Ok(Upload {
            id: self.row.id.clone(),
            branch: self.row.branch.parse()?,
            path: self.row.path.parse()?,
            initiated: Timestamp::from_millis(self.row.initiated_ms),
            draft: self.row.draft(),
        })
    }
}

impl Inner {
    async fn find_upload(&self, repository: &RepositoryId, id: &str) -> Result<Found, CatalogError> {
        let (repository, _) = self.repository(repository).await?;
        let row = self.kv.get(&keys::upload(&repository.incarnation, id)).await?;
        let row = row.ok_or_else(|| not_found(id))?;
        let decoded: wire::UploadRow = wire::decode(&row.value, "upload")?;
        Ok(Found { repository, row: decoded, version: row.version })
    }

    /// An upload that still takes parts.
    async fn open_upload(&self, repository: &RepositoryId, id: &str) -> Result<Found, CatalogError> {
        let found = self.find_upload(repository, id).await?;
        if found.row.done.is_empty() { Ok(found) } else { Err(not_found(id)) }
    }

    async fn forget_parts(&self, r: &Incarnation, id: &str) -> Result<(), CatalogError> {
        let range = KeyRange::prefix(&keys::upload_parts(r, id));
        loop {
            let rows = self.kv.scan(&range, PART_PAGE).await?;
            let more = rows.len() == PART_PAGE;
            let mut transaction = Transaction::new();
            for row in rows {
                transaction = transaction.delete(row.key);
            }
            if !transaction.writes.is_empty() {
                self.kv.transact(transaction).await?;
            }
            if !more {
                return Ok(());
            }
        }
    }
}

impl Catalog {
    /// Begins an upload; the branch must be writable.
    pub async fn create_upload(
        &self,
        repository: &RepositoryId,
        branch: &BranchId,
        path: &ObjectPath,
        draft: EntryDraft,
    ) -> Result<Upload, CatalogError> {
        let inner = &self.inner;
        let ticket = self.begin_write(repository, branch, path, Precondition::None, false).await?;
        let store_upload = inner.blocks.create_multipart(&ticket.address).await?;
        let id = Incarnation::random(&*inner.entropy).to_string();
        let row = wire::UploadRow {
            id,
            branch: branch.as_str().to_owned(),
            path: path.as_str().to_owned(),
            address: ticket.relative_address,
            store_upload,
            initiated_ms: inner.clock.now().millis(),
            content_type: draft.content_type,
            metadata: draft.metadata,
            headers: draft.headers,
            ..wire::UploadRow::default()
        };
        let (repository, pin) = inner.pinned(repository).await?;
        let found = Found { repository, row, version: Version(0) };
        let transaction = Transaction::new()
            .check(pin.0, pin.1)
            .put(found.key(), wire::encode(&found.row))
            .put(found.index_key(), found.row.id.clone());
        match inner.kv.transact(transaction).await? {
            Outcome::Done(_) => found.upload(),
            Outcome::Refused(_) | Outcome::Unknown => Err(busy("create multipart upload")),
        }
    }

    /// The upload; [`ErrorKind::UploadNotFound`] if it is unknown, done or aborted.
    pub async fn upload(&self, repository: &RepositoryId, id: &str) -> Result<Upload, CatalogError> {
        self.inner.open_upload(repository, id).await?.upload()
    }

    /// Streams a part into the store, durably, but does not record it yet.
    pub async fn store_part(
        &self,
        repository: &RepositoryId,
        id: &str,
        number: u32,
        body: ByteStream,
    ) -> Result<(StoredBody, String), CatalogError> {
        if !(1..=MOST_PARTS).contains(&number) {
            return Err(CatalogError::refused(
                ErrorKind::Invalid,
                format!("part number {number}: must be 1 to {MOST_PARTS}: validation error"),
            ));
        }
        let found = self.inner.open_upload(repository, id).await?;
        let stored =
            self.inner.blocks.put_part(&found.address(), &found.row.store_upload, number, body).await;
        match stored {
            Ok((stored, tag)) => Ok((StoredBody { size: stored.size, md5: hex::encode(stored.md5) }, tag)),
            Err(BlockError::NoSuchUpload(_)) => Err(not_found(id)),
            Err(error) => Err(error.into()),
        }
    }

    /// Records a stored part (its body and the store's tag from [`Catalog::store_part`]); replaces one of the same
    /// number.
    pub async fn record_part(
        &self,
        repository: &RepositoryId,
        id: &str,
        number: u32,
        stored: (StoredBody, String),
        checksums: BTreeMap<String, String>,
    ) -> Result<UploadPart, CatalogError> {
        let inner = &self.inner;
        let found = inner.open_upload(repository, id).await?;
        let (body, tag) = stored;
        let modified = inner.clock.now();
        let row = wire::PartRow {
            size: body.size,
            md5: body.md5.clone(),
            tag,
            modified_ms: modified.millis(),
            checksums: checksums.clone(),
        };
        // That the upload still exists is checked along: a part never outlives an abort.
        let transaction = Transaction::new()
            .check(found.key(), Check::Exists)
            .put(keys::upload_part(&found.repository.incarnation, id, number), wire::encode(&row));
        match inner.kv.transact(transaction).await? {
            Outcome::Done(_) => {
                Ok(UploadPart { number, size: body.size, etag: body.md5, modified, checksums })
            }
            Outcome::Refused(_) => Err(not_found(id)),
            Outcome::Unknown => Err(busy("upload part: its outcome is unknown")),
        }
    }

    /// Parts by number, after `after`, at most `amount`; and whether more follow.
    pub async fn list_parts(
        &self,
        repository: &RepositoryId,
        id: &str,
        after: u32,
        amount: usize,
    ) -> Result<(Vec<UploadPart>, bool), CatalogError> {
        let inner = &self.inner;
        let found = inner.open_upload(repository, id).await?;
        let r = &found.repository.incarnation;
        let mut range = KeyRange::prefix(&keys::upload_parts(r, id));
        range.start = keys::upload_part(r, id, after.saturating_add(1));
        let rows = inner.kv.scan(&range, amount + 1).await?;
        let more = rows.len() > amount;
        let parts = rows.iter().take(amount).map(part).collect::<Result<_, _>>()?;
        Ok((parts, more))
    }

    /// Open uploads of a repository in order of (branch, path, id), after the text `branch/path\0id` (or
    /// `branch/path`), at most `amount`; and whether more follow.
    pub async fn list_uploads(
        &self,
        repository: &RepositoryId,
        after: Option<&str>,
        amount: usize,
    ) -> Result<(Vec<Upload>, bool), CatalogError> {
        let inner = &self.inner;
        let (record, _) = inner.repository(repository).await?;
        let mut range = KeyRange::prefix(&keys::upload_index(&record.incarnation, ""));
        if let Some(after) = after {
            let mut start = keys::upload_index(&record.incarnation, after).to_vec();
            // Behind this very upload, or behind every upload of this path.
            start.push(u8::from(!after.contains('\0')));
            range.start = start.into();
        }
        let rows = inner.kv.scan(&range, amount + 1).await?;
        let more = rows.len() > amount;
        let mut uploads = Vec::with_capacity(rows.len());
        for row in rows.iter().take(amount) {
            let id = std::str::from_utf8(&row.value)
                .map_err(|_| CatalogError::Damaged { what: "upload index" })?;
            match inner.open_upload(repository, id).await {
                Ok(found) => uploads.push(found.upload()?),
                Err(error) if error.kind() == ErrorKind::UploadNotFound => {}
                Err(error) => return Err(error),
            }
        }
        Ok((uploads, more))
    }

    /// Joins parts and links the object. Repeating a successful completion within a day answers the same. Headers in
    /// `headers` are added to those of the upload's draft.
    pub async fn complete_upload(
        &self,
        repository: &RepositoryId,
        id: &str,
        parts: &[CompletedPart],
        headers: BTreeMap<String, String>,
        precondition: Precondition,
    ) -> Result<Entry, CatalogError> {
        let inner = &self.inner;
        let mut found = inner.find_upload(repository, id).await?;
        let named =
            parts.iter().fold(String::new(), |all, part| all + &format!("{}:{};", part.number, part.etag));
        if !found.row.done.is_empty() {
            if found.row.completing != named {
                return Err(not_found(id));
            }
            let entry = EntryBytes::from_bytes(found.row.done.into());
            return Ok(entry.view().ok_or(CatalogError::Damaged { what: "upload" })?.to_entry());
        }
        if parts.is_empty() {
            return Err(CatalogError::refused(
                ErrorKind::Invalid,
                "a completion names at least one part: validation error",
            ));
        }
        let branch: BranchId = found.row.branch.parse()?;
        let path: ObjectPath = found.row.path.parse()?;
        let (stored, size, etag) = inner.match_parts(&found, parts).await?;
        // Protected, read-only, gone, precondition: refused before the upload is turned.
        let mut ticket: WriteTicket =
            self.begin_write(repository, &branch, &path, precondition, false).await?;
        ticket.relative_address.clone_from(&found.row.address);
        ticket.address = found.address();
        if found.row.completing != named {
            found.row.completing.clone_from(&named);
            let turn = Transaction::new()
                .check(found.key(), Check::Version(found.version))
                .put(found.key(), wire::encode(&found.row));
            match inner.kv.transact(turn).await? {
                Outcome::Done(version) => found.version = version,
                Outcome::Refused(_) => return Err(not_found(id)),
                Outcome::Unknown => return Err(busy("complete multipart upload")),
            }
        }
        match inner.blocks.complete_multipart(&ticket.address, &found.row.store_upload, &stored).await {
            Ok(()) => {}
            Err(BlockError::NoSuchUpload(_)) => return Err(not_found(id)),
            Err(error) => return Err(error.into()),
        }
        let mut draft = found.row.draft();
        draft.headers.extend(headers);
        (draft.size, draft.checksum, draft.mtime) = (size, etag, Some(inner.clock.now()));
        let preview = Entry {
            address: ticket.relative_address.clone(),
            size: draft.size,
            checksum: draft.checksum.clone(),
            mtime_secs: inner.clock.now().secs(),
            content_type: draft.content_type.clone(),
            metadata: draft.metadata.clone(),
            headers: draft.headers.clone(),
        };
        found.row.done = preview.encode().as_bytes().to_vec();
        found.row.done_ms = inner.clock.now().millis();
        let along = Along {
            checks: vec![(found.key(), Check::Version(found.version))],
            writes: vec![
                (found.key(), Write::Put(wire::encode(&found.row))),
                (found.index_key(), Write::Delete),
                // Repeated completions are answered for a day.
                (keys::expiry(inner.clock.now(), &found.key()), Write::Put(Bytes::new())),
            ],
        };
        let address = ticket.relative_address.clone();
        let entry = inner.stage_entry(&ticket, address, draft, &along).await?;
        inner.forget_parts(&found.repository.incarnation, id).await?;
        Ok(entry)
    }

    /// Drops an upload.
    pub async fn abort_upload(&self, repository: &RepositoryId, id: &str) -> Result<(), CatalogError> {
        let inner = &self.inner;
        for _ in 0..MOVE_ATTEMPTS {
            let found = inner.open_upload(repository, id).await?;
            let transaction = Transaction::new()
                .check(found.key(), Check::Version(found.version))
                .delete(found.key())
                .delete(found.index_key());
            if let Outcome::Done(_) = inner.kv.transact(transaction).await? {
                // The row is turned: whoever completes now fails. What is left in the store is ours to drop.
                match inner.blocks.abort_multipart(&found.address(), &found.row.store_upload).await {
                    Ok(()) | Err(BlockError::NoSuchUpload(_)) => {}
                    Err(error) => return Err(error.into()),
                }
                return inner.forget_parts(&found.repository.incarnation, id).await;
            }
        }
        Err(busy("abort multipart upload"))
    }
}

fn part(row: &lakebed_kv::Row) -> Result<UploadPart, CatalogError> {
    let damaged = || CatalogError::Damaged { what: "upload part" };
    let at = row.key.len().checked_sub(4).ok_or_else(damaged)?;
    let number = row.key[at..].try_into().map(u32::from_be_bytes).map_err(|_| damaged())?;
    let decoded: wire::PartRow = wire::decode(&row.value, "upload part")?;
    Ok(UploadPart {
        number,
        size: decoded.size,
        etag: decoded.md5,
        modified: Timestamp::from_millis(decoded.modified_ms),
        checksums: decoded.checksums,
    })
}

impl Inner {
    /// The stored parts a completion names, their size together and the ETag of the whole:
    /// `md5(concatenated part MD5s)-N`.
    async fn match_parts(
        &self,
        found: &Found,
        parts: &[CompletedPart],
    ) -> Result<(Vec<StoredPart>, u64, String), CatalogError> {
        if parts.windows(2).any(|pair| pair[0].number >= pair[1].number) {
            return Err(CatalogError::refused(
                ErrorKind::InvalidPartOrder,
                "parts must be named in ascending order of their numbers",
            ));
        }
        let mut stored = Vec::with_capacity(parts.len());
        let mut size = 0;
        let mut md5 = Md5::new();
        for chunk in parts.chunks(PART_PAGE) {
            let r = &found.repository.incarnation;
            let wanted: Vec<Bytes> =
                chunk.iter().map(|part| keys::upload_part(r, &found.row.id, part.number)).collect();
            for (named, row) in chunk.iter().zip(self.kv.get_many(&wanted).await?) {
                let invalid = || {
                    CatalogError::refused(
                        ErrorKind::InvalidPart,
                        format!(
                            "part {} was not uploaded, or its ETag is not '{}'",
                            named.number, named.etag
                        ),
                    )
                };
                let row = row.ok_or_else(invalid)?;
                let decoded: wire::PartRow = wire::decode(&row.value, "upload part")?;
                if decoded.md5 != named.etag {
                    return Err(invalid());
                }
                let digest =
                    hex::decode(&decoded.md5).map_err(|_| CatalogError::Damaged { what: "upload part" })?;
                md5.update(&digest);
                size += decoded.size;
                stored.push(StoredPart { number: named.number, tag: decoded.tag, size: decoded.size });
            }
        }
        let etag = format!("{}-{}", hex::encode(md5.finalize()), parts.len());
        Ok((stored, size, etag))
    }
}
