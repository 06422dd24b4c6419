//! Blobs on their way in: whole, and in blocks.
//!
//! The service knows no uploads, only blocks that wait at a blob's name for a list of them. An upload is a random id that
//! all its blocks' ids begin with, and its first block is a mark that stands for it until it is completed or aborted.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::{Method, StatusCode};
use md5::{Digest, Md5};

use super::errors::Said;
use super::{Asked, Inner};
use crate::remote::announced::announced;
use crate::remote::client::Sent;
use crate::remote::parts::{PART, Parts, SMALL, part_size, unannounced};
use crate::{BlockAddress, BlockError, ByteStream, PutOptions, Stored, StoredPart};

/// The most that one block takes.
const SINGLE: u64 = 4000 << 20;
/// Digits of an upload's id.
const ID: usize = 32;

/// The id of a block: all of one blob have the same length. `attempt` tells a part sent again from the one before.
fn block_id(upload: &str, number: u32, attempt: &str) -> String {
    STANDARD.encode(format!("{upload}-{number:05}-{attempt}"))
}

/// The mark of an upload: the block before its first.
fn mark(upload: &str) -> String {
    block_id(upload, 0, "00000000")
}

fn is_hex(text: &str, length: usize) -> bool {
    text.len() == length && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// The id of an upload as it was given; anything else is of none.
fn known(upload: &str) -> Result<(), BlockError> {
    if is_hex(upload, ID) { Ok(()) } else { Err(BlockError::NoSuchUpload(upload.to_owned())) }
}

fn list_of(ids: impl Iterator<Item = String>) -> Sent {
    let mut list = String::from("<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>");
    for id in ids {
        // The latest of this id, committed already where an earlier attempt's answer was lost.
        list.extend(["<Latest>", &id, "</Latest>"]);
    }
    Sent::Bytes((list + "</BlockList>").into())
}

fn md5_of(bytes: &[u8]) -> String {
    STANDARD.encode(Md5::digest(bytes))
}

impl Inner {
    pub(super) async fn upload(
        &self,
        address: &BlockAddress,
        body: ByteStream,
        options: PutOptions,
    ) -> Result<Stored, BlockError> {
        match options.size_hint {
            Some(size) if SMALL < size && size <= SINGLE => {
                let (body, outcome) = announced(body, size);
                let mut call = self.put_blob(address, Sent::Once(body), options.if_absent).await;
                if options.if_absent && outcome.is_cut_off(&call) && self.properties(address).await.is_ok() {
                    call = Err(BlockError::Exists(address.clone()));
                }
                let (md5, stored) = outcome.of(call)?;
                if md5.is_some_and(|md5| md5 != STANDARD.encode(stored.md5)) {
                    return Err(BlockError::Unavailable {
                        what: "put",
                        why: format!("what the store keeps at {address} is not what was sent: send it again"),
                    });
                }
                Ok(stored)
            }
            _ => {
                let mut parts = Parts::of(body);
                let first = parts.next(PART).await?;
                if first.len() < PART {
                    self.put_blob(address, Sent::Bytes(first), options.if_absent).await?;
                    return Ok(parts.stored());
                }
                self.upload_in_blocks(address, parts, first, options.if_absent).await
            }
        }
    }

    /// One request. Answers the MD5 that the service computed.
    pub(super) async fn put_blob(
        &self,
        address: &BlockAddress,
        body: Sent,
        if_absent: bool,
    ) -> Result<Option<String>, BlockError> {
        let mut asked = Asked::new(Method::PUT, self.at(address)?).with("x-ms-blob-type", "BlockBlob");
        let mut digest = None;
        if let Sent::Bytes(bytes) = &body {
            // The service compares it.
            let md5 = md5_of(bytes);
            asked = asked.with("content-md5", &md5);
            digest = Some(md5);
        }
        if if_absent {
            asked = asked.with("if-none-match", "*");
        }
        asked.body = body;
        let answer = self.send("put", address, asked).await?;
        if answer.status.is_success() {
            return Ok(answer.header("content-md5").map(str::to_owned));
        }
        let again = answer.attempts > 1;
        match Said::by(answer).await.error("put", address) {
            // An earlier attempt may have stored it, its answer lost: then what is there is ours.
            BlockError::Exists(_)
                if again
                    && digest.is_some()
                    && self.properties(address).await?.header("content-md5") == digest.as_deref() =>
            {
                Ok(digest)
            }
            error => Err(error),
        }
    }

    /// A body of unknown length, or one too long for a single request. Blocks of one that breaks off wait for nothing and
    /// go after a week.
    async fn upload_in_blocks(
        &self,
        address: &BlockAddress,
        mut body: Parts,
        first: Bytes,
        if_absent: bool,
    ) -> Result<Stored, BlockError> {
        let upload = self.fresh(ID);
        let (mut ids, mut part) = (Vec::new(), first);
        while !part.is_empty() {
            let number = ids.len() as u32 + 1;
            let id = block_id(&upload, number, "00000000");
            // The next block is read while this one is on its way.
            let (sent, next) = tokio::join!(
                self.put_block("put", address, &id, Sent::Bytes(part)),
                body.next(part_size(number)),
            );
            // What the body says of itself goes first.
            part = next?;
            sent?;
            ids.push(id);
        }
        match self.put_list("put", address, list_of(ids.into_iter()), if_absent).await {
            // Blocks that wait at this name go when another list makes the blob.
            Err(error) if if_absent && !matches!(error, BlockError::Exists(_)) => {
                match self.properties(address).await {
                    Ok(_) => Err(BlockError::Exists(address.clone())),
                    Err(_) => Err(error),
                }
            }
            other => other.map(|()| body.stored()),
        }
    }

    /// Random hex digits.
    fn fresh(&self, digits: usize) -> String {
        let mut random = vec![0; digits / 2];
        self.sources.entropy.fill(&mut random);
        hex::encode(random)
    }

    async fn put_block(
        &self,
        what: &'static str,
        address: &BlockAddress,
        id: &str,
        body: Sent,
    ) -> Result<(), BlockError> {
        let mut asked =
            Asked::new(Method::PUT, self.at(address)?).about(&[("comp", "block"), ("blockid", id)]);
        if let Sent::Bytes(bytes) = &body {
            asked = asked.with("content-md5", md5_of(bytes));
        }
        asked.body = body;
        self.ask(what, address, asked).await.map(drop)
    }

    async fn put_list(
        &self,
        what: &'static str,
        address: &BlockAddress,
        list: Sent,
        if_absent: bool,
    ) -> Result<(), BlockError> {
        let mut asked = Asked::new(Method::PUT, self.at(address)?).about(&[("comp", "blocklist")]);
        if if_absent {
            asked = asked.with("if-none-match", "*");
        }
        asked.body = list;
        self.ask(what, address, asked).await.map(drop)
    }

    pub(super) async fn begin_parts(&self, address: &BlockAddress) -> Result<String, BlockError> {
        let upload = self.fresh(ID);
        self.put_block("begin upload", address, &mark(&upload), Sent::Bytes(Bytes::from_static(b"-")))
            .await?;
        Ok(upload)
    }

    pub(super) async fn upload_part(
        &self,
        address: &BlockAddress,
        upload: &str,
        number: u32,
        body: ByteStream,
        size: Option<u64>,
    ) -> Result<(Stored, String), BlockError> {
        known(upload)?;
        let tag = self.fresh(8);
        let id = block_id(upload, number, &tag);
        match size {
            Some(size) if size > SINGLE => Err(BlockError::Unsupported("parts over 4000 MiB")),
            Some(size) if size > SMALL => {
                let (body, outcome) = announced(body, size);
                let call = self.put_block("put part", address, &id, Sent::Once(body)).await;
                outcome.of(call).map(|((), stored)| (stored, tag))
            }
            _ => {
                let (part, stored) = unannounced(body).await?;
                // A block is never empty; a part may be.
                if !part.is_empty() {
                    self.put_block("put part", address, &id, Sent::Bytes(part)).await?;
                }
                Ok((stored, tag))
            }
        }
    }

    /// Whether the upload was begun and has not ended.
    async fn waits(&self, address: &BlockAddress, upload: &str) -> Result<bool, BlockError> {
        let asked = Asked::new(Method::GET, self.at(address)?)
            .about(&[("comp", "blocklist"), ("blocklisttype", "uncommitted")]);
        let blocks = match self.xml("list blocks", address, asked).await {
            Ok(blocks) => blocks,
            Err(BlockError::NotFound(_)) => return Ok(false),
            Err(error) => return Err(error),
        };
        let mark = mark(upload);
        Ok(blocks.child("UncommittedBlocks").is_some_and(|blocks| {
            blocks.children.iter().any(|block| block.text_of("Name") == Some(mark.as_str()))
        }))
    }

    pub(super) async fn join_parts(
        &self,
        address: &BlockAddress,
        upload: &str,
        parts: &[StoredPart],
    ) -> Result<(), BlockError> {
        known(upload)?;
        if !self.waits(address, upload).await? {
            return Err(BlockError::NoSuchUpload(upload.to_owned()));
        }
        for part in parts {
            if !is_hex(&part.tag, 8) {
                let source = std::io::Error::other(format!("part {} has no tag of this store", part.number));
                return Err(BlockError::Io { what: "complete upload", source });
            }
        }
        let filled = parts.iter().filter(|part| part.size > 0);
        let ids = filled.map(|part| block_id(upload, part.number, &part.tag));
        self.put_list("complete upload", address, list_of(ids), false).await
    }

    pub(super) async fn abort_parts(&self, address: &BlockAddress, upload: &str) -> Result<(), BlockError> {
        known(upload)?;
        if !self.waits(address, upload).await? {
            return Err(BlockError::NoSuchUpload(upload.to_owned()));
        }
        // A list of none drops what waits; the empty blob it makes, at a name that nothing refers to, is taken away. One
        // that was completed meanwhile stays.
        let at = self.at(address)?;
        let mut asked =
            Asked::new(Method::PUT, at).about(&[("comp", "blocklist")]).with("if-none-match", "*");
        asked.body = list_of(std::iter::empty());
        let answer = self.send("abort upload", address, asked).await?;
        let status = answer.status;
        if !status.is_success() {
            return match Said::by(answer).await.error("abort upload", address) {
                BlockError::Exists(_) => Ok(()),
                error => Err(error),
            };
        }
        let etag = answer.header("etag").unwrap_or("*").to_owned();
        let asked = Asked::new(Method::DELETE, at).with("if-match", etag);
        let answer = self.send("abort upload", address, asked).await?;
        match answer.status {
            StatusCode::NOT_FOUND | StatusCode::PRECONDITION_FAILED => Ok(()),
            status if status.is_success() => Ok(()),
            _ => Err(Said::by(answer).await.error("abort upload", address)),
        }
    }
}
