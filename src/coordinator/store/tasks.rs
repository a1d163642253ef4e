//! Stored tasks and their logs. A log is pieces of bytes, each with where it begins, so that a reader who was here before
//! goes on where it was.

use rusqlite::{OptionalExtension as _, Row, Transaction};

use super::roster::{count, unreadable};
use super::{Store, StoreError};
use crate::coordinator::tasks::{Log, LogPart, NewTask, TaskFilter, TaskRow, legal_before, state_word};
use crate::id::{ClusterId, DeploymentName, TaskId};
use crate::protocol::control::TaskState;

/// The tables of this room.
pub(super) const TABLES: &str = "
CREATE TABLE tasks (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    kind TEXT NOT NULL,
    description TEXT NOT NULL,
    state TEXT NOT NULL,
    user TEXT NOT NULL,
    clusters TEXT NOT NULL, -- a JSON array
    deployment TEXT,
    context_id TEXT,
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
";

/// Bytes of one log at most; what comes later is left out.
const LOG_BYTES: u64 = 64 << 20;
/// Rows of one answer at most.
const ROWS: u32 = 10_000;

const TASK: &str = "SELECT id, kind, description, state, user, clusters, created_ms, started_ms, finished_ms, result,
    deployment, context_id FROM tasks";

impl Store {
    /// Adds a task, queued. Of those that are over, the newest `keep` stay.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn add_task(&self, task: NewTask, keep: u32, now_ms: i64) -> Result<TaskId, StoreError> {
        self.sure(move |tx| {
            tx.execute(
                "INSERT INTO tasks (kind, description, state, user, clusters, deployment, context_id, created_ms)
                 VALUES (?1, ?2, 'queued', ?3, ?4, ?5, ?6, ?7)",
                (
                    &task.kind,
                    &task.description,
                    &task.user,
                    serde_json::to_string(&task.clusters).unwrap_or_default(),
                    task.deployment.as_ref().map(DeploymentName::as_str),
                    &task.context_id,
                    now_ms,
                ),
            )?;
            let id = tx.last_insert_rowid();
            forget(tx, i64::MIN, keep)?;
            Ok(TaskId(id as u64))
        })
        .await
    }

    /// Forgets tasks that ended before `before_ms`, and of the others that are over all but the newest `keep`.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn forget_tasks(&self, before_ms: i64, keep: u32) -> Result<usize, StoreError> {
        self.quick(move |tx| forget(tx, before_ms, keep)).await
    }

    /// Forgets the oldest tasks that are over, until the logs of the others have `most` bytes together.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn forget_logs(&self, most: u64) -> Result<usize, StoreError> {
        let most = i64::try_from(most).unwrap_or(i64::MAX);
        self.quick(move |tx| {
            Ok(tx.execute(
                "DELETE FROM tasks WHERE finished_ms IS NOT NULL AND id <= (
                    SELECT max(task) FROM (
                        SELECT task, sum(size) OVER (ORDER BY task DESC) AS bytes
                        FROM (SELECT task, sum(length(bytes)) AS size FROM task_logs GROUP BY task)
                    ) WHERE bytes > ?1)",
                [most],
            )?)
        })
        .await
    }

    /// Brings a task to another state if that is legal; answers whether it was.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn move_task(&self, id: TaskId, to: TaskState, now_ms: i64) -> Result<bool, StoreError> {
        self.sure(move |tx| move_task(tx, id, to, None, now_ms)).await
    }

    /// Ends a task if that is legal, with last lines for its logs; answers whether it was. All of it or nothing.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn end_task(
        &self,
        id: TaskId,
        to: TaskState,
        result: String,
        last: Vec<(Log, Vec<u8>)>,
        now_ms: i64,
    ) -> Result<bool, StoreError> {
        self.sure(move |tx| {
            for (log, bytes) in &last {
                append(tx, id, *log, bytes)?;
            }
            move_task(tx, id, to, Some(&result), now_ms)
        })
        .await
    }

    /// Adds bytes to a log of a task that is not over; `false` when it is, or the log is full.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn append_log(&self, id: TaskId, log: Log, bytes: Vec<u8>) -> Result<bool, StoreError> {
        self.quick(move |tx| append(tx, id, log, &bytes)).await
    }

    /// Ends every task that is not over, with a last line in its event log; for the coordinator's start.
    ///
    /// # Errors
    /// When the state cannot be written.
    pub async fn end_unfinished(&self, reason: &str, event: Vec<u8>, now_ms: i64) -> Result<usize, StoreError> {
        let reason = reason.to_owned();
        self.sure(move |tx| {
            let mut select = tx.prepare("SELECT id FROM tasks WHERE finished_ms IS NULL")?;
            let open: Vec<i64> = select.query_map([], |row| row.get(0))?.collect::<Result<_, _>>()?;
            for id in &open {
                let id = TaskId(*id as u64);
                append(tx, id, Log::Event, &event)?;
                move_task(tx, id, TaskState::Errored, Some(&reason), now_ms)?;
            }
            Ok(open.len())
        })
        .await
    }

    /// One task.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn task(&self, id: TaskId) -> Result<Option<TaskRow>, StoreError> {
        self.quick(move |tx| Ok(tx.query_row(&format!("{TASK} WHERE id = ?1"), [id.0 as i64], task).optional()?)).await
    }

    /// Tasks, newest first.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn tasks(&self, filter: TaskFilter) -> Result<Vec<TaskRow>, StoreError> {
        self.quick(move |tx| {
            let mut select = tx.prepare_cached(&format!(
                "{TASK} WHERE (?1 = '[]' OR state IN (SELECT value FROM json_each(?1)))
                   AND (?2 = '[]' OR kind IN (SELECT value FROM json_each(?2)))
                   AND kind NOT IN (SELECT value FROM json_each(?3))
                   AND (?4 IS NULL OR ?4 IN (SELECT value FROM json_each(clusters)))
                   AND (?5 IS NULL OR deployment = ?5)
                   AND (?6 IS NULL OR context_id = ?6)
                   AND (?7 IS NULL OR (NOT EXISTS (SELECT value FROM json_each(clusters) EXCEPT SELECT value FROM json_each(?7))
                     AND (clusters <> '[]' OR user = ?8)))
                 ORDER BY id DESC LIMIT ?9"
            ))?;
            let words: Vec<&str> = filter.states.iter().map(|state| state.as_str()).collect();
            let (clusters, user) = filter.sight.map(|sight| (sight.clusters, sight.user)).unzip();
            let parameters = (
                serde_json::to_string(&words).unwrap_or_default(),
                serde_json::to_string(&filter.kinds).unwrap_or_default(),
                serde_json::to_string(&filter.without_kinds).unwrap_or_default(),
                filter.cluster.map(|id: ClusterId| id.to_string()),
                filter.deployment.as_ref().map(DeploymentName::as_str),
                filter.context_id,
                clusters.map(|clusters| serde_json::to_string(&clusters).unwrap_or_default()),
                user,
                filter.limit.unwrap_or(ROWS).clamp(1, ROWS),
            );
            let rows = select.query_map(parameters, task)?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// How many tasks there are in each state.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn task_counts(&self) -> Result<Vec<(TaskState, u64)>, StoreError> {
        self.quick(|tx| {
            let mut select = tx.prepare_cached("SELECT state, count(*) FROM tasks GROUP BY state")?;
            let rows = select.query_map([], |row| Ok((state(row, 0)?, count(row, 1)?)))?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
        .await
    }

    /// A part of a task's log from `from`, `most` bytes at most; `None` for an unknown task.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn read_log(&self, id: TaskId, log: Log, from: u64, most: usize) -> Result<Option<LogPart>, StoreError> {
        self.quick(move |tx| {
            let there: bool =
                tx.query_row("SELECT EXISTS (SELECT 1 FROM tasks WHERE id = ?1)", [id.0 as i64], |row| row.get(0))?;
            if !there {
                return Ok(None);
            }
            let total = length(tx, id, log)?;
            Ok(Some(LogPart { bytes: read(tx, id, log, from, most)?, from, total }))
        })
        .await
    }
}

fn forget(tx: &Transaction<'_>, before_ms: i64, keep: u32) -> Result<usize, StoreError> {
    Ok(tx.execute(
        "DELETE FROM tasks WHERE finished_ms IS NOT NULL AND (finished_ms < ?1 OR id <= (
            SELECT id FROM tasks WHERE finished_ms IS NOT NULL ORDER BY id DESC LIMIT 1 OFFSET ?2))",
        (before_ms, keep),
    )?)
}

fn move_task(
    tx: &Transaction<'_>,
    id: TaskId,
    to: TaskState,
    result: Option<&str>,
    now_ms: i64,
) -> Result<bool, StoreError> {
    let legal: Vec<&str> = legal_before(to).iter().map(|state| state.as_str()).collect();
    let moved = tx.execute(
        "UPDATE tasks SET state = ?2, result = coalesce(?3, result),
            started_ms = CASE WHEN ?2 = 'processing' THEN ?4 ELSE started_ms END,
            finished_ms = CASE WHEN ?5 THEN ?4 ELSE finished_ms END
         WHERE id = ?1 AND state IN (SELECT value FROM json_each(?6))",
        (id.0 as i64, to.as_str(), result, now_ms, to.is_final(), serde_json::to_string(&legal).unwrap_or_default()),
    )?;
    Ok(moved == 1)
}

fn append(tx: &Transaction<'_>, id: TaskId, log: Log, bytes: &[u8]) -> Result<bool, StoreError> {
    let start = length(tx, id, log)?;
    if bytes.is_empty() || start + bytes.len() as u64 > LOG_BYTES {
        return Ok(false);
    }
    let added = tx
        .prepare_cached(
            "INSERT INTO task_logs (task, log, start, bytes)
             SELECT id, ?2, ?3, ?4 FROM tasks WHERE id = ?1 AND finished_ms IS NULL",
        )?
        .execute((id.0 as i64, log.as_str(), start as i64, bytes))?;
    Ok(added == 1)
}

fn length(tx: &Transaction<'_>, id: TaskId, log: Log) -> Result<u64, StoreError> {
    let end = tx
        .prepare_cached(
            "SELECT start + length(bytes) FROM task_logs WHERE task = ?1 AND log = ?2 ORDER BY start DESC LIMIT 1",
        )?
        .query_row((id.0 as i64, log.as_str()), |row| count(row, 0))
        .optional()?;
    Ok(end.unwrap_or(0))
}

fn read(tx: &Transaction<'_>, id: TaskId, log: Log, from: u64, most: usize) -> Result<Vec<u8>, StoreError> {
    let from = i64::try_from(from).unwrap_or(i64::MAX);
    let mut select = tx.prepare_cached(
        "SELECT start, bytes FROM task_logs WHERE task = ?1 AND log = ?2 AND start >= coalesce(
            (SELECT max(start) FROM task_logs WHERE task = ?1 AND log = ?2 AND start <= ?3), 0) ORDER BY start",
    )?;
    let mut rows = select.query((id.0 as i64, log.as_str(), from))?;
    let mut part = Vec::new();
    while let Some(row) = rows.next()? {
        let (start, bytes) = (row.get::<_, i64>(0)?, row.get_ref(1)?);
        let bytes = bytes.as_blob().map_err(|e| unreadable(1, e))?;
        let skip = usize::try_from(from - start).unwrap_or(0).min(bytes.len());
        let room = most - part.len();
        part.extend_from_slice(&bytes[skip..][..room.min(bytes.len() - skip)]);
        if part.len() == most {
            break;
        }
    }
    Ok(part)
}

fn state(row: &Row<'_>, column: usize) -> rusqlite::Result<TaskState> {
    let text = row.get_ref(column)?.as_str()?;
    state_word(text).ok_or_else(|| unreadable(column, std::io::Error::other(format!("state `{text}`"))))
}

fn task(row: &Row<'_>) -> rusqlite::Result<TaskRow> {
    let clusters = serde_json::from_str(row.get_ref(5)?.as_str()?).map_err(|e| unreadable(5, e))?;
    let deployment = match row.get::<_, Option<String>>(10)? {
        None => None,
        Some(name) => Some(name.parse().map_err(|e| unreadable(10, e))?),
    };
    Ok(TaskRow {
        id: TaskId(row.get::<_, i64>(0)? as u64),
        kind: row.get(1)?,
        description: row.get(2)?,
        state: state(row, 3)?,
        user: row.get(4)?,
        clusters,
        deployment,
        context_id: row.get(11)?,
        created_ms: row.get(6)?,
        started_ms: row.get(7)?,
        finished_ms: row.get(8)?,
        result: row.get(9)?,
    })
}
