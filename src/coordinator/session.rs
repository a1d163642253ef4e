//! The agents' listener's routes: joins, sessions, heartbeats, segments.
//!
//! Requests come in with an access token, and the token alone says which node it is: a name in a URL or a body never does. Orders
//! go down the session's answer, segments go to the download they belong to. What a segment holds is not looked at here.

mod down;
mod join;
mod segments;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::response::{IntoResponse, Response};
use axum::routing::{MethodRouter, get, post, put};
use futures_util::future::BoxFuture;
use http::{HeaderMap, StatusCode, Uri, header};
use serde::Serialize;
use serde::de::DeserializeOwned;
use uuid::Uuid;

use crate::coordinator::join::JoinError;
use crate::coordinator::run::Engine;
use crate::id::{ClusterId, NodeName};
use crate::limits::{AGENT_BODY, BODY_IDLE};
use crate::net::body::{self, BodyError};
use crate::protocol::agents::{Heartbeat, HeartbeatReply, Hello, OWN};
use crate::protocol::join::{JOIN, JoinReply, JoinRequest};
use crate::protocol::problem::Problem;
use crate::protocol::questions::{Answer, Kept};

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

    /// Lets a node join with the certificate of this serial number, if it may.
    fn join<'a>(
        &'a self,
        serial: Option<&'a str>,
        request: JoinRequest,
        from: Option<IpAddr>,
    ) -> BoxFuture<'a, Result<JoinReply, JoinError>>;

    /// A node has begun a session and says this of itself.
    fn joined<'a>(&'a self, node: &'a NodeIdentity, hello: &'a Hello) -> BoxFuture<'a, ()>;

    /// Its session can be asked questions now; it keeps these deployments.
    fn seated<'a>(&'a self, _node: &'a NodeIdentity, _kept: Vec<Kept>) -> BoxFuture<'a, ()> {
        Box::pin(std::future::ready(()))
    }

    /// A node's session has ended, and no newer one took its place.
    fn left<'a>(&'a self, node: &'a NodeIdentity) -> BoxFuture<'a, ()>;
}

#[derive(Clone)]
struct Desk {
    engine: Engine,
    auth: Arc<dyn AgentAuth>,
}

/// The routes of the agents' listener; `exchange` answers `POST /api/v2/agent/secrets/exchange`.
pub fn router(engine: Engine, auth: Arc<dyn AgentAuth>, exchange: MethodRouter) -> Router {
    let own = Router::new()
        .route(JOIN, post(join::join))
        .route("/agent/v1/session", post(down::session))
        .route("/agent/v1/heartbeat", post(heartbeat))
        .route("/agent/v1/tasks/{task}/attempts/{attempt}/segments/{number}", put(segments::put))
        .route("/agent/v1/tasks/{task}/held", get(segments::held))
        .route("/agent/v1/tasks/{task}/pause", post(segments::pause))
        .route("/agent/v1/tasks/{task}/finish", post(segments::finish))
        .route("/agent/v1/answers/{id}", post(answer))
        .with_state(Desk { engine, auth });
    Router::new().route("/api/v2/agent/secrets/exchange", exchange).merge(own).fallback(elsewhere)
}

/// Somebody knocks at the wrong door, or an agent of another release does.
async fn elsewhere(uri: Uri) -> Response {
    let message = match uri.path().starts_with(OWN) {
        true => "this coordinator knows no such call of an agent's; install the same release of sheaf on both",
        false => {
            "this is the coordinator's listener for agents; people and scripts have the other one, \
             on port 25555 unless `public` says otherwise"
        }
    };
    problem(StatusCode::NOT_FOUND, "wrong_listener", message)
}

impl Desk {
    /// The node behind a request, by its token.
    async fn node(&self, headers: &HeaderMap) -> Result<NodeIdentity, Response> {
        let bearer = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let token =
            bearer.and_then(|value| value.split_once(' ')).filter(|(kind, _)| kind.eq_ignore_ascii_case("bearer"));
        let node = match token {
            Some((_, token)) => self.auth.agent_by_token(token.trim()).await,
            None => None,
        };
        node.ok_or_else(|| {
            let answer = problem(
                StatusCode::UNAUTHORIZED,
                "unauthenticated",
                "the access token is missing, wrong or expired; exchange the agent secret for a new one",
            );
            ([(header::WWW_AUTHENTICATE, "Bearer")], answer).into_response()
        })
    }
}

fn problem(status: StatusCode, code: &str, message: impl Into<String>) -> Response {
    (status, axum::Json(Problem::new(code, message))).into_response()
}

fn json(status: StatusCode, body: &impl Serialize) -> Response {
    (status, axum::Json(body)).into_response()
}

/// Reads a small body of JSON.
async fn read<T: DeserializeOwned>(body: Body) -> Result<T, Response> {
    let bytes = body::capped(body, AGENT_BODY, BODY_IDLE).await.map_err(|error| unread(&error))?;
    serde_json::from_slice(&bytes)
        .map_err(|_| problem(StatusCode::BAD_REQUEST, "malformed", "the body is not the JSON that belongs here"))
}

fn unread(error: &BodyError) -> Response {
    let (status, code) = match error {
        BodyError::TooLarge(_) => (StatusCode::PAYLOAD_TOO_LARGE, "too_large"),
        BodyError::Idle(_) => (StatusCode::REQUEST_TIMEOUT, "idle"),
        BodyError::Broken(_) => (StatusCode::BAD_REQUEST, "broken"),
    };
    problem(status, code, error.to_string())
}

async fn heartbeat(State(desk): State<Desk>, request: Request) -> Result<Response, Response> {
    let received_ms = Some(desk.engine.clock().now_ms());
    let identity = desk.node(request.headers()).await?;
    let heartbeat: Heartbeat = read(request.into_body()).await?;
    if !desk.engine.roll().beat(&identity.node, heartbeat) {
        return Err(problem(StatusCode::CONFLICT, "no_session", "the node has no session; begin one"));
    }
    Ok(json(StatusCode::OK, &HeartbeatReply { clock_ms: desk.engine.clock().now_ms(), received_ms }))
}

async fn answer(State(desk): State<Desk>, Path(id): Path<Uuid>, request: Request) -> Result<Response, Response> {
    let identity = desk.node(request.headers()).await?;
    let answer: Answer = read(request.into_body()).await?;
    if !desk.engine.answer(&identity.node, id, answer) {
        return Err(problem(StatusCode::NOT_FOUND, "nobody_waits", "nobody waits for this answer, or not any more"));
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}
