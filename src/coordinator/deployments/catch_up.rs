//! Catching up: a node that comes back says which deployments it keeps, and is asked for what is wanted of it instead.
//!
//! Hellos come from the agents' sessions, what is wanted from the store. A node that keeps what is wanted is asked nothing.

use std::collections::BTreeMap;

use tracing::{info, warn};

use super::Deployments;
use super::row::Duty;
use super::turns::Turn;
use crate::coordinator::run::AskError;
use crate::coordinator::store::StoreError;
use crate::id::{DeploymentName, NodeName};
use crate::protocol::questions::{Apply, Deployment, Kept};
use crate::report;

/// Under this name the node's own journal says who asked.
const ASKER: &str = "coordinator";

impl Deployments {
    /// Brings a node whose session has begun to what is wanted of it.
    pub async fn catch_up(&self, node: &NodeName, kept: &[Kept]) {
        let turn = self.asking.take(node).await;
        if let Err(error) = self.fulfil_all(&turn, kept).await {
            warn!(%node, error = report::chain(&error), "it is not known what the node is to keep");
        }
    }

    async fn fulfil_all(&self, turn: &Turn<NodeName>, kept: &[Kept]) -> Result<(), StoreError> {
        let mut keeps: BTreeMap<&str, &str> =
            kept.iter().map(|kept| (kept.name.as_str(), kept.digest.as_str())).collect();
        // Read within the turn: what was decided before it is all there.
        for duty in self.store.duties(turn.name()).await? {
            let kept = keeps.remove(duty.name.as_str());
            self.fulfil(turn, duty, kept).await?;
        }
        // Deleted while the node was away.
        for name in keeps.keys().filter_map(|name| name.parse::<DeploymentName>().ok()) {
            told(turn.name(), &name, &self.forget(turn, &name, ASKER).await);
        }
        Ok(())
    }

    async fn fulfil(&self, turn: &Turn<NodeName>, duty: Duty, kept: Option<&str>) -> Result<(), StoreError> {
        let Duty { name, wanted, applied } = duty;
        let digest = wanted.as_ref().map(Deployment::digest);
        match (wanted, kept) {
            (Some(_), Some(kept)) if digest.as_deref() == Some(kept) => {
                if applied.as_deref() != Some(kept) {
                    self.store.instance_applied(&name, turn.name(), kept.to_owned()).await?;
                }
            }
            (Some(wanted), _) => {
                let apply = Apply { deployment: wanted, recreate: false, skip_drain: false };
                told(turn.name(), &name, &self.keep(turn, &name, ASKER, apply).await);
            }
            (None, None) => self.store.instance_forgotten(&name, turn.name()).await?,
            (None, Some(_)) => told(turn.name(), &name, &self.forget(turn, &name, ASKER).await),
        }
        Ok(())
    }
}

fn told<T>(node: &NodeName, name: &DeploymentName, outcome: &Result<T, AskError>) {
    match outcome {
        Ok(_) => info!(%node, deployment = %name, "the node caught up with a deployment"),
        Err(error) => {
            let error = report::chain(error);
            warn!(%node, deployment = %name, error, "the node could not catch up with a deployment");
        }
    }
}
