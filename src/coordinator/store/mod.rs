//! The state: one SQLite file in a folder of its own, behind named operations that are atomic each.
//!
//! Rows come from the coordinator's rooms and go back to them; no caller reads, decides and writes, since several coordinators
//! may share one state some day. All work is done by one thread, in the order in which it was asked for; what waits at the same time
//! is committed together (`commit`). Secrets do not come here in the clear: they are hashed, or sealed by [`vault::Vault`], before.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::{Connection, ErrorCode, Transaction};
use rustix::fs::{FlockOperation, flock};
use tokio::sync::{mpsc, oneshot};

use self::commit::{Job, Surety};
use super::refusal::Refusal;

pub mod access;
pub mod certificates;
mod commit;
pub mod deployments;
pub mod fleets;
pub mod join;
pub mod keys;
pub mod roster;
mod schema;
pub mod stored;
pub mod tasks;
pub mod users;
pub mod vault;

/// The database's name in the state folder.
const FILE: &str = "sheaf.db";
/// Operations that may wait for the thread; callers past it wait for a place.
const QUEUE: usize = 256;
/// Time to wait for another process at the same file, which only `sheaf coordinator init` can be.
const LOCKED: Duration = Duration::from_secs(5);

/// What became of something new of which only so many are kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Added {
    /// It stands.
    Yes,
    /// What it belongs to is not there, or it is there already.
    NoOwner,
    /// There are too many.
    TooMany,
}

/// Why the state cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The folder or the file cannot be made or opened.
    #[error("cannot use the state in {}", .path.display())]
    Open {
        /// The folder or file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// Others may write there, so nothing in it can be trusted.
    #[error("{} is writable for others than its owner; run: chmod 700 {}", .0.display(), .0.display())]
    Exposed(PathBuf),
    /// Made by a later version of sheaf.
    #[error("the state is of version {found}, this sheaf knows {known}: use the newer sheaf")]
    Newer {
        /// In the file.
        found: i64,
        /// Ours.
        known: i64,
    },
    /// No space left.
    #[error("no space left for the state")]
    Full,
    /// SQLite refuses.
    #[error("the state cannot be read or written")]
    Sqlite(#[source] rusqlite::Error),
    /// Something in the state is not what we once wrote.
    #[error("the state holds a {0} that makes no sense")]
    Corrupt(&'static str),
    /// The thread is gone.
    #[error("the state is closed")]
    Closed,
}

impl StoreError {
    /// The same once more, for another who waited for what failed.
    fn again(&self) -> Self {
        match self {
            Self::Full => Self::Full,
            Self::Sqlite(rusqlite::Error::SqliteFailure(code, text)) => {
                Self::Sqlite(rusqlite::Error::SqliteFailure(*code, text.clone()))
            }
            _ => Self::Closed,
        }
    }
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DiskFull) => Self::Full,
            _ => Self::Sqlite(error),
        }
    }
}

impl From<StoreError> for Refusal {
    fn from(error: StoreError) -> Self {
        let refusal = Self::internal("the state failed", &error);
        if matches!(error, StoreError::Full) { Self::Full } else { refusal }
    }
}

/// The state; cheap to clone.
#[derive(Clone, Debug)]
pub struct Store {
    jobs: mpsc::Sender<Job>,
}

impl Store {
    /// Opens the state in `folder`, makes it if it is not there, and brings it to this version.
    ///
    /// # Errors
    /// When the folder is not ours alone, or the file cannot be used.
    pub fn open(folder: &Path) -> Result<Self, StoreError> {
        prepare_folder(folder)?;
        let path = folder.join(FILE);
        let open = |source| StoreError::Open { path: path.clone(), source };
        // One at a time: SQLite does not wait while another process turns a new file into one with a write-ahead log.
        let opening = File::open(folder).map_err(open)?;
        flock(&opening, FlockOperation::LockExclusive).map_err(|e| open(e.into()))?;
        // Made by us first: SQLite would make it readable for others, and gives its log files the file's own mode. One that is
        // there is not opened, since closing it would end the locks that this process has on it.
        match OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(open(error)),
            _ => std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).map_err(open)?,
        }
        let mut connection = Connection::open(&path)?;
        connection.busy_timeout(LOCKED)?;
        connection.pragma_update(None, "journal_mode", "wal")?;
        connection.pragma_update(None, "foreign_keys", true)?;
        connection.pragma_update(None, "trusted_schema", false)?;
        schema::migrate(&mut connection)?;
        let (jobs, queue) = mpsc::channel(QUEUE);
        std::thread::Builder::new()
            .name("state".into())
            .spawn(move || commit::work(connection, queue))
            .map_err(open)?;
        Ok(Self { jobs })
    }

    /// Runs one operation in a transaction of its own, and answers once a power cut cannot undo it.
    ///
    /// # Cancel safety
    /// An operation that was queued is done, also when nobody waits for its answer any more.
    async fn sure<T, F>(&self, operation: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.run(Surety::Synced, operation).await
    }

    /// The same for what may be lost in a power cut: reading, logs, times of last use.
    async fn quick<T, F>(&self, operation: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        self.run(Surety::Written, operation).await
    }

    async fn run<T, F>(&self, surety: Surety, operation: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Transaction<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (answer, answered) = oneshot::channel();
        self.jobs.send(Job::new(surety, operation, answer)).await.map_err(|_| StoreError::Closed)?;
        answered.await.map_err(|_| StoreError::Closed)?
    }

    /// Whether the state answers.
    ///
    /// # Errors
    /// When it does not.
    pub async fn alive(&self) -> Result<(), StoreError> {
        self.quick(|tx| Ok(tx.query_row("SELECT 1", [], |_| Ok(()))?)).await
    }

    /// Bounds the file as a full disk does: SQLite fails in the same way.
    #[cfg(test)]
    pub(in crate::coordinator) async fn bound_pages(&self, pages: u32) -> Result<(), StoreError> {
        self.quick(move |tx| Ok(tx.query_row(&format!("PRAGMA max_page_count = {pages}"), [], |_| Ok(()))?)).await
    }

    /// A named value of the coordinator's own, such as a sealed key.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn meta(&self, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
        let key = key.to_owned();
        self.quick(move |tx| schema::meta(tx, &key)).await
    }

    /// Keeps a named value unless there is one already; answers the one that stands.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn meta_once(&self, key: &str, value: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        let key = key.to_owned();
        self.sure(move |tx| {
            tx.execute("INSERT OR IGNORE INTO meta (key, value) VALUES (?1, ?2)", (&key, &value))?;
            schema::meta(tx, &key)?.ok_or(StoreError::Corrupt("meta row"))
        })
        .await
    }

    /// Puts a named value in place of `old`, if that is what stands; answers the one that stands then.
    ///
    /// # Errors
    /// When the state cannot be written, or there is no such value.
    pub async fn meta_swap(&self, key: &str, old: Vec<u8>, new: Vec<u8>) -> Result<Vec<u8>, StoreError> {
        let key = key.to_owned();
        self.sure(move |tx| {
            tx.execute("UPDATE meta SET value = ?3 WHERE key = ?1 AND value = ?2", (&key, &old, &new))?;
            schema::meta(tx, &key)?.ok_or(StoreError::Corrupt("meta row"))
        })
        .await
    }
}

/// Makes the folder with mode 0700, or sees to it that an existing one is.
fn prepare_folder(folder: &Path) -> Result<(), StoreError> {
    let open = |source| StoreError::Open { path: folder.to_owned(), source };
    crate::state::folder(folder).map_err(open)?;
    let metadata = folder.metadata().map_err(open)?;
    let mode = metadata.permissions().mode();
    if mode & 0o022 != 0 || (metadata.uid() != nix::unistd::geteuid().as_raw() && mode & 0o077 != 0) {
        return Err(StoreError::Exposed(folder.to_owned()));
    }
    if mode & 0o077 != 0 {
        std::fs::set_permissions(folder, PermissionsExt::from_mode(0o700)).map_err(open)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
