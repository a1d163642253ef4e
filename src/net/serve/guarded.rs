//! A stream that fails when its peer takes no bytes for too long, and that ends without cutting off what it said last.
//!
//! Bytes pass through untouched. It does not time reads: those have limits of their own, per request and per body. A socket that is closed
//! while its peer still sends takes the last answer back: the peer's system throws it away at the reset. So the end is said first, and then
//! what still comes is taken and dropped, within bounds.

use std::io;
use std::mem::MaybeUninit;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use futures_util::FutureExt as _;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// Wraps a stream; see the module.
pub(super) struct WriteGuard<S> {
    inner: S,
    idle: Duration,
    waiting: Option<Pin<Box<Sleep>>>,
    rest: Rest,
    ending: Option<Box<Ending>>,
}

/// What is taken of a peer that still sends when all is said.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rest {
    /// Bytes at most.
    pub(super) most: u64,
    /// Time for each piece.
    pub(super) idle: Duration,
    /// Time for all of it.
    pub(super) whole: Duration,
}

/// The end was said, and the peer's is waited for.
struct Ending {
    left: u64,
    piece: Pin<Box<Sleep>>,
    whole: Instant,
}

/// Bytes that are dropped at once.
const DROPPED: usize = 16 << 10;

impl<S> WriteGuard<S> {
    pub(super) fn new(inner: S, idle: Duration, rest: Rest) -> Self {
        Self { inner, idle, waiting: None, rest, ending: None }
    }

    fn guard<T>(&mut self, cx: &mut Context<'_>, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        if polled.is_ready() {
            self.waiting = None;
            return polled;
        }
        let idle = self.idle;
        let waiting = self.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
        waiting.poll_unpin(cx).map(|()| Err(io::Error::new(io::ErrorKind::TimedOut, "the peer takes no bytes")))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for WriteGuard<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_read(cx, into)
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WriteGuard<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write(cx, bytes);
        self.guard(cx, polled)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.inner).poll_write_vectored(cx, bytes);
        self.guard(cx, polled)
    }

    fn is_write_vectored(&self) -> bool {
        self.inner.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.inner).poll_flush(cx);
        self.guard(cx, polled)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.ending.is_none() {
            let polled = Pin::new(&mut self.inner).poll_shutdown(cx);
            ready!(self.guard(cx, polled))?;
            let (rest, now) = (self.rest, Instant::now());
            let piece = Box::pin(tokio::time::sleep(rest.idle));
            self.ending = Some(Box::new(Ending { left: rest.most, piece, whole: now + rest.whole }));
        }
        self.poll_rest(cx).map(Ok)
    }
}

impl<S: AsyncRead + Unpin> WriteGuard<S> {
    /// Takes and drops what still comes; done when the peer ends, or after so much of it or so long.
    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(ending) = &mut self.ending else { return Poll::Ready(()) };
        let mut dropped = [MaybeUninit::<u8>::uninit(); DROPPED];
        loop {
            let mut into = ReadBuf::uninit(&mut dropped);
            let Poll::Ready(read) = Pin::new(&mut self.inner).poll_read(cx, &mut into) else {
                return ending.piece.poll_unpin(cx);
            };
            let (length, now) = (into.filled().len() as u64, Instant::now());
            if read.is_err() || length == 0 || length >= ending.left || now >= ending.whole {
                return Poll::Ready(());
            }
            ending.left -= length;
            ending.piece.as_mut().reset(ending.whole.min(now + self.rest.idle));
        }
    }
}
