//! A deployment's instances as their agents answer now, as a task whose result has a line for each.
//!
//! Rows come from the store, vitals from the agents at the time of asking. How a line is written is the face's affair; it is written as
//! soon as it is there, so that the memory of ten thousand nodes is that of those on the way.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{StreamExt as _, stream};

use super::{NodeRow, Principal, Refusal, Verbs};
use crate::coordinator::deployments::row::{DeploymentRow, InstanceRow};
use crate::coordinator::run::AskError;
use crate::coordinator::tasks::{NewTask, TaskError, Work};
use crate::id::{NodeName, TaskId};
use crate::protocol::agents::Vitals;
use crate::protocol::questions::{Question, Reply};
use crate::report;

/// Time that an agent has to say how its node is.
const DEADLINE: Duration = Duration::from_secs(10);
/// Agents that are asked at the same time.
const AT_ONCE: usize = 64;

/// Which of the two questions it is; they differ in the words of the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// For its machines.
    Vms,
    /// For its instances.
    Instances,
}

/// One instance, as it stands in the state.
#[derive(Clone, Debug)]
pub struct Standing {
    /// What is wanted of it.
    pub row: InstanceRow,
    /// Its node's addresses, as the node last said.
    pub addresses: Vec<IpAddr>,
    /// Whether its agent is connected.
    pub online: bool,
}

/// One instance, as far as it could be seen.
#[derive(Clone, Debug)]
pub struct Seen {
    /// What is wanted of it.
    pub row: InstanceRow,
    /// Its node, as it last described itself.
    pub node: Option<NodeRow>,
    /// Its vitals; why not, where its agent did not answer.
    pub vitals: Result<Box<Vitals>, AskError>,
}

/// Makes a line of a task's result, its end included.
pub type Render = fn(&Seen) -> Vec<u8>;

/// Instances.
impl Verbs {
    /// Instances of a deployment with their nodes, at once: no agent is asked. Those that are to leave are left out.
    ///
    /// # Errors
    /// As [`Verbs::deployment`].
    pub async fn vms(&self, who: &Principal, name: &str) -> Result<Vec<Standing>, Refusal> {
        self.watched(who, "deployment.vms", name, async {
            let row = self.deployment_of(who, name).await?;
            let (rows, mut nodes) = (self.rooms.store.instances(&row.name).await?, self.nodes_of(&row).await?);
            let stands = |row: InstanceRow| Standing {
                addresses: nodes.remove(&row.placed.node).map(|node| node.about.addresses).unwrap_or_default(),
                online: self.rooms.engine.online(&row.placed.node).is_some(),
                row,
            };
            Ok(rows.into_iter().filter(|row| row.wanted.is_some()).map(stands).collect())
        })
        .await
    }

    /// Asks each instance's agent how it is, as a task.
    ///
    /// # Errors
    /// As [`Verbs::deployment`].
    pub async fn probe(
        &self,
        who: &Principal,
        name: &str,
        probe: Probe,
        render: Render,
        context_id: Option<String>,
    ) -> Result<TaskId, Refusal> {
        self.watched(who, "deployment.probe", name, self.start_probe(who, name, probe, render, context_id)).await
    }

    async fn start_probe(
        &self,
        who: &Principal,
        name: &str,
        probe: Probe,
        render: Render,
        context_id: Option<String>,
    ) -> Result<TaskId, Refusal> {
        let row = self.deployment_of(who, name).await?;
        let (kind, description) = match probe {
            Probe::Vms => ("vms", "retrieve vm-stats"),
            Probe::Instances => ("instances", "retrieve instances"),
        };
        let task = NewTask {
            kind: kind.into(),
            description: description.into(),
            user: who.name.clone(),
            clusters: row.clusters.iter().copied().collect(),
            deployment: Some(row.name.clone()),
            context_id,
        };
        let (verbs, user) = (self.clone(), who.name.clone());
        self.rooms.tasks.spawn(task, move |work| async move { verbs.ask_all(&work, row, &user, render).await }).await
    }

    async fn ask_all(&self, work: &Work, row: DeploymentRow, user: &str, render: Render) -> Result<String, TaskError> {
        let instances = self.rooms.store.instances(&row.name).await.map_err(Refusal::from)?;
        let nodes = Arc::new(self.nodes_of(&row).await?);
        let staying = instances.into_iter().filter(|instance| instance.wanted.is_some());
        let total = staying.clone().count();
        let asked = stream::iter(staying).map(|instance| {
            let nodes = Arc::clone(&nodes);
            async move {
                let node = nodes.get(&instance.placed.node).cloned();
                let vitals = self.vitals(&instance.placed.node, user).await;
                Seen { row: instance, node, vitals }
            }
        });
        let mut silent = 0;
        let writing = async {
            let mut asked = std::pin::pin!(asked.buffered(AT_ONCE));
            while let Some(seen) = asked.next().await {
                if let Err(error) = &seen.vitals {
                    silent += 1;
                    work.debug(&format!("{}: {error}", seen.row.placed.node)).await;
                }
                work.append_result(render(&seen)).await?;
            }
            Ok::<_, TaskError>(())
        };
        work.unless_cancelled(writing).await??;
        Ok(format!("{}, {silent} without an answer", report::counted(total, "instance")))
    }

    async fn vitals(&self, node: &NodeName, user: &str) -> Result<Box<Vitals>, AskError> {
        match self.rooms.engine.ask(node, user, Question::Vitals, DEADLINE).await? {
            Reply::Vitals(vitals) => Ok(vitals),
            _ => Err(AskError::Refused("it answered another question".to_owned())),
        }
    }

    async fn nodes_of(&self, row: &DeploymentRow) -> Result<HashMap<NodeName, NodeRow>, Refusal> {
        let mut nodes = HashMap::new();
        for cluster in &row.clusters {
            let rows = self.rooms.store.nodes(Some(*cluster)).await?;
            nodes.extend(rows.into_iter().map(|row| (row.name.clone(), row)));
        }
        Ok(nodes)
    }
}
