//! A lean HTTP/1.1 client: one keep-alive connection per thread, one request at a time. It does as little as it can,
//! because it shares the machine with the server it measures.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use crate::Failure;

/// Longer than any operation may take; a server that hangs ends the run.
const PATIENCE: Duration = Duration::from_mins(5);

/// A connection that stays open.
pub(crate) struct Connection {
    stream: TcpStream,
    /// What was read and not yet consumed.
    buffer: Vec<u8>,
    request: Vec<u8>,
}

/// An answer, its body whole.
pub(crate) struct Answer {
    pub(crate) status: u16,
    /// Header lines as they came.
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    /// A header's value, by its lower-case name.
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        header(&self.head, name)
    }

    /// The body, if the status is one of success.
    pub(crate) fn success(self) -> Result<Vec<u8>, Failure> {
        if (200..300).contains(&self.status) {
            return Ok(self.body);
        }
        Err(format!("status {}: {}", self.status, String::from_utf8_lossy(&self.body)).into())
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    head.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(key, _)| key.eq_ignore_ascii_case(name))
        .map(|(_, value)| value.trim())
}

impl Connection {
    pub(crate) fn open(address: SocketAddr) -> Result<Self, Failure> {
        let stream = TcpStream::connect(address)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(Self { stream, buffer: Vec::with_capacity(64 << 10), request: Vec::with_capacity(4 << 10) })
    }

    /// Sends a request; `headers` are whole lines, each with its line end.
    pub(crate) fn send(
        &mut self,
        method: &str,
        target: &str,
        headers: &str,
        body: &[u8],
    ) -> Result<Answer, Failure> {
        self.begin(method, target, headers, body)?;
        let head = self.head()?;
        let mut whole = Vec::new();
        self.body(&head, method == "HEAD", |chunk| whole.extend_from_slice(chunk))?;
        Ok(Answer { status: status(&head)?, head, body: whole })
    }

    /// Sends a request without a body and counts the bytes of the answer instead of keeping them.
    pub(crate) fn drain(&mut self, target: &str, headers: &str) -> Result<u64, Failure> {
        self.begin("GET", target, headers, b"")?;
        let head = self.head()?;
        let mut bytes = 0;
        self.body(&head, false, |chunk| bytes += chunk.len() as u64)?;
        match status(&head)? {
            200..300 => Ok(bytes),
            status => Err(format!("GET {target}: status {status}").into()),
        }
    }

    fn begin(&mut self, method: &str, target: &str, headers: &str, body: &[u8]) -> Result<(), Failure> {
        self.request.clear();
        write!(
            self.request,
            "{method} {target} HTTP/1.1\r\n{headers}content-length: {}\r\n\r\n",
            body.len()
        )?;
        if body.len() <= 64 << 10 {
            self.request.extend_from_slice(body);
            self.stream.write_all(&self.request)?;
        } else {
            self.stream.write_all(&self.request)?;
            self.stream.write_all(body)?;
        }
        Ok(())
    }

    fn head(&mut self) -> Result<String, Failure> {
        loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                let head = String::from_utf8(self.buffer[..end].to_vec())?;
                self.buffer.drain(..end + 4);
                return Ok(head);
            }
            self.fill()?;
        }
    }

    fn fill(&mut self) -> Result<(), Failure> {
        let before = self.buffer.len();
        self.buffer.resize(before + (256 << 10), 0);
        let read = self.stream.read(&mut self.buffer[before..])?;
        self.buffer.truncate(before + read);
        if read == 0 { Err("the server closed the connection".into()) } else { Ok(()) }
    }

    fn body(&mut self, head: &str, is_head: bool, mut take: impl FnMut(&[u8])) -> Result<(), Failure> {
        if is_head || matches!(status(head)?, 204 | 304) {
            return Ok(());
        }
        if let Some(length) = header(head, "content-length") {
            return self.exactly(length.parse()?, &mut take);
        }
        if header(head, "transfer-encoding").is_none() {
            return Ok(());
        }
        loop {
            let size = usize::from_str_radix(self.line()?.trim(), 16)?;
            self.exactly(size, &mut take)?;
            self.line()?;
            if size == 0 {
                return Ok(());
            }
        }
    }

    fn exactly(&mut self, mut wanted: usize, take: &mut impl FnMut(&[u8])) -> Result<(), Failure> {
        while wanted > 0 {
            if self.buffer.is_empty() {
                self.fill()?;
            }
            let now = wanted.min(self.buffer.len());
            take(&self.buffer[..now]);
            self.buffer.drain(..now);
            wanted -= now;
        }
        Ok(())
    }

    fn line(&mut self) -> Result<String, Failure> {
        loop {
            if let Some(end) = self.buffer.windows(2).position(|two| two == b"\r\n") {
                let line = String::from_utf8(self.buffer[..end].to_vec())?;
                self.buffer.drain(..end + 2);
                return Ok(line);
            }
            self.fill()?;
        }
    }
}

fn status(head: &str) -> Result<u16, Failure> {
    Ok(head.split(' ').nth(1).ok_or("an answer without status")?.parse()?)
}
