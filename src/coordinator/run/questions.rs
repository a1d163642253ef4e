//! Questions to live agents: asked down a session, answered by a request of their own, waited for with a deadline.
//!
//! Questions come from the verbs, answers from the agents' listener. Any number may be asked at once; a bounded number is on its way, and
//! what waits for its turn costs nothing but its future. Nothing of it is kept: a question dies with the agent's process, its deadline or whoever
//! asked, and an answer that nobody waits for is dropped.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Semaphore, oneshot};
use uuid::Uuid;

use super::Engine;
use super::online::bounded;
use crate::id::NodeName;
use crate::protocol::agents::Down;
use crate::protocol::questions::{Answer, Ask, Question, Reply};
use crate::report;

/// Questions on their way at once: a fleet is asked in rounds of that many, and nodes that hang hold up one round.
const ON_THE_WAY: usize = 1024;
/// Characters of an agent's reason.
const REASON: usize = 500;

/// Why there is no reply.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The node has no session, or it ended before the answer.
    #[error("the node is not connected")]
    NotConnected,
    /// No answer in time; an agent older than the question never answers.
    #[error("the agent did not answer in time")]
    TimedOut,
    /// The agent says no, or nothing that makes sense; its own words, escaped.
    #[error("the agent refused: {0}")]
    Refused(String),
}

/// What was asked and not yet answered.
pub(super) struct Questions {
    open: Mutex<HashMap<Uuid, Open>>,
    turns: Semaphore,
}

struct Open {
    node: NodeName,
    answer: oneshot::Sender<Answer>,
}

impl Default for Questions {
    fn default() -> Self {
        Self { open: Mutex::default(), turns: Semaphore::new(ON_THE_WAY) }
    }
}

impl Questions {
    fn open(&self) -> MutexGuard<'_, HashMap<Uuid, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Opens a question; it is closed when the guard goes.
    fn ask(&self, node: &NodeName) -> (Asked<'_>, oneshot::Receiver<Answer>) {
        let (answer, answered) = oneshot::channel();
        let id = Uuid::new_v4();
        self.open().insert(id, Open { node: node.clone(), answer });
        (Asked { questions: self, id }, answered)
    }

    /// Whether the question is this node's, and somebody waits.
    fn answer(&self, node: &NodeName, id: Uuid, answer: Answer) -> bool {
        let mut open = self.open();
        if open.get(&id).is_none_or(|asked| asked.node != *node) {
            return false;
        }
        let Some(asked) = open.remove(&id) else { return false };
        drop(open);
        asked.answer.send(answer).is_ok()
    }
}

/// An open question.
struct Asked<'a> {
    questions: &'a Questions,
    id: Uuid,
}

impl Drop for Asked<'_> {
    fn drop(&mut self) {
        self.questions.open().remove(&self.id);
    }
}

impl Engine {
    /// Asks a node, and waits for its answer for `deadline` at most from when the question was sent. `asker` is written into the node's
    /// own journal. Many may be asked at once.
    ///
    /// # Errors
    /// When the node is not connected, does not answer in time, or refuses.
    ///
    /// # Cancel safety
    /// A call that is dropped is forgotten here; what the node does already, it does to its end.
    pub async fn ask(
        &self,
        node: &NodeName,
        asker: &str,
        question: Question,
        deadline: Duration,
    ) -> Result<Reply, AskError> {
        let questions = &self.0.questions;
        let turn = tokio::select! {
            turn = questions.turns.acquire() => turn,
            () = self.0.shutdown.stopping() => return Err(AskError::NotConnected),
        };
        let _turn = turn.map_err(|_| AskError::NotConnected)?;
        let (asked, mut answered) = questions.ask(node);
        let wait_ms = u64::try_from(deadline.as_millis()).unwrap_or(u64::MAX);
        let ask = Ask { id: asked.id, requested_by: asker.to_owned(), wait_ms, question: question.clone() };
        let mut session = self.0.roll.ask(node, Down::Ask(ask.clone()))?;
        let late = tokio::time::sleep(deadline);
        tokio::pin!(late);
        let answer = loop {
            tokio::select! {
                biased;
                answer = &mut answered => break answer.map_err(|_| AskError::NotConnected)?,
                () = session.end.cancelled() => {
                    // A reload gives the same process another session. It is asked there again, and what it works on already it ignores.
                    if self.0.roll.instance(node) != Some(session.instance) {
                        return Err(AskError::NotConnected);
                    }
                    session = self.0.roll.ask(node, Down::Ask(ask.clone()))?;
                }
                () = &mut late => return Err(AskError::TimedOut),
            }
        };
        match answer {
            Answer::Reply(reply) if question.fits(&reply) => {
                self.0.roll.learn(node, session.id, &question, &reply);
                Ok(reply)
            }
            Answer::Reply(_) => Err(AskError::Refused("its answer belongs to another kind of question".to_owned())),
            Answer::Refused { reason } => Err(AskError::Refused(report::brief(&reason, REASON))),
        }
    }

    /// Takes a node's answer in; `false` when nobody waits for it, or it is another node's to give.
    pub fn answer(&self, node: &NodeName, id: Uuid, mut answer: Answer) -> bool {
        match &mut answer {
            Answer::Reply(Reply::Vitals(vitals)) => **vitals = bounded(std::mem::take(&mut **vitals)),
            Answer::Reply(Reply::History(history)) => **history = std::mem::take(&mut **history).bounded(),
            _ => {}
        }
        self.0.questions.answer(node, id, answer)
    }
}
