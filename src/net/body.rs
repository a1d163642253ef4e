//! Bodies under control: the only place that reads one whole, and the wrappers that end one that stands still.
//!
//! Bytes come from peers and go to whoever asked, never more than was allowed and never later than was allowed. A body that
//! is written to a peer goes through [`channel`], so that a reader who stops reading is noticed.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::{Buf as _, Bytes, BytesMut};
use futures_util::FutureExt as _;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;
use tokio::time::{Instant, Sleep};

/// Bytes a second that the slowest line is expected to carry.
const SLOWEST: u64 = 16 << 10;

/// What a socket says when the peer ended without a farewell.
const GONE: [io::ErrorKind; 4] = [
    io::ErrorKind::UnexpectedEof,
    io::ErrorKind::ConnectionReset,
    io::ErrorKind::ConnectionAborted,
    io::ErrorKind::BrokenPipe,
];

/// An error of any body, boxed.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Why a body could not be read.
#[derive(Debug, thiserror::Error)]
pub enum BodyError {
    /// Longer than allowed.
    #[error("the body is longer than {0} bytes")]
    TooLarge(usize),
    /// Nothing came for too long.
    #[error("the body stood still for {} s", .0.as_secs())]
    Idle(Duration),
    /// The connection or the stream ended.
    #[error("the body broke off")]
    Broken(#[source] BoxError),
}

/// The peer is gone: what TLS and sockets say of it helps nobody.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the other side went away before its end")]
pub struct WentAway;

impl BodyError {
    /// Whether the peer is gone.
    pub fn went_away(&self) -> bool {
        matches!(self, Self::Broken(why) if why.is::<WentAway>())
    }

    fn broken(error: impl Into<BoxError>) -> Self {
        let error = error.into();
        let mut next: Option<&(dyn std::error::Error + 'static)> = Some(&*error);
        while let Some(cause) = next {
            let gone = cause.downcast_ref::<io::Error>().is_some_and(|error| GONE.contains(&error.kind()));
            if gone || cause.downcast_ref::<hyper::Error>().is_some_and(hyper::Error::is_incomplete_message) {
                return Self::Broken(WentAway.into());
            }
            next = cause.source();
        }
        Self::Broken(error)
    }
}

/// Reads a body whole: `max` bytes at most, each piece within `idle`.
///
/// # Errors
/// When it is longer, slower, or breaks off.
///
/// # Cancel safety
/// Not cancel safe: what was read is lost.
pub async fn capped<B>(body: B, max: usize, idle: Duration) -> Result<Bytes, BodyError>
where
    B: Body,
    B::Error: Into<BoxError>,
{
    if body.size_hint().lower() > max as u64 {
        return Err(BodyError::TooLarge(max));
    }
    let mut body = std::pin::pin!(body);
    let mut whole = BytesMut::new();
    // A peer that sends a byte now and then is never idle: the whole has its time too, enough for a slow line.
    let deadline = Instant::now() + idle * 4 + Duration::from_secs(max as u64 / SLOWEST);
    loop {
        let until = deadline.min(Instant::now() + idle);
        let frame = match tokio::time::timeout_at(until, body.frame()).await {
            Err(_) => return Err(BodyError::Idle(idle)),
            Ok(None) => return Ok(whole.freeze()),
            Ok(Some(frame)) => frame.map_err(BodyError::broken)?,
        };
        let Ok(mut data) = frame.into_data() else { continue };
        if data.remaining() > max - whole.len() {
            return Err(BodyError::TooLarge(max));
        }
        whole.extend_from_slice(&data.copy_to_bytes(data.remaining()));
    }
}

/// A body that ends with [`BodyError::Idle`] when nothing comes for too long while somebody waits for it.
pub struct IdleTimeout<B> {
    inner: B,
    idle: Duration,
    // Set while a poll is pending: the time that the reader takes for itself does not count.
    waiting: Option<Pin<Box<Sleep>>>,
}

impl<B> IdleTimeout<B> {
    /// Wraps `inner`.
    pub fn new(inner: B, idle: Duration) -> Self {
        Self { inner, idle, waiting: None }
    }
}

impl<B> Body for IdleTimeout<B>
where
    B: Body + Unpin,
    B::Error: Into<BoxError>,
{
    type Data = B::Data;
    type Error = BodyError;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<B::Data>, BodyError>>> {
        let this = &mut *self;
        if let Poll::Ready(frame) = Pin::new(&mut this.inner).poll_frame(cx) {
            this.waiting = None;
            return Poll::Ready(frame.map(|f| f.map_err(BodyError::broken)));
        }
        let idle = this.idle;
        let waiting = this.waiting.get_or_insert_with(|| Box::pin(tokio::time::sleep(idle)));
        ready!(waiting.poll_unpin(cx));
        Poll::Ready(Some(Err(BodyError::Idle(idle))))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

/// Why nothing more can be written into a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SendError {
    /// The reader is gone.
    #[error("the reader is gone")]
    Gone,
    /// The reader took nothing for too long.
    #[error("the reader stood still")]
    Stalled,
}

/// A body that is written piece by piece: what [`Sender::send`] takes comes out of [`Streamed`], with `depth` pieces between.
/// A reader that takes nothing for `idle` is given up.
pub fn channel(depth: usize, idle: Duration) -> (Sender, Streamed) {
    let (pieces, receiver) = mpsc::channel(depth.max(1));
    (Sender { pieces, idle }, Streamed { receiver, over: false })
}

/// The writing end of [`channel`]. Dropping it without [`Sender::finish`] breaks the body off, as [`Sender::abort`] does:
/// a body ends cleanly only on purpose.
#[derive(Debug)]
pub struct Sender {
    pieces: mpsc::Sender<Piece>,
    idle: Duration,
}

#[derive(Debug)]
enum Piece {
    Data(Bytes),
    End,
}

impl Sender {
    /// Hands one piece over, waiting until the reader has room.
    ///
    /// # Errors
    /// When the reader is gone or takes nothing for the idle time.
    ///
    /// # Cancel safety
    /// A cancelled send hands nothing over.
    pub async fn send(&self, data: Bytes) -> Result<(), SendError> {
        self.hand_over(Piece::Data(data)).await
    }

    /// Resolves when the reader is gone. Cancel safe.
    pub async fn gone(&self) {
        self.pieces.closed().await;
    }

    /// Ends the body cleanly.
    ///
    /// # Errors
    /// As [`Sender::send`].
    pub async fn finish(self) -> Result<(), SendError> {
        self.hand_over(Piece::End).await
    }

    /// Breaks the body off after what was sent: the peer sees a cut connection or a reset stream, never a clean end.
    pub fn abort(self) {}

    async fn hand_over(&self, piece: Piece) -> Result<(), SendError> {
        self.pieces.send_timeout(piece, self.idle).await.map_err(|e| match e {
            mpsc::error::SendTimeoutError::Timeout(_) => SendError::Stalled,
            mpsc::error::SendTimeoutError::Closed(_) => SendError::Gone,
        })
    }
}

/// The reading end of [`channel`]: a body, and a stream of pieces.
#[derive(Debug)]
pub struct Streamed {
    receiver: mpsc::Receiver<Piece>,
    over: bool,
}

impl Streamed {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, io::Error>>> {
        if self.over {
            return Poll::Ready(None);
        }
        match ready!(self.receiver.poll_recv(cx)) {
            Some(Piece::Data(data)) => Poll::Ready(Some(Ok(data))),
            Some(Piece::End) => {
                self.over = true;
                Poll::Ready(None)
            }
            None => {
                self.over = true;
                Poll::Ready(Some(Err(io::Error::other("the writer gave up"))))
            }
        }
    }
}

impl Body for Streamed {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, io::Error>>> {
        self.poll_piece(cx).map(|piece| piece.map(|data| data.map(Frame::data)))
    }
}

impl futures_util::Stream for Streamed {
    type Item = Result<Bytes, io::Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_piece(cx)
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::{Empty, Full};

    use super::*;

    const IDLE: Duration = Duration::from_secs(30);

    #[tokio::test(start_paused = true)]
    async fn a_body_is_read_up_to_its_cap() {
        let body = || Full::new(Bytes::from_static(b"12345"));
        assert_eq!(capped(body(), 5, IDLE).await.expect("fits"), "12345");
        assert!(matches!(capped(body(), 4, IDLE).await, Err(BodyError::TooLarge(4))));
        assert!(capped(Empty::<Bytes>::new(), 0, IDLE).await.expect("empty").is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_cap_holds_for_bodies_of_unknown_length() {
        let (sender, body) = channel(4, IDLE);
        for _ in 0..3 {
            sender.send(Bytes::from_static(b"1234")).await.expect("sent");
        }
        assert!(matches!(capped(body, 11, IDLE).await, Err(BodyError::TooLarge(11))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_stands_still_ends() {
        let (sender, body) = channel(4, IDLE);
        sender.send(Bytes::from_static(b"1")).await.expect("sent");
        let started = Instant::now();
        assert!(matches!(capped(body, 10, IDLE).await, Err(BodyError::Idle(_))));
        assert_eq!(started.elapsed().as_secs(), IDLE.as_secs());
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_drips_ends_too() {
        let (sender, body) = channel(1, IDLE);
        let drip = tokio::spawn(async move {
            while sender.send(Bytes::from_static(b"1")).await.is_ok() {
                tokio::time::sleep(IDLE / 2).await;
            }
        });
        assert!(matches!(capped(body, 1 << 20, IDLE).await, Err(BodyError::Idle(_))));
        drip.await.expect("the writer noticed");
    }

    #[tokio::test(start_paused = true)]
    async fn only_a_finished_body_ends_cleanly() {
        let (sender, body) = channel(4, IDLE);
        sender.send(Bytes::from_static(b"1")).await.expect("sent");
        sender.finish().await.expect("finished");
        assert_eq!(capped(body, 10, IDLE).await.expect("whole"), "1");
        let (sender, body) = channel(4, IDLE);
        sender.send(Bytes::from_static(b"1")).await.expect("sent");
        sender.abort();
        assert!(matches!(capped(body, 10, IDLE).await, Err(BodyError::Broken(_))));
        let (sender, body) = channel(4, IDLE);
        drop(sender);
        assert!(matches!(capped(body, 10, IDLE).await, Err(BodyError::Broken(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn a_reader_that_stands_still_or_goes_is_noticed() {
        let (sender, body) = channel(1, IDLE);
        sender.send(Bytes::from_static(b"1")).await.expect("there is room for one");
        assert_eq!(sender.send(Bytes::from_static(b"2")).await, Err(SendError::Stalled));
        drop(body);
        sender.gone().await;
        assert_eq!(sender.send(Bytes::from_static(b"3")).await, Err(SendError::Gone));
    }

    #[tokio::test(start_paused = true)]
    async fn idle_time_counts_only_while_somebody_waits() {
        let (sender, body) = channel(4, IDLE * 100);
        sender.send(Bytes::from_static(b"1")).await.expect("sent");
        let mut body = IdleTimeout::new(body, IDLE);
        tokio::time::sleep(IDLE * 3).await;
        assert!(body.frame().await.expect("a frame").is_ok());
        assert!(matches!(body.frame().await, Some(Err(BodyError::Idle(_)))));
    }

    #[tokio::test]
    async fn a_peer_that_went_away_is_said_to_have() {
        for (kind, gone) in [(io::ErrorKind::UnexpectedEof, true), (io::ErrorKind::InvalidData, false)] {
            let failed = futures_util::stream::iter([Err::<Frame<Bytes>, _>(io::Error::new(kind, "peer closed"))]);
            let error = capped(http_body_util::StreamBody::new(failed), 10, IDLE).await.expect_err("broken");
            assert_eq!(error.went_away(), gone, "{error:?}");
            let said = crate::report::chain(&error);
            assert_eq!(said == "the body broke off: the other side went away before its end", gone, "{said}");
        }
    }
}
