//! What the agents' listener asks: whose token this is, and that a node came or left.
//!
//! Identity comes from the token alone. What a node says of itself goes to the roster, cut to size.

use std::net::IpAddr;

use futures_util::future::BoxFuture;

use super::Verbs;
use crate::coordinator::audit::{Actor, Outcome};
use crate::coordinator::join::JoinError;
use crate::coordinator::roster::About;
use crate::coordinator::session::{AgentAuth, NodeIdentity};
use crate::coordinator::store::StoreError;
use crate::protocol::agents::Hello;
use crate::protocol::join::{JoinReply, JoinRequest};
use crate::protocol::questions::Kept;
use crate::report;

/// What the agents' listener asks.
impl AgentAuth for Verbs {
    fn agent_by_token<'a>(&'a self, token: &'a str) -> BoxFuture<'a, Option<NodeIdentity>> {
        Box::pin(std::future::ready(self.rooms.secrets.agent_by_token(token)))
    }

    fn join<'a>(
        &'a self,
        serial: Option<&'a str>,
        request: JoinRequest,
        from: Option<IpAddr>,
    ) -> BoxFuture<'a, Result<JoinReply, JoinError>> {
        Box::pin(self.join(serial, request, from))
    }

    fn joined<'a>(&'a self, node: &'a NodeIdentity, hello: &'a Hello) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            let seen = self.rooms.store.node_seen(&node.node, &About::of(hello), self.rooms.clock.now_ms()).await;
            self.rooms.audit.record(Actor::node(node.node.as_str()), "node.connect", &node.cluster_name, Outcome::Done);
            logged(seen);
        })
    }

    fn seated<'a>(&'a self, node: &'a NodeIdentity, kept: Vec<Kept>) -> BoxFuture<'a, ()> {
        // Beside the session, which must not wait for what is asked through it.
        Box::pin(async move {
            let (deployments, node) = (self.rooms.deployments.clone(), node.node.clone());
            self.rooms.shutdown.spawn(async move { deployments.catch_up(&node, &kept).await });
        })
    }

    fn left<'a>(&'a self, node: &'a NodeIdentity) -> BoxFuture<'a, ()> {
        Box::pin(async move {
            self.rooms.audit.record(
                Actor::node(node.node.as_str()),
                "node.disconnect",
                &node.cluster_name,
                Outcome::Done,
            );
            logged(self.rooms.store.node_left(&node.node, self.rooms.clock.now_ms()).await);
        })
    }
}

/// The node goes on all the same; the list of nodes is what suffers.
fn logged(result: Result<(), StoreError>) {
    if let Err(error) = result {
        tracing::error!(error = report::chain(&error), "a node's session could not be written to the state");
    }
}
