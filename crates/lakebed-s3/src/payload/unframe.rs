//! The aws-chunked framing (`s3-gateway` §3.3), taken off as bytes arrive in whatever pieces. No chunk is ever held:
//! its bytes go on while its hash grows, and a wrong signature ends the body before it is complete.

use std::collections::{BTreeMap, VecDeque};

use bytes::{Buf, Bytes};
use sha2::{Digest, Sha256};

use super::chunk_signer::ChunkSigner;
use crate::error::{Code, S3Error};

/// The longest chunk header.
const LONGEST_HEADER: usize = 1024;
/// The most bytes of trailers together.
const MOST_TRAILER_BYTES: usize = 16 << 10;
/// The most trailers.
const MOST_TRAILERS: usize = 64;
/// The trailer that signs the others.
const TRAILER_SIGNATURE: &str = "x-amz-trailer-signature";

enum State {
    /// Gathering a chunk's header line.
    Header,
    /// Passing on a chunk's bytes.
    Data { left: u64 },
    /// Expecting the line end behind a chunk: how much of it has been seen.
    DataEnd,
    /// Gathering trailer lines.
    Trailers,
    /// Behind the empty line. Some clients (minio-go, with trailers that are not signed) send another one.
    Done,
    /// Behind that other empty line.
    End,
}

/// Takes the framing off.
pub(super) struct Unframer {
    signer: Option<ChunkSigner>,
    /// Whether the trailers are signed too.
    signed_trailer: bool,
    state: State,
    line: Vec<u8>,
    /// Of the chunk under way, if chunks are signed.
    hash: Sha256,
    signature: String,
    trailers: BTreeMap<String, String>,
    trailer_bytes: usize,
}

/// Of a signature in hex.
const SIGNATURE_DIGITS: usize = 64;

/// A body in chunks that ends too early.
pub(super) fn cut() -> S3Error {
    S3Error::new(Code::IncompleteBody, "The request body terminated unexpectedly")
}

/// Framing that does not hold: to S3 the body is not all there.
fn malformed(why: &'static str) -> S3Error {
    cut().with("Detail", why)
}

fn behind_the_end() -> S3Error {
    malformed("There is something behind the end of the body.")
}

fn wrong_signature() -> S3Error {
    S3Error::new(
        Code::SignatureDoesNotMatch,
        "The signature of a chunk does not match what we calculated. Check your key and signing method.",
    )
}

impl Unframer {
    pub(super) fn new(signer: Option<ChunkSigner>, signed_trailer: bool) -> Self {
        Self {
            signed_trailer: signed_trailer && signer.is_some(),
            signer,
            state: State::Header,
            line: Vec::new(),
            hash: Sha256::new(),
            signature: String::new(),
            trailers: BTreeMap::new(),
            trailer_bytes: 0,
        }
    }

    /// Takes a piece of the framed body; the bytes in it go to `out`.
    pub(super) fn push(&mut self, mut input: Bytes, out: &mut VecDeque<Bytes>) -> Result<(), S3Error> {
        while !input.is_empty() {
            match self.state {
                State::Header => {
                    if self.gather(&mut input, LONGEST_HEADER)? {
                        self.header()?;
                    }
                }
                State::Data { left } => {
                    let amount = usize::try_from(left).unwrap_or(usize::MAX).min(input.len());
                    let data = input.split_to(amount);
                    if self.signer.is_some() {
                        self.hash.update(&data);
                    }
                    out.push_back(data);
                    let left = left - amount as u64;
                    self.state = if left == 0 { State::DataEnd } else { State::Data { left } };
                }
                State::DataEnd => {
                    if self.gather(&mut input, 2)? {
                        if self.line != b"\r\n" {
                            return Err(malformed("A chunk of the body does not end where its header says."));
                        }
                        self.line.clear();
                        self.chunk_end()?;
                        self.state = State::Header;
                    }
                }
                State::Trailers => {
                    if self.gather(&mut input, MOST_TRAILER_BYTES)? {
                        self.trailer()?;
                    }
                }
                State::Done => {
                    if self.gather(&mut input, 2)? {
                        if self.line != b"\r\n" {
                            return Err(behind_the_end());
                        }
                        self.line.clear();
                        self.state = State::End;
                    }
                }
                State::End => return Err(behind_the_end()),
            }
        }
        Ok(())
    }

    /// Whether what came so far is a whole body.
    pub(super) fn is_whole(&self) -> bool {
        matches!(self.state, State::Done | State::End) && self.line.is_empty()
    }

    /// The body ended: was it complete? Gives the trailers.
    pub(super) fn finish(mut self) -> Result<BTreeMap<String, String>, S3Error> {
        if !self.is_whole() {
            return Err(cut());
        }
        let signature = self.trailers.remove(TRAILER_SIGNATURE);
        if let Some(signer) = &mut self.signer
            && self.signed_trailer
        {
            let mut canonical = String::new();
            for (name, value) in &self.trailers {
                canonical.push_str(name);
                canonical.push(':');
                canonical.push_str(value);
                canonical.push('\n');
            }
            let signature = signature.ok_or_else(|| S3Error::of(Code::MalformedTrailerError))?;
            if !signer.trailer(canonical.as_bytes(), &signature) {
                return Err(wrong_signature());
            }
        }
        Ok(self.trailers)
    }

    /// Gathers a line, its end included; true when it is whole.
    fn gather(&mut self, input: &mut Bytes, longest: usize) -> Result<bool, S3Error> {
        let end = input.iter().position(|byte| *byte == b'\n').map(|at| at + 1);
        let amount = end.unwrap_or(input.len());
        if self.line.len() + amount > longest {
            return Err(malformed("A line of the body's framing is too long."));
        }
        self.line.extend_from_slice(&input[..amount]);
        input.advance(amount);
        Ok(end.is_some())
    }

    fn header(&mut self) -> Result<(), S3Error> {
        let line = std::mem::take(&mut self.line);
        let text = std::str::from_utf8(&line).map_err(|_| malformed("A chunk's header is not text."))?;
        let text = text.strip_suffix("\r\n").ok_or_else(|| malformed("A chunk's header ends in no line."))?;
        let mut fields = text.split(';');
        let size = fields.next().unwrap_or_default().trim();
        let is_hex = !size.is_empty() && size.bytes().all(|b| b.is_ascii_hexdigit());
        let size = u64::from_str_radix(size, 16).ok().filter(|_| is_hex);
        let size = size.ok_or_else(|| malformed("A chunk's header does not say its size in hex digits."))?;
        let signature = fields.find_map(|field| field.trim().strip_prefix("chunk-signature="));
        if self.signer.is_some() {
            let signature = signature.filter(|signature| signature.len() == SIGNATURE_DIGITS);
            let signature = signature.ok_or_else(|| malformed("A chunk's header has no signature in it."))?;
            signature.clone_into(&mut self.signature);
        }
        if size == 0 {
            self.chunk_end()?;
            self.state = State::Trailers;
        } else {
            self.state = State::Data { left: size };
        }
        Ok(())
    }

    fn chunk_end(&mut self) -> Result<(), S3Error> {
        if let Some(signer) = &mut self.signer {
            let hash = std::mem::take(&mut self.hash);
            if !signer.chunk(hash, &self.signature) {
                return Err(wrong_signature());
            }
        }
        Ok(())
    }

    fn trailer(&mut self) -> Result<(), S3Error> {
        let line = std::mem::take(&mut self.line);
        self.trailer_bytes += line.len();
        let text = std::str::from_utf8(&line).map_err(|_| S3Error::of(Code::MalformedTrailerError))?.trim();
        if text.is_empty() {
            // Some clients end a trailer with an empty line of its own before they sign it.
            let signature_to_come = self.signed_trailer && !self.trailers.contains_key(TRAILER_SIGNATURE);
            if !signature_to_come {
                self.state = State::Done;
            }
            return Ok(());
        }
        let (name, value) = text.split_once(':').ok_or_else(|| S3Error::of(Code::MalformedTrailerError))?;
        let known = self.trailers.insert(name.trim().to_ascii_lowercase(), value.trim().to_owned());
        if known.is_some() || self.trailers.len() > MOST_TRAILERS || self.trailer_bytes > MOST_TRAILER_BYTES {
            return Err(S3Error::of(Code::MalformedTrailerError));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::auth::{Scope, derive};

    /// Unframes a body that arrives in pieces of these sizes.
    fn unframe(
        signer: Option<ChunkSigner>,
        body: &[u8],
        pieces: &[usize],
        signed_trailer: bool,
    ) -> Result<(Vec<u8>, BTreeMap<String, String>), Code> {
        let mut unframer = Unframer::new(signer, signed_trailer);
        let (mut out, mut at) = (VecDeque::new(), 0);
        for piece in pieces.iter().chain(std::iter::repeat(&7)) {
            if at >= body.len() {
                break;
            }
            let end = (at + piece.max(&1)).min(body.len());
            unframer.push(Bytes::copy_from_slice(&body[at..end]), &mut out).map_err(|error| error.code())?;
            at = end;
        }
        let trailers = unframer.finish().map_err(|error| error.code())?;
        Ok((out.into_iter().flatten().collect(), trailers))
    }

    fn published_signer(seed: &str) -> ChunkSigner {
        let scope = Scope { date: "20130524", region: "us-east-1", service: "s3" };
        let key = derive("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY", &scope);
        ChunkSigner::new(key, "20130524T000000Z", "20130524/us-east-1/s3/aws4_request", seed)
    }

    fn published_body(signatures: [&str; 3], trailer: &str) -> Vec<u8> {
        let mut body = Vec::new();
        for (size, signature) in [65536, 1024].into_iter().zip(signatures) {
            body.extend_from_slice(format!("{size:x};chunk-signature={signature}\r\n").as_bytes());
            body.extend(std::iter::repeat_n(b'a', size));
            body.extend_from_slice(b"\r\n");
        }
        body.extend_from_slice(format!("0;chunk-signature={}\r\n{trailer}\r\n", signatures[2]).as_bytes());
        body
    }

    const SEED: &str = "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9";
    const CHUNKS: [&str; 3] = [
        "ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
        "0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
        "b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
    ];

    #[test]
    fn the_published_chunks_verify() {
        let body = published_body(CHUNKS, "");
        let (data, _) = unframe(Some(published_signer(SEED)), &body, &[100, 70000], false).unwrap();
        assert_eq!(data, vec![b'a'; 66560]);
    }

    #[test]
    fn line_ends_behind_the_trailers_are_no_data() {
        // As minio-go ends a trailer that is not signed.
        let body = |end: &str| format!("5\r\nhello\r\n0\r\nx-amz-checksum-crc32:NhCmhg==\n{end}");
        for end in ["\r\n", "\r\n\r\n"] {
            for piece in [1, 2, 100] {
                let (data, trailers) = unframe(None, body(end).as_bytes(), &[piece; 64], true).unwrap();
                assert_eq!(data, b"hello", "{end:?} in pieces of {piece}");
                assert_eq!(trailers["x-amz-checksum-crc32"], "NhCmhg==", "{end:?} in pieces of {piece}");
            }
        }
        for end in ["", "\r", "\r\n\r\nx", "\r\nx\r\n", "\r\n\r\n\r\n"] {
            let refused = unframe(None, body(end).as_bytes(), &[100], true);
            assert_eq!(refused, Err(Code::IncompleteBody), "{end:?}");
        }
    }

    #[test]
    fn a_chunk_without_a_signature_is_told_from_one_with_a_wrong_one() {
        let whole = published_body(CHUNKS, "");
        let with = |signature: &str| {
            let changed = String::from_utf8_lossy(&whole).replacen(CHUNKS[0], signature, 1).into_bytes();
            unframe(Some(published_signer(SEED)), &changed, &[], false).map(|(data, _)| data.len())
        };
        assert_eq!(with(CHUNKS[0]), Ok(66560));
        assert_eq!(with(&CHUNKS[0].replace('a', "b")), Err(Code::SignatureDoesNotMatch));
        for none in ["", &CHUNKS[0][1..]] {
            assert_eq!(with(none), Err(Code::IncompleteBody), "{none}");
        }
        let unnamed = String::from_utf8_lossy(&whole).replacen("chunk-signature=", "", 1).into_bytes();
        let unnamed = unframe(Some(published_signer(SEED)), &unnamed, &[], false);
        assert_eq!(unnamed.map(|_| ()), Err(Code::IncompleteBody));
    }

    #[test]
    fn the_published_trailer_verifies() {
        let seed = "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e";
        let chunks = [
            "b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
            "1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
            "2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
        ];
        let signed =
            "x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435";
        let trailer = format!("x-amz-checksum-crc32c:sOO8/Q==\n\r\n{signed}\r\n");
        let body = published_body(chunks, &trailer);
        let (data, trailers) = unframe(Some(published_signer(seed)), &body, &[9000], true).unwrap();
        assert_eq!(data.len(), 66560);
        assert_eq!(trailers.get("x-amz-checksum-crc32c").map(String::as_str), Some("sOO8/Q=="));
        let other = String::from_utf8_lossy(&body).replace("sOO8/Q==", "sOO9/Q==").into_bytes();
        assert_eq!(
            unframe(Some(published_signer(seed)), &other, &[], true),
            Err(Code::SignatureDoesNotMatch)
        );
    }

    #[test]
    fn broken_framing_is_refused() {
        for (body, code) in [
            ("", Code::IncompleteBody),
            ("5\r\nabc", Code::IncompleteBody),
            ("5\r\nabcde", Code::IncompleteBody),
            ("5\r\nabcde\r\n", Code::IncompleteBody),
            ("5\r\nabcdef\r\n0\r\n\r\n", Code::IncompleteBody),
            ("x\r\nabc\r\n0\r\n\r\n", Code::IncompleteBody),
            ("+5\r\nabcde\r\n0\r\n\r\n", Code::IncompleteBody),
            ("fffffffffffffffff\r\n", Code::IncompleteBody),
            ("0\r\n\r\nmore", Code::IncompleteBody),
            ("0\r\nno colon\r\n\r\n", Code::MalformedTrailerError),
            ("0\r\na:1\r\na:2\r\n\r\n", Code::MalformedTrailerError),
        ] {
            assert_eq!(unframe(None, body.as_bytes(), &[2], false), Err(code), "{body:?}");
        }
        let long = format!("1;{}\r\na\r\n0\r\n\r\n", "x".repeat(2000));
        assert_eq!(unframe(None, long.as_bytes(), &[100], false), Err(Code::IncompleteBody));
        assert_eq!(unframe(None, b"0\r\n", &[], false), Err(Code::IncompleteBody));
        assert_eq!(unframe(None, b"0\n\r\n", &[], false), Err(Code::IncompleteBody));
        assert_eq!(unframe(None, b"0\r\n\r\n", &[], false), Ok((Vec::new(), BTreeMap::new())));
    }

    proptest! {
        #[test]
        fn any_chunking_in_any_pieces_gives_the_same_bytes(
            chunks in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..40), 0..6),
            pieces in proptest::collection::vec(1usize..20, 0..40),
        ) {
            let mut body = Vec::new();
            for chunk in &chunks {
                body.extend_from_slice(format!("{:X}\r\n", chunk.len()).as_bytes());
                body.extend_from_slice(chunk);
                body.extend_from_slice(b"\r\n");
            }
            body.extend_from_slice(b"0\r\nX-Amz-Checksum-Crc32 : abc= \r\n\r\n");
            let (data, trailers) = unframe(None, &body, &pieces, false).unwrap();
            prop_assert_eq!(data, chunks.concat());
            prop_assert_eq!(trailers.get("x-amz-checksum-crc32").map(String::as_str), Some("abc="));
        }

        #[test]
        fn a_flipped_bit_in_a_signed_body_is_refused(at in 0usize..67000, bit in 0u8..8) {
            let mut body = published_body(CHUNKS, "");
            let at = at % (body.len() - 4);
            body[at] ^= 1 << bit;
            let result = unframe(Some(published_signer(SEED)), &body, &[30000, 30000, 3000, 3000], false);
            // Hex digits of a size may change their case: that is the same number.
            if let Ok((data, _)) = result {
                prop_assert_eq!(data, vec![b'a'; 66560]);
                prop_assert!(body[at].is_ascii_alphabetic());
            }
        }

        #[test]
        fn hostile_framing_never_panics(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = unframe(None, &body, &[3, 50], true);
            let _ = unframe(Some(published_signer(SEED)), &body, &[3, 50], true);
        }
    }
}
