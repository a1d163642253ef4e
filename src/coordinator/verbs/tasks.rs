//! Tasks, and what machines that watch us ask.
//!
//! Rows and logs come from `coordinator::tasks`, figures from the engine. It starts no work.

use super::{Log, LogPart, Numbers, Principal, Refusal, Role, Scope, Sight, TaskFilter, TaskRow, Verbs};
use crate::id::TaskId;
use crate::protocol::control::TaskState;

/// Tasks and health.
impl Verbs {
    /// Tasks, newest first.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn tasks(&self, who: &Principal, filter: TaskFilter) -> Result<Vec<TaskRow>, Refusal> {
        self.watched(who, "task.list", "", async {
            who.needs(Role::Viewer)?;
            self.rooms.tasks.list(TaskFilter { sight: sight(who), ..filter }).await
        })
        .await
    }

    /// One task.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub async fn task(&self, who: &Principal, id: TaskId) -> Result<TaskRow, Refusal> {
        self.watched(who, "task.read", &id.to_string(), self.task_of(who, id)).await
    }

    /// The same for a verb that records its own refusals.
    async fn task_of(&self, who: &Principal, id: TaskId) -> Result<TaskRow, Refusal> {
        who.needs(Role::Viewer)?;
        let row = self.rooms.tasks.find(id).await?;
        let all = row.clusters.iter().all(|cluster| who.sees(*cluster));
        let seen = all && (!row.clusters.is_empty() || row.user == who.name || who.needs_all().is_ok());
        if seen { Ok(row) } else { Err(Refusal::Forbidden) }
    }

    /// A part of one of a task's logs from byte `from`, `most` bytes at most. What was read once never changes.
    ///
    /// # Errors
    /// [`Refusal::NotFound`].
    pub async fn task_log(
        &self,
        who: &Principal,
        id: TaskId,
        log: Log,
        from: u64,
        most: usize,
    ) -> Result<LogPart, Refusal> {
        self.watched(who, "task.read", &id.to_string(), async {
            self.task_of(who, id).await?;
            self.rooms.tasks.read(id, log, from, most).await
        })
        .await
    }

    /// Asks a task to stop.
    ///
    /// # Errors
    /// [`Refusal::NotFound`]; [`Refusal::Conflict`] when it is over already.
    pub async fn cancel_task(&self, who: &Principal, id: TaskId) -> Result<TaskRow, Refusal> {
        self.recorded(who, "task.cancel", &id.to_string(), async {
            who.needs(Role::Operator)?;
            let tasks = &self.rooms.tasks;
            // Asking twice is no mistake.
            if self.task_of(who, id).await?.state != TaskState::Cancelling {
                tasks.cancelling(id).await?;
            }
            if !tasks.stop(id) {
                // Nobody runs it: it ended in this moment and says so itself, or was never begun.
                let _ = tasks.end(id, TaskState::Cancelled, "cancelled").await;
            }
            tasks.find(id).await
        })
        .await
    }

    /// Whether requests can be served: the state answers and the coordinator is not stopping.
    ///
    /// # Errors
    /// When they cannot.
    pub async fn ready(&self) -> Result<(), Refusal> {
        if self.rooms.shutdown.is_stopping() {
            return Err(Refusal::Busy);
        }
        Ok(self.rooms.store.alive().await?)
    }

    /// Figures for the metrics.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn numbers(&self) -> Result<Numbers, Refusal> {
        let clusters = self.rooms.store.clusters().await?;
        let now = self.rooms.clock.now_ms();
        let days = |end: i64| end.saturating_sub(now).div_euclid(86_400_000);
        Ok(Numbers {
            certificate_days: self.rooms.pki.ends().into_iter().map(|(name, end)| (name, days(end))).collect(),
            engine: self.rooms.engine.figures(),
            nodes: clusters.iter().map(|(_, nodes)| nodes).sum(),
            clusters: clusters.len() as u64,
            tasks: self.rooms.store.task_counts().await?,
            uptime_secs: self.started.elapsed().as_secs(),
        })
    }
}

/// What a caller sees of all tasks; `None` for everything.
fn sight(who: &Principal) -> Option<Sight> {
    match &who.scope {
        Scope::All => None,
        Scope::Only(reach) => {
            Some(Sight { clusters: reach.clusters.iter().copied().collect(), user: who.name.clone() })
        }
    }
}
