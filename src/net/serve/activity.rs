//! Whether a connection has requests in work: from the first header to the last byte of the answer.
//!
//! The service counts, the connection's driver watches. It never ends a request.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::watch;
use tokio::time::Instant;

/// The count of one connection; cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Activity(Arc<watch::Sender<State>>);

#[derive(Clone, Copy, Debug)]
struct State {
    in_work: usize,
    spoke: bool,
    since: Instant,
}

impl Default for Activity {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(State { in_work: 0, spoke: false, since: Instant::now() })))
    }
}

impl Activity {
    /// A request begins; it is in work until what this returns is dropped.
    pub(super) fn begin(&self) -> Work {
        // Whoever watches only wants to know whether there is any: it is not woken for each request.
        self.0.send_if_modified(|state| {
            state.in_work += 1;
            state.spoke = true;
            state.in_work == 1
        });
        Work(self.clone())
    }

    /// Resolves when no request is in work for `idle`, or the first one does not come within `first`. Cancel safe.
    pub(super) async fn idle(&self, first: Duration, idle: Duration) {
        let mut states = self.0.subscribe();
        loop {
            let state = *states.borrow_and_update();
            let wait = if state.spoke { idle } else { first };
            let over = async {
                if state.in_work > 0 {
                    std::future::pending::<()>().await;
                }
                tokio::time::sleep_until(state.since + wait).await;
            };
            tokio::select! {
                () = over => return,
                _ = states.changed() => {}
            }
        }
    }
}

/// One request in work.
#[derive(Debug)]
pub(super) struct Work(Activity);

impl Drop for Work {
    fn drop(&mut self) {
        self.0.0.send_if_modified(|state| {
            state.in_work -= 1;
            state.since = Instant::now();
            state.in_work == 0
        });
    }
}

/// An answer's body that keeps its request in work until it is sent or dropped.
pub(super) struct Tracked {
    inner: axum::body::Body,
    _work: Work,
}

impl Tracked {
    pub(super) fn new(inner: axum::body::Body, work: Work) -> Self {
        Self { inner, _work: work }
    }
}

impl Body for Tracked {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.inner).poll_frame(cx)
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}
