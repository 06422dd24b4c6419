//! Clients that take nothing of what is sent to them: their connections are cut off.
//!
//! What a connection holds for such a client would be held for ever, for a client that only waits, or is gone without a word,
//! never breaks anything. It has to take something every so often, however little.

use std::io::{self, ErrorKind, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use lakebed_http::Patience;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// A connection whose writes fail when the other side takes nothing for a time. While nothing is written, no time runs.
pub(crate) struct Taking<S> {
    stream: S,
    patience: Patience,
    /// Called once, when it is over.
    cut: fn(&S),
}

impl Taking<TcpStream> {
    /// A client's connection.
    pub(crate) fn of(stream: TcpStream, longest: Duration) -> Self {
        // The system, too, forgets what it holds for the client: closed otherwise, it would go on trying.
        Self::new(stream, longest, |stream| {
            let _ = SockRef::from(stream).set_linger(Some(Duration::ZERO));
        })
    }
}

impl<S> Taking<S> {
    fn new(stream: S, longest: Duration, cut: fn(&S)) -> Self {
        Self { stream, patience: Patience::new(longest), cut }
    }

    /// What came of a write; a failure if it has waited for too long.
    fn waited<T>(&mut self, context: &mut Context<'_>, written: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if written.is_ready() {
            self.patience.end();
            return written;
        }
        std::task::ready!(self.patience.poll(context));
        (self.cut)(&self.stream);
        Poll::Ready(Err(io::Error::new(ErrorKind::TimedOut, "the client takes nothing of what is sent")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Taking<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Taking<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.waited(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.waited(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        // A socket holds nothing back, so this says nothing of the other side.
        if flushed.is_ready() { flushed } else { self.waited(context, flushed) }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::time::Instant;

    use super::*;

    const LONGEST: Duration = Duration::from_mins(1);

    /// Both ends of a connection that holds eight bytes.
    fn connection() -> (Taking<DuplexStream>, DuplexStream) {
        let (ours, theirs) = duplex(8);
        (Taking::new(ours, LONGEST, |_| ()), theirs)
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_nothing_is_cut_off() {
        let (mut ours, _theirs) = connection();
        let begun = Instant::now();
        let error = ours.write_all(&[0; 9]).await.unwrap_err();
        assert_eq!((error.kind(), begun.elapsed()), (ErrorKind::TimedOut, LONGEST));
    }

    #[tokio::test(start_paused = true)]
    async fn who_takes_a_little_at_a_time_gets_everything() {
        let (mut ours, mut theirs) = connection();
        let reading = async {
            for _ in 0..40 {
                tokio::time::sleep(LONGEST.mul_f32(0.9)).await;
                theirs.read_exact(&mut [0; 1]).await.unwrap();
            }
            theirs
        };
        let (written, _theirs) = tokio::join!(ours.write_all(&[0; 48]), reading);
        written.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn while_nothing_is_sent_nobody_has_to_take_anything() {
        let (mut ours, mut theirs) = connection();
        for _ in 0..3 {
            ours.write_all(&[0; 8]).await.unwrap();
            ours.flush().await.unwrap();
            tokio::time::sleep(LONGEST * 2).await;
            theirs.read_exact(&mut [0; 8]).await.unwrap();
        }
    }
}
