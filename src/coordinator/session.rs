//! The agents' listener's routes: sessions, heartbeats, segments.
//!
//! Requests come in with an access token, and the token alone says which node it is. Orders go down, segments go to the
//! download they belong to. It never trusts a name in a URL or a body.

use std::sync::Arc;

use axum::Router;
use axum::routing::MethodRouter;
use futures_util::future::BoxFuture;

use crate::coordinator::run::Engine;
use crate::id::{ClusterId, NodeName};
use crate::protocol::agents::Hello;

/// Who a token belongs to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeIdentity {
    /// The node.
    pub node: NodeName,
    /// Its cluster.
    pub cluster: ClusterId,
    /// Its cluster's name.
    pub cluster_name: String,
}

/// Knows tokens, and remembers what nodes say of themselves.
pub trait AgentAuth: Send + Sync + 'static {
    /// The node that an access token belongs to, if it is good.
    fn agent_by_token<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Option<NodeIdentity>>;

    /// A node has begun a session and says this of itself.
    fn joined<'a>(&'a self, node: &'a NodeIdentity, hello: &'a Hello) -> BoxFuture<'a, ()>;

    /// A node's session has ended.
    fn left<'a>(&'a self, node: &'a NodeIdentity) -> BoxFuture<'a, ()>;
}

/// The routes of the agents' listener; `exchange` answers `POST /api/v2/agent/secrets/exchange`.
pub fn router(engine: Engine, auth: Arc<dyn AgentAuth>, exchange: MethodRouter) -> Router {
    let _ = (engine, auth);
    Router::new().route("/api/v2/agent/secrets/exchange", exchange)
}
