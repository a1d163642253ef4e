//! The tables, and the steps from each version to the next.
//!
//! A step that was released is never changed; a new version adds one at the end.

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior};

use super::StoreError;

/// Step `n` leads from version `n` to `n + 1`.
const STEPS: &[&str] = &["
CREATE TABLE meta (key TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT;

CREATE TABLE clusters (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE secrets (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    cluster TEXT NOT NULL REFERENCES clusters (id),
    revoked INTEGER NOT NULL DEFAULT 0,
    generation INTEGER NOT NULL DEFAULT 0, -- the one in use
    issued INTEGER NOT NULL DEFAULT 0,     -- the latest handed out: this one, or the one after
    created_ms INTEGER NOT NULL,
    modified_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE agent_tokens (
    digest TEXT PRIMARY KEY,
    secret TEXT NOT NULL REFERENCES secrets (id) ON DELETE CASCADE,
    expires_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX agent_tokens_of_secret ON agent_tokens (secret, expires_ms);

CREATE TABLE nodes (
    name TEXT PRIMARY KEY,
    cluster TEXT NOT NULL REFERENCES clusters (id),
    about TEXT NOT NULL,
    first_seen_ms INTEGER NOT NULL,
    last_seen_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX nodes_of_cluster ON nodes (cluster, name);

CREATE TABLE users (
    name TEXT PRIMARY KEY,
    hash TEXT NOT NULL,
    role TEXT NOT NULL,
    created_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE sessions (
    digest TEXT PRIMARY KEY,
    user TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    created_ms INTEGER NOT NULL,
    used_ms INTEGER NOT NULL
) STRICT;
CREATE INDEX sessions_of_user ON sessions (user, used_ms);

CREATE TABLE bundle_tokens (
    cluster TEXT PRIMARY KEY REFERENCES clusters (id) ON DELETE CASCADE,
    digest TEXT NOT NULL,
    sealed BLOB NOT NULL,
    user TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
    expires_ms INTEGER NOT NULL
) STRICT;

CREATE TABLE tasks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    description TEXT NOT NULL,
    state TEXT NOT NULL,
    user TEXT NOT NULL,
    cluster TEXT,
    created_ms INTEGER NOT NULL,
    started_ms INTEGER,
    finished_ms INTEGER,
    result TEXT
) STRICT;

CREATE TABLE task_logs (
    task INTEGER NOT NULL REFERENCES tasks (id) ON DELETE CASCADE,
    log TEXT NOT NULL,
    start INTEGER NOT NULL, -- where these bytes begin in the whole log
    bytes BLOB NOT NULL,
    PRIMARY KEY (task, log, start)
) STRICT, WITHOUT ROWID;
"];

/// Brings the file to this version, each step whole or not at all.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let known = STEPS.len() as i64;
    let tx = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let found: i64 = tx.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if found > known {
        return Err(StoreError::Newer { found, known });
    }
    for step in STEPS.iter().skip(usize::try_from(found).map_err(|_| StoreError::Corrupt("version"))?) {
        tx.execute_batch(step)?;
    }
    tx.pragma_update(None, "user_version", known)?;
    tx.commit()?;
    Ok(())
}

/// A value of the table `meta`.
pub(super) fn meta(tx: &Transaction<'_>, key: &str) -> Result<Option<Vec<u8>>, StoreError> {
    Ok(tx.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0)).optional()?)
}
