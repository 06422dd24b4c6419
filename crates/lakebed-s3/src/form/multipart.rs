//! `multipart/form-data` (RFC 7578), read part by part as it arrives. What is held at a time is a piece of the body and
//! at most one part's head: fields have a limit that their reader names, and a file's bytes go on as they come.

use bytes::{Buf, Bytes, BytesMut};
use futures::StreamExt;
use http::{HeaderMap, header};
use lakebed_blocks::{BodyError, ByteStream};
use memchr::memmem;

use crate::error::{Code, S3Error};

/// The longest head of a part.
const LONGEST_HEAD: usize = 8 << 10;
/// The longest boundary (RFC 2046).
const LONGEST_BOUNDARY: usize = 70;

/// What a part says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Head {
    pub name: String,
    /// The name of a file, without directories.
    pub filename: Option<String>,
}

/// A form under way.
pub(crate) struct Multipart {
    source: ByteStream,
    /// Arrived, not handed on yet.
    held: Bytes,
    /// `\r\n--boundary`: finds where parts end.
    delimiter: memmem::Finder<'static>,
}

fn malformed(why: &'static str) -> S3Error {
    S3Error::new(Code::MalformedPOSTRequest, why)
}

fn cut() -> S3Error {
    S3Error::new(Code::IncompleteBody, "The form ends before its last boundary.")
}

/// The boundary that the content type names.
pub(crate) fn boundary(headers: &HeaderMap) -> Result<String, S3Error> {
    let missing = || {
        S3Error::of(Code::MalformedPOSTRequest)
            .with("Detail", "The Content-Type of the form names no boundary.")
    };
    let kind = headers.get(header::CONTENT_TYPE).and_then(|kind| kind.to_str().ok()).ok_or_else(missing)?;
    parameters(kind)
        .find(|(name, _)| name.eq_ignore_ascii_case("boundary"))
        .map(|(_, value)| value)
        .filter(|value| !value.is_empty() && value.len() <= LONGEST_BOUNDARY)
        .ok_or_else(missing)
}

impl Multipart {
    pub(crate) fn new(source: ByteStream, boundary: &str) -> Self {
        let delimiter = memmem::Finder::new(&format!("\r\n--{boundary}")).into_owned();
        // The first boundary stands at the start of a line too: the first.
        Self { source, held: Bytes::from_static(b"\r\n"), delimiter }
    }

    /// Waits for more bytes; false at the body's end.
    async fn fill(&mut self) -> Result<bool, BodyError> {
        let Some(piece) = self.source.next().await.transpose()? else { return Ok(false) };
        if self.held.is_empty() {
            self.held = piece;
        } else {
            let mut joined = BytesMut::with_capacity(self.held.len() + piece.len());
            joined.extend_from_slice(&self.held);
            joined.extend_from_slice(&piece);
            self.held = joined.freeze();
        }
        Ok(true)
    }

    /// The next bytes of the part; `None` at its end, behind the boundary.
    pub(crate) async fn chunk(&mut self) -> Result<Option<Bytes>, BodyError> {
        loop {
            let length = self.delimiter.needle().len();
            match self.delimiter.find(&self.held) {
                Some(0) => {
                    self.held.advance(length);
                    return Ok(None);
                }
                Some(at) => return Ok(Some(self.held.split_to(at))),
                None => {
                    let safe = self.held.len() - started(&self.held, self.delimiter.needle());
                    if safe > 0 {
                        return Ok(Some(self.held.split_to(safe)));
                    }
                }
            }
            if !self.fill().await? {
                return Err(BodyError::Client(Box::new(cut())));
            }
        }
    }

    /// The rest of the part, at most `limit` bytes; `None` if there are more.
    pub(crate) async fn whole(&mut self, limit: usize) -> Result<Option<Vec<u8>>, BodyError> {
        let mut all = Vec::new();
        while let Some(piece) = self.chunk().await? {
            if all.len() + piece.len() > limit {
                return Ok(None);
            }
            all.extend_from_slice(&piece);
        }
        Ok(Some(all))
    }

    /// Whether the boundary just passed was the last.
    async fn is_over(&mut self) -> Result<bool, S3Error> {
        while self.held.len() < 2 {
            if !self.fill().await? {
                return Err(cut());
            }
        }
        Ok(self.held.starts_with(b"--"))
    }

    /// Behind a boundary: the head of the part that begins there; `None` if it was the last boundary.
    pub(crate) async fn head(&mut self) -> Result<Option<Head>, S3Error> {
        if self.is_over().await? {
            return Ok(None);
        }
        let padding = self.line().await?;
        if !padding.trim_ascii().is_empty() {
            return Err(malformed("There is something behind a boundary of the form."));
        }
        let (mut head, mut size) = (None, 0);
        loop {
            let line = self.line().await?;
            size += line.len();
            if size > LONGEST_HEAD {
                return Err(malformed("The head of a part of the form is too long."));
            }
            if line.is_empty() {
                break;
            }
            let line = String::from_utf8_lossy(&line);
            if let Some((name, value)) = line.split_once(':')
                && name.trim().eq_ignore_ascii_case("content-disposition")
            {
                head = Some(disposition(value));
            }
        }
        head.filter(|head| !head.name.is_empty())
            .ok_or_else(|| malformed("A part of the form has no name."))
            .map(Some)
    }

    /// A line of a head, without its end.
    async fn line(&mut self) -> Result<Bytes, S3Error> {
        loop {
            if let Some(end) = memmem::find(&self.held, b"\r\n") {
                let line = self.held.split_to(end);
                self.held.advance(2);
                return Ok(line);
            }
            if self.held.len() > LONGEST_HEAD {
                return Err(malformed("The head of a part of the form is too long."));
            }
            if !self.fill().await? {
                return Err(cut());
            }
        }
    }

    /// Reads what follows the last part that was wanted, and forgets it: a body that breaks off was not whole.
    pub(crate) async fn forget_rest(&mut self) -> Result<(), BodyError> {
        let refused = |error| BodyError::Client(Box::new(error));
        let is_boundary = self.is_over().await.map_err(refused)? || b" \t\r".contains(&self.held[0]);
        if !is_boundary {
            return Err(refused(malformed("There is something behind a boundary of the form.")));
        }
        self.held = Bytes::new();
        while self.source.next().await.transpose()?.is_some() {}
        Ok(())
    }
}

/// How many bytes at the end of `held` may be the start of the delimiter.
fn started(held: &[u8], delimiter: &[u8]) -> usize {
    let longest = held.len().min(delimiter.len() - 1);
    (1..=longest).rev().find(|length| held.ends_with(&delimiter[..*length])).unwrap_or(0)
}

/// `; name=value` and `; name="value"` behind the first word of a header.
fn parameters(text: &str) -> impl Iterator<Item = (&str, String)> {
    let mut rest = text.split_once(';').map_or("", |(_, rest)| rest);
    std::iter::from_fn(move || {
        let (name, behind) = rest.split_once('=')?;
        let name = name.trim_matches([' ', '\t', ';']);
        let behind = behind.trim_start();
        let Some(quoted) = behind.strip_prefix('"') else {
            let (value, behind) = behind.split_once(';').unwrap_or((behind, ""));
            rest = behind;
            return Some((name, value.trim().to_owned()));
        };
        // Browsers write a quote as `%22`, older clients as `\"`; any other backslash is one, as in Windows' paths.
        let mut value = String::new();
        let mut from = 0;
        while let Some(end) = quoted[from..].find('"').map(|at| from + at) {
            let is_escaped = quoted[from..end].ends_with('\\');
            value.push_str(&quoted[from..end - usize::from(is_escaped)]);
            from = end + 1;
            if !is_escaped {
                break;
            }
            value.push('"');
        }
        rest = &quoted[from..];
        Some((name, value))
    })
}

fn disposition(text: &str) -> Head {
    let mut head = Head::default();
    for (name, value) in parameters(text) {
        if name.eq_ignore_ascii_case("name") {
            head.name = value;
        } else if name.eq_ignore_ascii_case("filename") && head.filename.is_none() {
            let value = value.replace("%22", "\"").replace("%0D", "\r").replace("%0A", "\n");
            head.filename = Some(base(&value).to_owned());
        } else if name.eq_ignore_ascii_case("filename*")
            && let Some(value) = extended(&value)
        {
            head.filename = Some(base(&value).to_owned());
        }
    }
    head
}

/// `utf-8''escaped` (RFC 5987), which the form's own standard does not know but clients send.
fn extended(value: &str) -> Option<String> {
    let (charset, rest) = value.split_once('\'')?;
    let (_language, escaped) = rest.split_once('\'')?;
    let decoded = percent_encoding::percent_decode_str(escaped).decode_utf8().ok()?;
    charset.eq_ignore_ascii_case("utf-8").then(|| decoded.into_owned())
}

/// A file's name without its directories.
fn base(path: &str) -> &str {
    path.rsplit(['/', '\\']).next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The form's parts, when it arrives in pieces of these sizes (the last repeated).
    fn read(body: &[u8], boundary: &str, pieces: &[usize]) -> Result<Vec<(Head, Vec<u8>)>, Code> {
        let mut chunks = Vec::new();
        let (mut at, mut turn) = (0, 0);
        while at < body.len() {
            let size = pieces.get(turn).or(pieces.last()).copied().unwrap_or(body.len()).max(1);
            let end = (at + size).min(body.len());
            chunks.push(Ok(Bytes::copy_from_slice(&body[at..end])));
            (at, turn) = (end, turn + 1);
        }
        let mut form = Multipart::new(futures::stream::iter(chunks).boxed(), boundary);
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(async {
                let mut parts = Vec::new();
                form.whole(100).await.map_err(S3Error::from)?;
                while let Some(head) = form.head().await? {
                    let content = form.whole(1 << 20).await.map_err(S3Error::from)?.unwrap();
                    parts.push((head, content));
                }
                form.forget_rest().await.map_err(S3Error::from)?;
                Ok(parts)
            })
            .map_err(|error: S3Error| error.code())
    }

    fn head(name: &str, filename: Option<&str>) -> Head {
        Head { name: name.to_owned(), filename: filename.map(str::to_owned) }
    }

    const FORM: &str = "preamble\r\n--b \r\nContent-Disposition: form-data; name=\"key\"\r\n\r\nmain/a\r\n--b\r\n\
                        content-type: text/plain\r\nCONTENT-DISPOSITION: form-data; filename=\"C:\\x\\ü.txt\"; \
                        name=file\r\n\r\n\r\n-\r\n--\r\n--c\r\n--b--\r\nepilogue";

    #[test]
    fn parts_end_at_their_boundary_however_they_arrive() {
        let expected = vec![
            (head("key", None), b"main/a".to_vec()),
            (head("file", Some("ü.txt")), b"\r\n-\r\n--\r\n--c".to_vec()),
        ];
        for size in 1..FORM.len() {
            assert_eq!(read(FORM.as_bytes(), "b", &[size]), Ok(expected.clone()), "{size}");
        }
    }

    #[test]
    fn a_form_without_its_last_boundary_is_not_whole() {
        let end = FORM.find("--b--").unwrap();
        for length in 0..end + 3 {
            assert_eq!(read(&FORM.as_bytes()[..length], "b", &[9]), Err(Code::IncompleteBody), "{length}");
        }
    }

    #[test]
    fn a_part_that_was_wanted_ends_at_a_boundary_and_not_at_what_looks_like_one() {
        let of = |behind: &str| {
            let body =
                Bytes::from(format!("--b\r\nContent-Disposition: form-data; name=a\r\n\r\nx\r\n--b{behind}"));
            let mut form = Multipart::new(futures::stream::iter([Ok(body)]).boxed(), "b");
            tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
                form.whole(9).await.unwrap();
                form.head().await.unwrap();
                assert_eq!(form.whole(9).await.unwrap().unwrap(), b"x");
                form.forget_rest().await.map_err(|error| S3Error::from(error).code())
            })
        };
        for good in ["--", "--\r\n", "\r\n", " \r\nrest"] {
            assert_eq!(of(good), Ok(()), "{good:?}");
        }
        assert_eq!(of(""), Err(Code::IncompleteBody));
        assert_eq!(of("-"), Err(Code::IncompleteBody));
        assert_eq!(of("c--"), Err(Code::MalformedPOSTRequest));
    }

    #[test]
    fn broken_heads_are_refused() {
        let of = |head: &str| read(format!("--b\r\n{head}\r\n\r\nx\r\n--b--").as_bytes(), "b", &[64]);
        assert!(of("Content-Disposition: form-data; name=a").is_ok());
        for bad in ["X: y", "Content-Disposition: form-data", "Content-Disposition: form-data; name=\"\""] {
            assert_eq!(of(bad), Err(Code::MalformedPOSTRequest), "{bad}");
        }
        let long = format!("Content-Disposition: form-data; name=a; x={}", "x".repeat(9000));
        assert_eq!(of(&long), Err(Code::MalformedPOSTRequest));
        assert_eq!(of(&"X: y\r\n".repeat(3000)), Err(Code::MalformedPOSTRequest));
        assert_eq!(read(b"--bc\r\n\r\n\r\n--b--", "b", &[5]), Err(Code::MalformedPOSTRequest));
    }

    #[test]
    fn names_of_files_are_read_as_clients_write_them() {
        for (text, name) in [
            (r#"form-data; name="f"; filename="a b.txt""#, "a b.txt"),
            (r#"form-data; name="f"; filename="C:\dir\a.txt""#, "a.txt"),
            (r#"form-data; name="f"; filename="/x/y/a.txt""#, "a.txt"),
            (r#"form-data; name="f"; filename="a%22\"b;c=d""#, "a\"\"b;c=d"),
            (r#"form-data; name="f"; filename="x"; filename*=utf-8''%C3%BC"#, "ü"),
            (r#"form-data; filename=plain ;name="f""#, "plain"),
        ] {
            assert_eq!(disposition(text), head("f", Some(name)), "{text}");
        }
    }

    #[test]
    fn the_boundary_is_in_the_content_type() {
        let of = |kind: &str| {
            let headers = HeaderMap::from_iter([(header::CONTENT_TYPE, kind.parse().unwrap())]);
            boundary(&headers).map_err(|error| error.code())
        };
        assert_eq!(of("multipart/form-data; boundary=a-b"), Ok("a-b".to_owned()));
        assert_eq!(of("multipart/form-data; charset=utf-8; Boundary=\"a b\""), Ok("a b".to_owned()));
        assert_eq!(of("multipart/form-data"), Err(Code::MalformedPOSTRequest));
        assert_eq!(of("multipart/form-data; boundary="), Err(Code::MalformedPOSTRequest));
        let long = format!("multipart/form-data; boundary={}", "x".repeat(71));
        assert_eq!(of(&long), Err(Code::MalformedPOSTRequest));
    }

    proptest! {
        #[test]
        fn contents_round_trip_in_any_pieces(
            contents in proptest::collection::vec("(\r|\n|-|b|\r\n--|[a-z]){0,20}", 0..5),
            pieces in proptest::collection::vec(1usize..12, 0..40),
        ) {
            // A content that holds the boundary itself is another form.
            prop_assume!(contents.iter().all(|text| !format!("\r\n{text}").contains("\r\n--b")));
            let mut body = String::new();
            for text in &contents {
                body.push_str("--b\r\nContent-Disposition: form-data; name=\"n\"\r\n\r\n");
                body.push_str(text);
                body.push_str("\r\n");
            }
            body.push_str("--b--\r\n");
            let expected: Vec<_> =
                contents.iter().map(|text| (head("n", None), text.as_bytes().to_vec())).collect();
            prop_assert_eq!(read(body.as_bytes(), "b", &pieces), Ok(expected));
        }

        #[test]
        fn hostile_forms_never_panic(body in "(\r\n|--b|--|Content-Disposition: form-data; |name=|\"|;|=|\\\\|ü|[a-z]){0,40}") {
            let _ = read(body.as_bytes(), "b", &[3, 1, 50]);
            let _ = disposition(&body);
        }
    }
}
