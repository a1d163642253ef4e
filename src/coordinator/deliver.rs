//! Delivering: the bundle's bytes leave for the client as they are merged.
//!
//! The merge writes into an [`Outlet`] on its own thread; what comes out is a [`Body`] that the client's answer streams. A
//! full channel blocks the thread, which is how a slow reader holds the nodes back. A bundle ends cleanly only when it was
//! sealed: in every other case the body ends with an error, so that the answer is reset. Nothing is stored here.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::net::body::{self, SendError, Sender, Streamed};

/// Bytes of one piece of the body: large enough that handing it over costs nothing, small enough to hold several.
const PIECE: usize = 128 << 10;
/// Pieces between the merge and the reader.
const DEPTH: usize = 4;

/// Counts what went through; shared between both ends and the metrics.
#[derive(Debug, Default)]
struct Passage {
    handed: AtomicU64,
    taken: AtomicU64,
    moved: Notify,
}

/// Both ends of a delivery. The reader that takes nothing for `idle` is given up; `gone` is cancelled when the reader leaves
/// before the end; `stop` ends the writing.
pub fn open(idle: Duration, gone: CancellationToken, stop: CancellationToken, total: Arc<AtomicU64>) -> (Outlet, Body) {
    let (sender, inner) = body::channel(DEPTH, idle);
    let passage = Arc::new(Passage::default());
    let outlet = Outlet {
        sender,
        stop,
        runtime: Handle::current(),
        piece: BytesMut::with_capacity(PIECE),
        passage: Arc::clone(&passage),
    };
    (outlet, Body { inner, gone, passage, total, ended: false })
}

/// The writing end, for a thread that may block.
#[derive(Debug)]
pub struct Outlet {
    sender: Sender,
    stop: CancellationToken,
    runtime: Handle,
    piece: BytesMut,
    passage: Arc<Passage>,
}

impl Outlet {
    fn hand_over(&mut self) -> io::Result<()> {
        if self.piece.is_empty() {
            return Ok(());
        }
        let piece = std::mem::replace(&mut self.piece, BytesMut::with_capacity(PIECE)).freeze();
        self.passage.handed.fetch_add(1, Ordering::SeqCst);
        let (sender, stop) = (&self.sender, &self.stop);
        self.runtime.block_on(async {
            tokio::select! {
                biased;
                // Not `Interrupted`, which `write_all` would try again.
                () = stop.cancelled() => Err(io::Error::new(io::ErrorKind::ConnectionAborted, "given up")),
                sent = sender.send(piece) => sent.map_err(|error| match error {
                    SendError::Gone => io::Error::new(io::ErrorKind::BrokenPipe, error),
                    SendError::Stalled => io::Error::new(io::ErrorKind::TimedOut, error),
                }),
            }
        })
    }

    /// Hands over what is left; the rest is [`Whole`]'s.
    ///
    /// # Errors
    /// When the reader is gone or stands still, or the stop was asked for.
    pub fn close(mut self) -> io::Result<Whole> {
        self.hand_over()?;
        Ok(Whole { sender: self.sender, passage: self.passage })
    }
}

impl io::Write for Outlet {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = (PIECE - self.piece.len()).min(bytes.len());
        self.piece.extend_from_slice(&bytes[..room]);
        if self.piece.len() == PIECE {
            self.hand_over()?;
        }
        Ok(room)
    }

    // Pieces are handed over when full and at the end: a flush in between would only make them small.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A bundle that was written whole, whose reader does not know yet.
#[derive(Debug)]
pub struct Whole {
    sender: Sender,
    passage: Arc<Passage>,
}

impl Whole {
    /// Waits until the reader took all of it.
    ///
    /// # Errors
    /// `BrokenPipe` when the reader left before that, `TimedOut` when it took nothing for `idle`.
    pub async fn taken(&self, idle: Duration) -> Result<(), io::ErrorKind> {
        loop {
            let moved = self.passage.moved.notified();
            if self.passage.taken.load(Ordering::SeqCst) == self.passage.handed.load(Ordering::SeqCst) {
                return Ok(());
            }
            tokio::select! {
                () = self.sender.gone() => return Err(io::ErrorKind::BrokenPipe),
                () = moved => {}
                () = tokio::time::sleep(idle) => return Err(io::ErrorKind::TimedOut),
            }
        }
    }

    /// Tells the reader that this was the end.
    pub async fn end(self) {
        // A reader that leaves now has every byte.
        let _ = self.sender.finish().await;
    }
}

/// The bytes of a bundle as they are merged. An error means that the bundle was given up, and the answer must be reset;
/// dropping it before its end cancels the download.
#[derive(Debug)]
pub struct Body {
    inner: Streamed,
    gone: CancellationToken,
    passage: Arc<Passage>,
    total: Arc<AtomicU64>,
    ended: bool,
}

impl Stream for Body {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = ready!(Pin::new(&mut self.inner).poll_next(context));
        match &next {
            Some(Ok(piece)) => {
                self.total.fetch_add(piece.len() as u64, Ordering::Relaxed);
                self.passage.taken.fetch_add(1, Ordering::SeqCst);
                self.passage.moved.notify_waiters();
            }
            Some(Err(_)) | None => self.ended = true,
        }
        Poll::Ready(next)
    }
}

impl Drop for Body {
    fn drop(&mut self) {
        if !self.ended {
            self.gone.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use futures_util::StreamExt as _;

    use super::*;

    fn opened(idle: Duration) -> (Outlet, Body, CancellationToken, CancellationToken) {
        let (gone, stop) = (CancellationToken::new(), CancellationToken::new());
        let (outlet, body) = open(idle, gone.clone(), stop.clone(), Arc::default());
        (outlet, body, gone, stop)
    }

    #[tokio::test]
    async fn what_is_closed_ends_cleanly_after_its_last_byte() {
        let (mut outlet, mut body, gone, _stop) = opened(Duration::from_secs(30));
        let writer = tokio::task::spawn_blocking(move || {
            outlet.write_all(&vec![7; 3 * PIECE + 5]).expect("written");
            outlet.close().expect("closed")
        });
        let mut length = 0;
        while length < 3 * PIECE + 5 {
            length += body.next().await.expect("a piece").expect("no error").len();
        }
        let whole = writer.await.expect("joined");
        assert_eq!(whole.taken(Duration::from_secs(30)).await, Ok(()));
        whole.end().await;
        assert!(body.next().await.is_none());
        drop(body);
        assert!(!gone.is_cancelled());
    }

    #[tokio::test]
    async fn what_is_dropped_ends_with_an_error() {
        let (mut outlet, mut body, _gone, _stop) = opened(Duration::from_secs(30));
        tokio::task::spawn_blocking(move || outlet.write_all(&vec![7; PIECE])).await.expect("joined").expect("written");
        assert!(body.next().await.expect("a piece").is_ok());
        assert!(body.next().await.expect("an end").is_err());
    }

    #[tokio::test]
    async fn a_reader_that_leaves_says_so_and_ends_the_writing() {
        let (mut outlet, body, gone, _stop) = opened(Duration::from_secs(30));
        drop(body);
        assert!(gone.is_cancelled());
        let written = tokio::task::spawn_blocking(move || outlet.write_all(&vec![7; PIECE])).await.expect("joined");
        assert_eq!(written.expect_err("no reader").kind(), io::ErrorKind::BrokenPipe);
    }

    #[tokio::test]
    async fn a_reader_that_stands_still_is_given_up_and_a_stop_frees_the_thread() {
        let (mut outlet, _body, _gone, _stop) = opened(Duration::from_millis(20));
        let most = vec![7; (DEPTH + 1) * PIECE];
        let written = tokio::task::spawn_blocking(move || outlet.write_all(&most)).await.expect("joined");
        assert_eq!(written.expect_err("nobody reads").kind(), io::ErrorKind::TimedOut);

        let (mut outlet, _body, _gone, stop) = opened(Duration::from_secs(30));
        let most = vec![7; (DEPTH + 1) * PIECE];
        let writer = tokio::task::spawn_blocking(move || outlet.write_all(&most));
        stop.cancel();
        assert_eq!(writer.await.expect("joined").expect_err("stopped").kind(), io::ErrorKind::ConnectionAborted);
    }
}
