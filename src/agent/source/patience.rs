//! Questions to file systems that may never answer.
//!
//! A question is asked on a thread of its own; when no answer comes in time the thread is left behind, and at most two may be left
//! behind in the whole process. It never kills a thread: one that wakes up again ends and gives its place back. What is asked again and
//! again is asked by name, so that one mount that hangs has one thread and not both.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;

/// Threads that may hang at the same time.
const LEFT_BEHIND: usize = 2;

/// The process's patience with its mounts.
static MOUNTS: Patience = Patience::new();

const ASKED: u8 = 0;
const ANSWERED: u8 = 1;
const ABANDONED: u8 = 2;

/// Why there is no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Impatient {
    /// Nothing came in time.
    #[error("no answer within {} s", .0.as_secs_f32())]
    Late(Duration),
    /// Two earlier questions still hang.
    #[error("not asked: two earlier questions still hang")]
    Full,
    /// An earlier question about the same still hangs.
    #[error("not asked: an earlier question about it still hangs")]
    Hangs,
    /// The system gives no thread, or the question panicked.
    #[error("no thread to ask on")]
    Thread,
}

/// Knows the threads that hang.
#[derive(Debug)]
pub struct Patience {
    /// What each was asked about; an empty name for what has none.
    behind: Mutex<Vec<PathBuf>>,
    /// One question at a time, so that no two of them can pass the limit together.
    asking: Mutex<()>,
}

/// One's share of a patience: how long each of its questions waits.
#[derive(Clone, Copy, Debug)]
pub struct Patient {
    of: &'static Patience,
    wait: Duration,
}

impl Patient {
    /// With the process's mounts; each question waits `wait` at most.
    pub fn with_mounts(wait: Duration) -> Self {
        Self { of: &MOUNTS, wait }
    }

    /// Asks on a thread of its own.
    ///
    /// # Errors
    /// When no answer came, or two earlier questions still hang.
    pub fn ask<T, F>(&self, ask: F) -> Result<T, Impatient>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        self.of.within(self.wait, Path::new(""), ask)
    }

    /// Asks about `what`, unless an earlier question about it still hangs.
    ///
    /// # Errors
    /// As [`Patient::ask`].
    pub fn ask_about<T, F>(&self, what: &Path, ask: F) -> Result<T, Impatient>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        self.of.within(self.wait, what, ask)
    }

    /// With a patience of a test's own, so that tests that hang on purpose do not use up each other's.
    #[cfg(test)]
    pub(super) fn of(of: &'static Patience, wait: Duration) -> Self {
        Self { of, wait }
    }
}

impl Patience {
    pub(super) const fn new() -> Self {
        Self { behind: Mutex::new(Vec::new()), asking: Mutex::new(()) }
    }

    fn behind(&self) -> MutexGuard<'_, Vec<PathBuf>> {
        self.behind.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One of those that were asked about this is no longer behind.
    fn is_back(&self, what: &Path) {
        let mut behind = self.behind();
        if let Some(place) = behind.iter().position(|asked| asked == what) {
            behind.swap_remove(place);
        }
    }

    /// Asks on a thread of its own and waits `wait` at most.
    ///
    /// # Errors
    /// When no answer came, or two earlier questions still hang.
    fn within<T, F>(&'static self, wait: Duration, what: &Path, ask: F) -> Result<T, Impatient>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let _turn = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        let hangs = self.behind();
        if hangs.iter().any(|asked| !what.as_os_str().is_empty() && asked == what) {
            return Err(Impatient::Hangs);
        }
        if hangs.len() >= LEFT_BEHIND {
            return Err(Impatient::Full);
        }
        drop(hangs);
        let (answer, answers) = mpsc::sync_channel(1);
        let state = Arc::new(AtomicU8::new(ASKED));
        let (inner, about) = (Arc::clone(&state), what.to_owned());
        let work = move || {
            let _ = answer.send(ask());
            if inner.swap(ANSWERED, Ordering::SeqCst) == ABANDONED {
                self.is_back(&about);
            }
        };
        let thread = thread::Builder::new().name("sheaf-ask".into()).stack_size(128 << 10);
        thread.spawn(work).map_err(|_| Impatient::Thread)?;
        match answers.recv_timeout(wait) {
            Ok(value) => Ok(value),
            Err(mpsc::RecvTimeoutError::Disconnected) => Err(Impatient::Thread),
            Err(mpsc::RecvTimeoutError::Timeout) => {
                self.behind().push(what.to_owned());
                // Answered in the very last moment: the thread has not seen that it was given up, and takes nothing back.
                if state.swap(ABANDONED, Ordering::SeqCst) == ANSWERED {
                    self.is_back(what);
                }
                Err(Impatient::Late(wait))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_threads_are_left_behind_and_no_third() {
        static PATIENCE: Patience = Patience::new();
        let (free, hang) = mpsc::channel::<()>();
        let hang = Arc::new(Mutex::new(hang));
        let ask = |wait| {
            let hang = Arc::clone(&hang);
            PATIENCE.within(wait, Path::new(""), move || drop(hang.lock().map(|h| h.recv())))
        };
        let short = Duration::from_millis(5);
        assert_eq!(ask(short), Err(Impatient::Late(short)));
        assert_eq!(ask(short), Err(Impatient::Late(short)));
        assert_eq!(ask(short), Err(Impatient::Full));
        drop(free);
        // Both wake up and give their places back; there is no event for that other than a question that is taken.
        let answer = loop {
            match PATIENCE.within(Duration::from_secs(30), Path::new(""), || 7) {
                Err(Impatient::Full) => thread::yield_now(),
                done => break done,
            }
        };
        assert_eq!(answer, Ok(7));
    }

    #[test]
    fn what_hangs_is_not_asked_about_again_until_it_answers() {
        static PATIENCE: Patience = Patience::new();
        let (free, hang) = mpsc::channel::<()>();
        let (one, other) = (Path::new("/mnt/one"), Path::new("/mnt/other"));
        let short = Patient::of(&PATIENCE, Duration::from_millis(5));
        assert_eq!(short.ask_about(one, move || hang.recv().is_ok()), Err(Impatient::Late(Duration::from_millis(5))));
        for _ in 0..3 {
            assert_eq!(short.ask_about(one, || ()), Err(Impatient::Hangs));
        }
        let long = Patient::of(&PATIENCE, Duration::from_secs(30));
        assert_eq!(long.ask_about(other, || 7), Ok(7), "others are not held up");
        drop(free);
        let answer = loop {
            match long.ask_about(one, || 8) {
                Err(Impatient::Hangs) => thread::yield_now(),
                done => break done,
            }
        };
        assert_eq!(answer, Ok(8));
    }

    #[test]
    fn a_question_that_panics_is_an_error() {
        static PATIENCE: Patience = Patience::new();
        let silent: Result<(), _> = PATIENCE.within(Duration::from_secs(30), Path::new(""), || panic!("on purpose"));
        assert_eq!(silent, Err(Impatient::Thread));
        assert_eq!(PATIENCE.within(Duration::from_secs(30), Path::new(""), || 7), Ok(7));
    }
}
