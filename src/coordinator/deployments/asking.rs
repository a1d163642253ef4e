//! Asking one node to keep its part of a deployment, or to forget it, and writing down what came of it.
//!
//! Who asks has the node's turn, so that what the agent hears last is what was decided last. The state follows what the agent
//! said, never what it was asked.

use super::turns::Turn;
use super::{APPLY, Deployments, FORGET, REASON};
use crate::coordinator::refusal::Refusal;
use crate::coordinator::run::AskError;
use crate::id::{DeploymentName, NodeName};
use crate::protocol::questions::{Apply, Question, Reply};
use crate::report;

impl Deployments {
    /// Asks a node to keep its part; answers whether anything changed there.
    pub(super) async fn ask_to_keep(
        &self,
        name: &DeploymentName,
        node: &NodeName,
        user: &str,
        apply: Apply,
    ) -> Result<bool, AskError> {
        let turn = self.asking.take(node).await;
        self.keep(&turn, name, user, apply).await
    }

    /// Asks a node to forget a deployment.
    pub(super) async fn ask_to_forget(
        &self,
        name: &DeploymentName,
        node: &NodeName,
        user: &str,
    ) -> Result<(), AskError> {
        let turn = self.asking.take(node).await;
        self.forget(&turn, name, user).await
    }

    /// The same in a turn that was taken before.
    pub(super) async fn keep(
        &self,
        turn: &Turn<NodeName>,
        name: &DeploymentName,
        user: &str,
        apply: Apply,
    ) -> Result<bool, AskError> {
        let node = turn.name();
        match self.engine.ask(node, user, Question::Apply(apply), APPLY).await {
            Ok(Reply::Applied(applied)) => {
                self.store.instance_applied(name, node, applied.digest).await.map_err(unwritten)?;
                Ok(applied.changed)
            }
            Ok(_) => Err(AskError::Refused("it answered another question".to_owned())),
            Err(error) => Err(self.noted(turn, name, error).await),
        }
    }

    /// The same in a turn that was taken before.
    pub(super) async fn forget(
        &self,
        turn: &Turn<NodeName>,
        name: &DeploymentName,
        user: &str,
    ) -> Result<(), AskError> {
        let question = Question::Forget { deployment: name.to_string() };
        match self.engine.ask(turn.name(), user, question, FORGET).await {
            Ok(_) => self.store.instance_forgotten(name, turn.name()).await.map_err(unwritten),
            Err(error) => Err(self.noted(turn, name, error).await),
        }
    }

    async fn noted(&self, turn: &Turn<NodeName>, name: &DeploymentName, error: AskError) -> AskError {
        let reason = report::brief(&error.to_string(), REASON);
        match self.store.instance_failed(name, turn.name(), reason).await {
            Ok(()) => error,
            Err(unwritable) => unwritten(unwritable),
        }
    }
}

/// The agent did its part, and the state does not know: as good as not done, and the next hello puts it right.
fn unwritten(error: crate::coordinator::store::StoreError) -> AskError {
    AskError::Refused(Refusal::from(error).to_string())
}
