//! Merging: the streams of all nodes become one bundle.
//!
//! [`Verified`] segments come in through the output's [`Turn`], which one node has at a time; the bundle goes out into
//! whatever the assembler writes to. The output switches between nodes only where an entry ends:
//!
//! - segments of whole entries are appended one by one, each in a short turn;
//! - an entry of several segments is held in a [`Spool`] until it is whole, and then appended in one turn; or its node goes live:
//!   it keeps the turn, and each part is appended as it comes. Who goes live, and when it stands still, is decided in `run`;
//! - an entry whose rest will never come is completed with zeros and marked as truncated.
//!
//! Turns are given in the order in which they were asked for. The writing is done by one thread of its own, behind a channel of one
//! job, so that a slow reader of the bundle holds back everyone and fills nothing.

mod spool;

use std::io;
use std::io::Write;
use std::sync::Arc;

use tokio::sync::{Mutex, OwnedMutexGuard, mpsc};

use crate::bundle::assemble::Assembler;
use crate::bundle::manifest::{NodeRow, Statement};
use crate::bundle::path::EntryPath;
use crate::clock::Clock;
use crate::coordinator::verify::Verified;
use crate::id::NodeName;

pub use spool::{Charged, Quota, Spool};

/// Why nothing more can be merged.
#[derive(Debug, thiserror::Error)]
pub enum MergeError {
    /// The output broke, or its reader left.
    #[error("the bundle cannot be written")]
    Output(#[source] io::Error),
    /// The bundle was given up before it was sealed.
    #[error("the bundle was given up")]
    GivenUp,
}

/// The output is over: its thread has ended and says why itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the output is over")]
pub struct Over;

enum Job {
    Append { node: NodeName, verified: Verified },
    Replay { node: NodeName, spool: Spool },
    Truncated { node: NodeName, path: EntryPath, length: u64, reason: String },
    Node(Box<NodeRow>),
    Seal,
}

/// The way to the output; cheap to clone. It holds no entry itself: entries need the [`Turn`].
#[derive(Clone)]
pub struct Output {
    turn: Arc<Mutex<Turn>>,
    jobs: mpsc::Sender<Job>,
}

/// The output's turn: whoever holds it may write entries. Between its begin and its end an entry must be completed.
pub struct Turn {
    jobs: mpsc::Sender<Job>,
}

/// The work that waits for the output's thread.
pub struct Work {
    jobs: mpsc::Receiver<Job>,
}

/// A new output, and the work for [`write()`].
pub fn open() -> (Output, Work) {
    let (sender, jobs) = mpsc::channel(1);
    let turn = Arc::new(Mutex::new(Turn { jobs: sender.clone() }));
    (Output { turn, jobs: sender }, Work { jobs })
}

impl Output {
    /// Waits for the turn. Cancel safe, but a cancelled wait begins anew at the end of the queue.
    pub async fn turn(&self) -> OwnedMutexGuard<Turn> {
        Arc::clone(&self.turn).lock_owned().await
    }

    /// The turn, if nobody has it or waits for it.
    pub fn turn_now(&self) -> Option<OwnedMutexGuard<Turn>> {
        Arc::clone(&self.turn).try_lock_owned().ok()
    }

    /// Notes what became of a node.
    ///
    /// # Errors
    /// When the output is over.
    pub async fn node(&self, row: NodeRow) -> Result<(), Over> {
        self.jobs.send(Job::Node(Box::new(row))).await.map_err(|_| Over)
    }

    /// Asks for the end: what [`write()`] answers then is the bundle's statement.
    ///
    /// # Errors
    /// When the output is over.
    pub async fn seal(&self) -> Result<(), Over> {
        self.jobs.send(Job::Seal).await.map_err(|_| Over)
    }
}

impl Turn {
    async fn job(&mut self, job: Job) -> Result<(), Over> {
        self.jobs.send(job).await.map_err(|_| Over)
    }

    /// Appends a node's segment.
    ///
    /// # Errors
    /// When the output is over.
    pub async fn append(&mut self, node: &NodeName, verified: Verified) -> Result<(), Over> {
        self.job(Job::Append { node: node.clone(), verified }).await
    }

    /// Appends what was held of a node's entry.
    ///
    /// # Errors
    /// When the output is over.
    pub async fn replay(&mut self, node: &NodeName, spool: Spool) -> Result<(), Over> {
        self.job(Job::Replay { node: node.clone(), spool }).await
    }

    /// Marks the entry that zeros have just completed: `length` bytes of it are true.
    ///
    /// # Errors
    /// When the output is over.
    pub async fn truncated(
        &mut self,
        node: &NodeName,
        path: EntryPath,
        length: u64,
        reason: String,
    ) -> Result<(), Over> {
        self.job(Job::Truncated { node: node.clone(), path, length, reason }).await
    }
}

/// Writes a bundle, on a thread that may block: begins it with `begin`, does the work, and seals it when asked to.
///
/// # Errors
/// When the output breaks, or everyone who could ask for the seal is gone.
pub fn write<W: Write>(
    begin: impl FnOnce() -> io::Result<Assembler<W>>,
    mut work: Work,
    clock: &Clock,
) -> Result<(W, Statement), MergeError> {
    let mut assembler = begin().map_err(MergeError::Output)?;
    while let Some(job) = work.jobs.blocking_recv() {
        match job {
            Job::Append { node, verified } => {
                assembler.append(&node, verified.frames(), verified.raw(), verified.rows(), verified.notes())
            }
            Job::Replay { node, spool } => {
                spool.replay(|frames, rows, notes| assembler.append(&node, frames, None, rows, notes))
            }
            Job::Truncated { node, path, length, reason } => assembler.truncated(&node, &path, length, &reason),
            Job::Node(row) => assembler.node(*row),
            Job::Seal => return assembler.seal(clock.now_ms()).map_err(MergeError::Output),
        }
        .map_err(MergeError::Output)?;
    }
    Err(MergeError::GivenUp)
}
