//! One way to stop: a token that every task watches, a tracker that every task is in, a deadline.
//!
//! The first SIGTERM or SIGINT asks; the second ends at once. It never aborts a task that still has time.

use std::future::Future;
use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Handle to ask for the stop, to wait for it, and to start tasks that take part in it; cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Shutdown {
    token: CancellationToken,
    tracker: TaskTracker,
}

impl Shutdown {
    /// A new one, not yet asked to stop.
    pub fn new() -> Self {
        Self::default()
    }

    /// A part that can be stopped alone, and stops with the whole; its tasks are counted apart.
    pub fn child(&self) -> Self {
        Self { token: self.token.child_token(), tracker: TaskTracker::new() }
    }

    /// Starts a task that is waited for at the end. The task must watch [`Shutdown::stopping`].
    pub fn spawn<F>(&self, task: F) -> JoinHandle<F::Output>
    where
        F: Future + Send + 'static,
        F::Output: Send + 'static,
    {
        self.tracker.spawn(task)
    }

    /// Asks everyone to stop.
    pub fn stop(&self) {
        self.token.cancel();
    }

    /// Whether the stop was asked for.
    pub fn is_stopping(&self) -> bool {
        self.token.is_cancelled()
    }

    /// Waits until the stop is asked for. Cancel safe.
    pub async fn stopping(&self) {
        self.token.cancelled().await;
    }

    /// The token, for what takes one.
    pub fn token(&self) -> &CancellationToken {
        &self.token
    }

    /// Asks for the stop and waits for all tasks, `deadline` at most; `false` when some are still running.
    pub async fn finish(&self, deadline: Duration) -> bool {
        self.token.cancel();
        self.tracker.close();
        tokio::time::timeout(deadline, self.tracker.wait()).await.is_ok()
    }

    /// A message for each SIGHUP, which asks for the configuration to be read again; several that come together are one. From here on
    /// the signal ends no process.
    ///
    /// # Errors
    /// When the signal handler cannot be set.
    pub fn on_hangup(&self) -> std::io::Result<tokio::sync::mpsc::Receiver<()>> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut hangup = signal(SignalKind::hangup())?;
        let (asked, asked_out) = tokio::sync::mpsc::channel(1);
        let stop = self.clone();
        self.spawn(async move {
            loop {
                tokio::select! { _ = hangup.recv() => {}, () = stop.stopping() => return }
                let _ = asked.try_send(());
            }
        });
        Ok(asked_out)
    }

    /// Stops at the first SIGTERM or SIGINT; at the second the process ends with 130.
    ///
    /// # Errors
    /// When the signal handlers cannot be set.
    pub fn on_signals(&self) -> std::io::Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let token = self.token.clone();
        // Outside the tracker on purpose: it must outlive the drain to see the second signal.
        tokio::spawn(async move {
            let mut asked = false;
            loop {
                tokio::select! { _ = terminate.recv() => {}, _ = interrupt.recv() => {} }
                if asked {
                    std::process::exit(130);
                }
                asked = true;
                token.cancel();
            }
        });
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn finish_waits_for_tasks() {
        let shutdown = Shutdown::new();
        let inner = shutdown.clone();
        let task = shutdown.spawn(async move {
            inner.stopping().await;
            7
        });
        assert!(shutdown.finish(Duration::from_secs(5)).await);
        assert_eq!(task.await.expect("joined"), 7);
    }

    #[tokio::test]
    async fn a_child_stops_with_the_whole() {
        let whole = Shutdown::new();
        let part = whole.child();
        part.stop();
        assert!(!whole.is_stopping());
        let other = whole.child();
        whole.stop();
        assert!(other.is_stopping());
    }
}
