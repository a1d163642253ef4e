//! What nodes run: their operating systems, and the packs of collectors that they have.
//!
//! Nodes say it of themselves; here it is counted over those that the caller sees, with the deployments that use it.

use std::collections::{BTreeMap, BTreeSet};

use uuid::Uuid;

use super::{Principal, Refusal, Verbs};
use crate::coordinator::deployments::resolve::{Versioned, packs, stemcell};
use crate::id::DeploymentName;

/// Under this name the state keeps its id.
const UUID: &str = "uuid";

/// An operating system in one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct System {
    /// Its name and version.
    pub is: Versioned,
    /// Nodes that run it.
    pub nodes: u64,
    /// Deployments that have such a node, by name.
    pub deployments: Vec<DeploymentName>,
}

/// A pack of collectors in one version.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Release {
    /// Its name and version.
    pub is: Versioned,
    /// Its collectors, by name.
    pub jobs: BTreeSet<String>,
    /// Whether a deployment uses it.
    pub deployed: bool,
}

/// What nodes run, and who we are.
impl Verbs {
    /// The id of this coordinator's state, the same for its life.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn uuid(&self) -> Result<Uuid, Refusal> {
        if let Some(kept) = self.rooms.store.meta(UUID).await? {
            return Uuid::from_slice(&kept).map_err(|error| Refusal::internal("the state's id makes no sense", &error));
        }
        let kept = self.rooms.store.meta_once(UUID, Uuid::new_v4().into_bytes().to_vec()).await?;
        Uuid::from_slice(&kept).map_err(|error| Refusal::internal("the state's id makes no sense", &error))
    }

    /// Operating systems of the nodes that the caller sees.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn systems(&self, who: &Principal) -> Result<Vec<System>, Refusal> {
        self.watched(who, "stemcell.list", "", self.systems_of(who)).await
    }

    async fn systems_of(&self, who: &Principal) -> Result<Vec<System>, Refusal> {
        let deployments = self.deployments_of(who).await?;
        let mut counted: BTreeMap<Versioned, u64> = BTreeMap::new();
        for row in self.rooms.store.nodes(None).await?.iter().filter(|row| who.sees(row.cluster)) {
            *counted.entry(stemcell(row)).or_default() += 1;
        }
        let using = |is: &Versioned| {
            let rows = deployments.iter().filter(|row| row.stemcells.contains(is));
            rows.map(|row| row.name.clone()).collect()
        };
        Ok(counted.into_iter().map(|(is, nodes)| System { deployments: using(&is), is, nodes }).collect())
    }

    /// Packs of the nodes that the caller sees.
    ///
    /// # Errors
    /// When the state cannot be read.
    pub async fn releases(&self, who: &Principal) -> Result<Vec<Release>, Refusal> {
        self.watched(who, "release.list", "", self.releases_of(who)).await
    }

    async fn releases_of(&self, who: &Principal) -> Result<Vec<Release>, Refusal> {
        let deployments = self.deployments_of(who).await?;
        let mut found: BTreeMap<Versioned, BTreeSet<String>> = BTreeMap::new();
        for row in self.rooms.store.nodes(None).await?.iter().filter(|row| who.sees(row.cluster)) {
            for (is, pack) in packs(row) {
                found.entry(is).or_default().extend(pack.jobs.iter().cloned());
            }
        }
        let used = |is: &Versioned| deployments.iter().any(|row| row.releases.contains(is));
        Ok(found.into_iter().map(|(is, jobs)| Release { deployed: used(&is), is, jobs }).collect())
    }
}
