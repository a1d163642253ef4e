//! Deployments: which nodes run which collectors with which properties, as a manifest says it.
//!
//! Manifests come from the verbs; [`manifest`] reads them, [`resolve`] finds their nodes, [`diff`] shows what would change. What is
//! decided stands in the store first, and then the agents are asked to keep their part of it ([`rollout`]); whoever could not be asked, or
//! lost what it kept, is asked when it comes back ([`catch_up`]). Nothing here knows users or dialects.

use std::time::Duration;

mod asking;
pub mod catch_up;
pub mod diff;
pub mod manifest;
pub mod resolve;
pub mod rollout;
pub mod row;
pub mod turns;

use super::run::Engine;
use super::store::Store;
use crate::clock::Clock;
use crate::id::{DeploymentName, NodeName};
use turns::Turns;

/// Time that an agent has to take its part of a deployment, the end of a running collection included.
const APPLY: Duration = Duration::from_secs(60);
/// Time that an agent has to forget a deployment.
const FORGET: Duration = Duration::from_secs(20);
/// Agents that are asked at the same time for one task.
const AT_ONCE: usize = 64;
/// Characters of a reason that is kept.
const REASON: usize = 500;

/// Keeps deployments; cheap to clone.
#[derive(Clone)]
pub struct Deployments {
    store: Store,
    engine: Engine,
    clock: Clock,
    deploying: Turns<DeploymentName>,
    asking: Turns<NodeName>,
}

impl Deployments {
    /// The deployments of a store, whose agents the engine reaches.
    pub fn new(store: Store, engine: Engine, clock: Clock) -> Self {
        Self { store, engine, clock, deploying: Turns::default(), asking: Turns::default() }
    }
}
