//! Operations on their way to the file: those that wait at the same time are committed together.
//!
//! Jobs come from the store, one at a time or a whole fleet's at once; the answers go back when a power cut cannot undo them any
//! more. Each job is done whole or not at all, whatever becomes of its neighbours: they share the one thing that is dear, the
//! sync of the disk. A thousand agents that log in at one moment wait for a few syncs, not for a thousand.

use std::panic::{AssertUnwindSafe, catch_unwind};

use rusqlite::{Connection, Transaction, TransactionBehavior};
use tokio::sync::{mpsc, oneshot};

use super::StoreError;

/// Jobs of one commit at most: the first of them waits for the last.
const TOGETHER: usize = 128;

/// How sure an operation must be on disk before it is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Surety {
    /// Survives the process; a power cut may lose the last of them, never the order.
    Written,
    /// Survives a power cut.
    Synced,
}

/// Tells whoever waits, once it is known whether what was done stands.
type Tell = Box<dyn FnOnce(Result<(), &StoreError>)>;

/// Done in a transaction, or not at all for a reason; says whether it went well, and whom to tell.
type Work = Box<dyn FnOnce(Result<&Transaction<'_>, &StoreError>) -> (bool, Tell) + Send>;

/// One operation, and who waits for it.
pub(super) struct Job {
    surety: Surety,
    work: Work,
}

/// A job that was done and waits for the commit.
struct Done {
    changed: bool,
    tell: Tell,
}

impl Job {
    pub(super) fn new<T, F>(surety: Surety, operation: F, answer: oneshot::Sender<Result<T, StoreError>>) -> Self
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let work = move |tx: Result<&Transaction<'_>, &StoreError>| {
            let value = tx.map_err(StoreError::again).and_then(operation);
            let well = value.is_ok();
            let tell: Tell = Box::new(move |stands| {
                let _ = answer.send(value.and_then(|value| stands.map(|()| value).map_err(StoreError::again)));
            });
            (well, tell)
        };
        Self { surety, work: Box::new(work) }
    }

    /// Does it as a part of a transaction that others share; a fault in it undoes it alone.
    fn run(self, tx: &Transaction<'_>) -> Result<Option<Done>, StoreError> {
        let before = tx.total_changes();
        tx.prepare_cached("SAVEPOINT job")?.execute([])?;
        let worked = catch_unwind(AssertUnwindSafe(|| (self.work)(Ok(tx))));
        if worked.is_err() {
            tracing::error!("an operation on the state panicked and was undone");
        }
        let well = worked.as_ref().is_ok_and(|(well, _)| *well);
        // SQLite may have undone the whole transaction, as it does when the disk is full: then there is no savepoint either.
        if !well && !tx.is_autocommit() {
            tx.prepare_cached("ROLLBACK TO job")?.execute([])?;
        }
        if !tx.is_autocommit() {
            tx.prepare_cached("RELEASE job")?.execute([])?;
        }
        Ok(worked.ok().map(|(_, tell)| Done { changed: well && tx.total_changes() > before, tell }))
    }
}

/// Does jobs until nobody is left who could bring one.
pub(super) fn work(mut connection: Connection, mut queue: mpsc::Receiver<Job>) {
    let mut waiting = Vec::with_capacity(TOGETHER);
    while queue.blocking_recv_many(&mut waiting, TOGETHER) > 0 {
        while !waiting.is_empty() {
            together(&mut connection, &mut waiting);
        }
    }
}

/// Does the first of the jobs, and as many more as one transaction bears.
fn together(connection: &mut Connection, jobs: &mut Vec<Job>) {
    let surety = jobs.iter().map(|job| job.surety).max().unwrap_or(Surety::Written);
    let mut left = std::mem::take(jobs).into_iter();
    let mut done = Vec::with_capacity(left.len());
    let stands = in_transaction(connection, surety, |tx| {
        for job in left.by_ref() {
            done.extend(job.run(tx)?);
            if tx.is_autocommit() {
                return Err(StoreError::Full);
            }
        }
        Ok(())
    });
    if done.is_empty()
        && let (Err(error), Some(job)) = (&stands, left.next())
    {
        // There was no transaction to be had: whoever comes first hears why, and the others have a try of their own.
        let (_, tell) = (job.work)(Err(error));
        tell(Err(error));
    }
    for Done { changed, tell } in done {
        // Whoever only read has read what was there.
        tell(if changed { stands.as_ref().copied() } else { Ok(()) });
    }
    jobs.extend(left);
}

fn in_transaction(
    connection: &mut Connection,
    surety: Surety,
    work: impl FnOnce(&Transaction<'_>) -> Result<(), StoreError>,
) -> Result<(), StoreError> {
    let synchronous = match surety {
        Surety::Synced => "full",
        Surety::Written => "normal",
    };
    connection.pragma_update(None, "synchronous", synchronous)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    // Any error drops the transaction, which undoes all of it.
    work(&transaction)?;
    transaction.commit()?;
    Ok(())
}
