//! What is left of a request's body when its answer is there.
//!
//! HTTP/2 has no word for "I have heard enough" but a reset of the stream, and many a client, curl among them, throws the whole
//! answer away at one; others take an answer that comes before their body's end for an error. So the rest of a body that the
//! handler did not read is taken and dropped before the answer goes out, within so many bytes and so much time. Of one that is longer as
//! much again is taken while the answer goes out, so that whoever listens while it sends hears it before the stream is reset. Nothing of
//! it is kept.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Instant, timeout_at};

/// Where a body lies once the handler is done with it.
type Place = Arc<Mutex<Option<Incoming>>>;

/// Lends a body to a handler: what it leaves unread comes back to the [`Unread`].
pub(super) fn lend(body: Incoming) -> (Lent, Unread) {
    let place = Place::default();
    (Lent { body: Some(body), place: Arc::clone(&place) }, Unread(place))
}

/// A body in a handler's hands.
pub(super) struct Lent {
    /// None once it has ended.
    body: Option<Incoming>,
    place: Place,
}

impl Body for Lent {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let Some(body) = &mut self.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        if !matches!(frame, Some(Ok(_))) {
            self.body = None;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Incoming::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.body.as_ref().map_or_else(|| SizeHint::with_exact(0), Incoming::size_hint)
    }
}

impl Drop for Lent {
    fn drop(&mut self) {
        *self.place.lock().unwrap_or_else(PoisonError::into_inner) = self.body.take();
    }
}

/// The rest of a body. A handler that still holds the body when it has answered has not left it.
pub(super) struct Unread(Place);

impl Unread {
    /// Takes the rest to its end: `most` bytes, each piece within `idle` and all of it within `whole`. One that is known to be longer
    /// is not begun. What is left then is the answer.
    pub(super) async fn take(self, most: u64, idle: Duration, whole: Duration) -> Option<Incoming> {
        let body = self.0.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        if body.size_hint().lower() > most {
            return Some(body);
        }
        take(body, most, idle, whole).await
    }
}

/// Takes a body, and answers with what is left of it when its bytes or its time are used up.
pub(super) async fn take(mut body: Incoming, most: u64, idle: Duration, whole: Duration) -> Option<Incoming> {
    let (mut left, end) = (most, Instant::now() + whole);
    loop {
        match timeout_at(end.min(Instant::now() + idle), body.frame()).await {
            Err(_) => return Some(body),
            Ok(None | Some(Err(_))) => return None,
            Ok(Some(Ok(frame))) => {
                let length = frame.data_ref().map_or(0, Bytes::len) as u64;
                match left.checked_sub(length) {
                    Some(rest) => left = rest,
                    None => return Some(body),
                }
            }
        }
    }
}
