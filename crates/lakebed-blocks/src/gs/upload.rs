//! Objects on their way in: whole, in a resumable session, and in parts.

use bytes::Bytes;
use http::{Method, StatusCode};

use super::errors::Said;
use super::location::Location;
use super::{ANSWER, GsEncryption, Inner, Meta};
use crate::remote::announced::announced;
use crate::remote::client::{Answer, Call, Sent};
use crate::remote::errors::{senseless, unanswered};
use crate::remote::names::{encoded, encoded_path, query};
use crate::remote::parts::{PART, Parts, SMALL, part_size, unannounced};
use crate::remote::xml::{Element, escaped};
use crate::{BlockAddress, BlockError, ByteStream, PutOptions, Stored, StoredPart, WaitingUpload};

/// The most that one request takes here; what is longer is sent in a session.
const SINGLE: u64 = 5 << 30;
/// How often in a row a session is asked to go on without taking a byte.
const STANDSTILLS: u32 = 4;

/// A resumable upload: bytes go in one after another, and the object appears with the last one. A session that is left
/// lying ends by itself after a week and costs nothing.
struct Session<'a> {
    inner: &'a Inner,
    address: &'a BlockAddress,
    uri: String,
    /// Bytes the service has.
    taken: u64,
}

impl Session<'_> {
    /// Sends the next bytes; with the object's `total` size they are the last. Sent again, what the service has already
    /// is passed over by it, so a call whose answer was lost can be repeated.
    async fn send(&mut self, mut bytes: Bytes, total: Option<u64>) -> Result<Option<Meta>, BlockError> {
        let mut standstills = 0;
        loop {
            let total = total.map_or("*".to_owned(), |total| total.to_string());
            let range = match bytes.len() as u64 {
                0 => format!("bytes */{total}"),
                length => format!("bytes {}-{}/{total}", self.taken, self.taken + length - 1),
            };
            let call = Call::new(Method::PUT, self.uri.clone())
                .with("content-range", range)
                .with_body(Sent::Bytes(bytes.clone()));
            let answer = self.inner.send("continue upload", self.address, self.inner.with_key(call)).await?;
            if answer.status.is_success() {
                return self.inner.meta_of("continue upload", self.address, answer).await.map(Some);
            }
            if answer.status != StatusCode::PERMANENT_REDIRECT {
                return Err(Said::by(answer).await.error("continue upload", self.address));
            }
            let has = match answer.header("range") {
                Some(range) => range
                    .rsplit_once('-')
                    .and_then(|(_, last)| last.parse::<u64>().ok())
                    .map(|last| last + 1)
                    .ok_or_else(|| senseless("continue upload", format!("it has the range '{range}'")))?,
                None => 0,
            };
            let new = has.checked_sub(self.taken).filter(|new| *new <= bytes.len() as u64);
            let new =
                new.ok_or_else(|| senseless("continue upload", format!("it has {has} bytes of the upload")))?;
            self.taken = has;
            bytes = bytes.split_off(new as usize);
            if bytes.is_empty() && total == "*" {
                return Ok(None);
            }
            standstills = if new == 0 { standstills + 1 } else { 0 };
            if standstills == STANDSTILLS {
                return Err(BlockError::Unavailable {
                    what: "continue upload",
                    why: format!("the store takes no more bytes of {}", self.address),
                });
            }
        }
    }

    /// Gives the upload up.
    async fn cancel(self) {
        let call = Call::new(Method::DELETE, self.uri.clone());
        if let Err(error) = self.inner.send("continue upload", self.address, call).await {
            tracing::debug!(%error, "a session could not be cancelled: it ends by itself");
        }
    }
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
                let mut call = self.insert(address, Sent::Once(body), options.if_absent).await;
                if options.if_absent && outcome.is_cut_off(&call) && self.meta(address).await.is_ok() {
                    call = Err(BlockError::Exists(address.clone()));
                }
                let ((meta, _), stored) = outcome.of(call)?;
                same(address, &meta, &stored)?;
                Ok(stored)
            }
            _ => {
                let mut parts = Parts::of(body);
                let first = parts.next(PART).await?;
                if first.len() < PART {
                    self.insert_bytes(address, first, options.if_absent).await?;
                    return Ok(parts.stored());
                }
                self.upload_resumable(address, parts, first, options.if_absent).await
            }
        }
    }

    pub(super) async fn insert_bytes(
        &self,
        address: &BlockAddress,
        bytes: Bytes,
        if_absent: bool,
    ) -> Result<(), BlockError> {
        use md5::{Digest, Md5};
        let stored = Stored { size: bytes.len() as u64, md5: Md5::digest(&bytes).into() };
        match self.insert(address, Sent::Bytes(bytes), if_absent).await {
            Ok((meta, _)) => same(address, &meta, &stored),
            Err(error) => Err(error),
        }
    }

    /// One request. Answers what was stored and how many attempts it took.
    async fn insert(
        &self,
        address: &BlockAddress,
        body: Sent,
        if_absent: bool,
    ) -> Result<(Meta, u32), BlockError> {
        let digest = match &body {
            Sent::Bytes(bytes) => Some(md5_of(bytes)),
            Sent::Once(_) => None,
        };
        let call = Call::new(Method::POST, self.insertion(address, "media", if_absent)?)
            .with("content-type", "application/octet-stream")
            .with_body(body);
        let answer = self.send("put", address, self.with_key(call)).await?;
        let attempts = answer.attempts;
        if answer.status == StatusCode::PRECONDITION_FAILED && attempts > 1 {
            // An earlier attempt may have stored it, its answer lost: then what is there is ours.
            let meta = self.meta(address).await?;
            if digest.is_some() && meta.md5() == digest {
                return Ok((meta, attempts));
            }
        }
        if !answer.status.is_success() {
            return Err(Said::by(answer).await.error("put", address));
        }
        Ok((self.meta_of("put", address, answer).await?, attempts))
    }

    /// Where an object is inserted.
    fn insertion(&self, address: &BlockAddress, kind: &str, if_absent: bool) -> Result<String, BlockError> {
        let at = Location::of(address)?;
        let mut asked = vec![("uploadType", kind), ("name", at.name)];
        if if_absent {
            asked.push(("ifGenerationMatch", "0"));
        }
        if let GsEncryption::Kms(key) = &self.config.encryption {
            asked.push(("kmsKeyName", key));
        }
        Ok(format!("{}/upload/storage/v1/b/{}/o{}", self.base, at.bucket, query(&asked)))
    }

    async fn meta_of(
        &self,
        what: &'static str,
        address: &BlockAddress,
        answer: Answer,
    ) -> Result<Meta, BlockError> {
        let body = answer.bytes(ANSWER).await.map_err(|error| unanswered(what, address, &error))?;
        serde_json::from_slice(&body).map_err(|error| senseless(what, error))
    }

    /// A body of unknown length, or one too long for a single request.
    async fn upload_resumable(
        &self,
        address: &BlockAddress,
        mut body: Parts,
        first: Bytes,
        if_absent: bool,
    ) -> Result<Stored, BlockError> {
        let call = Call::new(Method::POST, self.insertion(address, "resumable", if_absent)?)
            .with("x-upload-content-type", "application/octet-stream");
        let answer = self.ask("begin upload", address, self.with_key(call)).await?;
        let location = answer.header("location").unwrap_or_default();
        // Whatever host the service says it has, it is asked where it was reached.
        let path = location.split_once("://").and_then(|(_, rest)| rest.find('/').map(|at| &rest[at..]));
        let path = path.ok_or_else(|| senseless("begin upload", "it names no session"))?;
        let uri = format!("{}{path}", self.origin());
        let mut session = Session { inner: self, address, uri, taken: 0 };
        let meta = match Self::fill(&mut session, &mut body, first).await {
            Ok(meta) => meta,
            Err(error) => {
                session.cancel().await;
                return Err(error);
            }
        };
        let stored = body.stored();
        if let Some(meta) = meta {
            same(address, &meta, &stored)?;
        }
        Ok(stored)
    }

    async fn fill(
        session: &mut Session<'_>,
        body: &mut Parts,
        first: Bytes,
    ) -> Result<Option<Meta>, BlockError> {
        let (mut number, mut part, mut wanted) = (1, first, PART);
        loop {
            if part.len() < wanted {
                // The last bytes, perhaps none.
                let total = session.taken + part.len() as u64;
                return session.send(part, Some(total)).await;
            }
            number += 1;
            wanted = part_size(number);
            // The next part is read while this one is on its way.
            let (sent, next) = tokio::join!(session.send(part, None), body.next(wanted));
            // What the body says of itself goes first.
            part = next?;
            sent?;
        }
    }

    /// The object in the XML API.
    fn resource(&self, at: &Location<'_>) -> String {
        format!("{}/{}/{}", self.base, at.bucket, encoded_path(at.name))
    }

    pub(super) async fn begin_parts(&self, address: &BlockAddress) -> Result<String, BlockError> {
        let at = Location::of(address)?;
        let mut call = Call::new(Method::POST, self.resource(&at) + "?uploads")
            .with("content-type", "application/octet-stream");
        if let GsEncryption::Kms(key) = &self.config.encryption {
            call = call.with("x-goog-encryption-kms-key-name", key);
        }
        let answer = self.ask("begin upload", address, self.with_key(call)).await?;
        let body = answer.bytes(ANSWER).await.map_err(|error| unanswered("begin upload", address, &error))?;
        let root = Element::parse(&body).map_err(|error| senseless("begin upload", error))?;
        let upload = root.text_of("UploadId").filter(|upload| !upload.is_empty());
        upload.map(str::to_owned).ok_or_else(|| senseless("begin upload", "it names no upload"))
    }

    pub(super) async fn upload_part(
        &self,
        address: &BlockAddress,
        upload: &str,
        number: u32,
        body: ByteStream,
        size: Option<u64>,
    ) -> Result<(Stored, String), BlockError> {
        match size {
            Some(size) if SMALL < size && size <= SINGLE => {
                let (body, outcome) = announced(body, size);
                let call = self.send_part(address, upload, number, Sent::Once(body)).await;
                outcome.of(call).map(|(tag, stored)| (stored, tag))
            }
            _ => {
                let (part, stored) = unannounced(body).await?;
                let tag = self.send_part(address, upload, number, Sent::Bytes(part)).await?;
                Ok((stored, tag))
            }
        }
    }

    async fn send_part(
        &self,
        address: &BlockAddress,
        upload: &str,
        number: u32,
        body: Sent,
    ) -> Result<String, BlockError> {
        let at = Location::of(address)?;
        let uri = format!("{}?partNumber={number}&uploadId={}", self.resource(&at), encoded(upload));
        let call = self.with_key(Call::new(Method::PUT, uri).with_body(body));
        let answer = self.of_upload("put part", address, upload, call).await?;
        answer.header("etag").map(str::to_owned).ok_or_else(|| senseless("put part", "it gives no tag"))
    }

    pub(super) async fn join_parts(
        &self,
        address: &BlockAddress,
        upload: &str,
        parts: &[StoredPart],
    ) -> Result<(), BlockError> {
        let at = Location::of(address)?;
        let mut list = String::from("<CompleteMultipartUpload>");
        for part in parts {
            // Clients give tags back without their quotes.
            let tag = escaped(&format!("\"{}\"", part.tag.trim_matches('"')));
            let number = part.number.to_string();
            list.extend(["<Part><PartNumber>", &number, "</PartNumber><ETag>", &tag, "</ETag></Part>"]);
        }
        list += "</CompleteMultipartUpload>";
        let call = Call::new(Method::POST, format!("{}?uploadId={}", self.resource(&at), encoded(upload)))
            .with("content-type", "application/xml")
            .with_body(Sent::Bytes(list.into()));
        let answer = self.of_upload("complete upload", address, upload, call).await?;
        let status = answer.status;
        let body =
            answer.bytes(ANSWER).await.map_err(|error| unanswered("complete upload", address, &error))?;
        // An answer that began well may still end in an error.
        match Element::parse(&body) {
            Ok(root) if root.name == "Error" => {
                let text = |name| root.text_of(name).unwrap_or_default().to_owned();
                Err(Said { status, code: text("Code"), message: text("Message") }
                    .error("complete upload", address))
            }
            Ok(_) => Ok(()),
            Err(error) => Err(senseless("complete upload", error)),
        }
    }

    pub(super) async fn abort_parts(&self, address: &BlockAddress, upload: &str) -> Result<(), BlockError> {
        let at = Location::of(address)?;
        let uri = format!("{}?uploadId={}", self.resource(&at), encoded(upload));
        self.of_upload("abort upload", address, upload, Call::new(Method::DELETE, uri)).await.map(drop)
    }

    /// Uploads of parts that were begun before a time and have not ended.
    pub(super) async fn waiting(
        &self,
        prefix: &BlockAddress,
        begun_before_secs: i64,
        limit: usize,
    ) -> Result<Vec<WaitingUpload>, BlockError> {
        const WHAT: &str = "list uploads";
        let at = Location::of_prefix(prefix)?;
        let mut found = Vec::new();
        let mut next: Option<(String, String)> = None;
        loop {
            let mut asked = vec![("uploads", ""), ("prefix", at.name)];
            if let Some((key, upload)) = &next {
                asked.extend([("key-marker", key.as_str()), ("upload-id-marker", upload.as_str())]);
            }
            let call = Call::new(Method::GET, format!("{}/{}{}", self.base, at.bucket, query(&asked)));
            let answer = self.ask(WHAT, prefix, call).await?;
            let body = answer.bytes(ANSWER).await.map_err(|error| unanswered(WHAT, prefix, &error))?;
            let page = Element::parse(&body).map_err(|error| senseless(WHAT, error))?;
            for one in page.children.iter().filter(|child| child.name == "Upload") {
                let text = |name| one.text_of(name).unwrap_or_default();
                let begun = text("Initiated").parse::<jiff::Timestamp>();
                let Ok(begun_secs) = begun.map(jiff::Timestamp::as_second) else { continue };
                if found.len() < limit && text("Key").starts_with(at.name) && begun_secs < begun_before_secs {
                    let address = BlockAddress::new(format!("gs://{}/{}", at.bucket, text("Key")));
                    found.push(WaitingUpload { address, upload: text("UploadId").to_owned(), begun_secs });
                }
            }
            let text = |name| page.text_of(name).unwrap_or_default().to_owned();
            let more = page.text_of("IsTruncated") == Some("true") && !text("NextKeyMarker").is_empty();
            if found.len() >= limit || !more {
                return Ok(found);
            }
            next = Some((text("NextKeyMarker"), text("NextUploadIdMarker")));
        }
    }

    /// A call about an upload of parts.
    async fn of_upload(
        &self,
        what: &'static str,
        address: &BlockAddress,
        upload: &str,
        call: Call,
    ) -> Result<Answer, BlockError> {
        let answer = self.send(what, address, call).await?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        let said = Said::by(answer).await;
        if said.no_upload() {
            return Err(BlockError::NoSuchUpload(upload.to_owned()));
        }
        Err(said.error(what, address))
    }
}

/// What the service keeps must be what was sent.
fn same(address: &BlockAddress, meta: &Meta, stored: &Stored) -> Result<(), BlockError> {
    match meta.md5() {
        Some(md5) if md5 != stored.md5 => Err(BlockError::Unavailable {
            what: "put",
            why: format!("what the store keeps at {address} is not what was sent: send it again"),
        }),
        _ => Ok(()),
    }
}

fn md5_of(bytes: &[u8]) -> Vec<u8> {
    use md5::{Digest, Md5};
    Md5::digest(bytes).to_vec()
}
