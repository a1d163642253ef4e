//! A session: the answer that lasts, and carries orders down to one agent.
//!
//! The agent's hello comes in, lines of JSON go out until the agent leaves, is silent for too long, is revoked, begins another
//! session, or the coordinator stops. It keeps nothing that the roll of nodes does not keep.

use std::convert::Infallible;
use std::pin::Pin;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http::{StatusCode, header};
use tokio::time::{Instant, Sleep};
use tracing::debug;

use super::{Desk, NodeIdentity, problem, read};
use crate::coordinator::run::Session;
use crate::limits::NODE_GONE;
use crate::protocol::VERSION;
use crate::protocol::agents::{Down, Hello};
use crate::report;
use crate::shutdown::Shutdown;

/// What is kept of a hello at most.
const LABELS: usize = 64;
const COLLECTORS: usize = 256;
const TEXT: usize = 256;
const PACKS: usize = 64;
const DEPLOYMENTS: usize = 256;
const ADDRESSES: usize = 64;

/// `POST /agent/v1/session`.
pub(super) async fn session(State(desk): State<Desk>, request: Request) -> Result<Response, Response> {
    let identity = desk.node(request.headers()).await?;
    let hello = bounded(read(request.into_body()).await?);
    if !hello.versions.contains(&VERSION) {
        let spoken: Vec<String> = hello.versions.iter().take(16).map(ToString::to_string).collect();
        return Err(problem(
            StatusCode::BAD_REQUEST,
            "version",
            format!(
                "the agent speaks version {} of the agents' conversation, this coordinator speaks {VERSION}; \
                 install the same release of sheaf on both",
                spoken.join(", ")
            ),
        ));
    }
    desk.auth.joined(&identity, &hello).await;
    debug!(node = %identity.node, agent = report::brief(&hello.agent_version, 64), "session begins");
    let kept = hello.deployments.clone();
    let session = desk.engine.join(&identity.node, hello);
    desk.auth.seated(&identity, kept).await;
    let lines = Lines::new(desk, identity, session);
    let body = Body::from_stream(lines.stream());
    Ok(([(header::CONTENT_TYPE, "application/x-ndjson"), (header::CACHE_CONTROL, "no-store")], body).into_response())
}

/// A hello comes from outside: what is kept of it is bounded.
fn bounded(mut hello: Hello) -> Hello {
    let cut = |text: &mut String| text.truncate(text.floor_char_boundary(TEXT));
    let texts = [
        &mut hello.agent_version,
        &mut hello.machine_id,
        &mut hello.boot_id,
        &mut hello.hostname,
        &mut hello.os,
        &mut hello.os_id,
        &mut hello.os_version,
        &mut hello.kernel,
    ];
    texts.into_iter().for_each(cut);
    hello.labels.retain(|name, _| name.len() <= TEXT);
    hello.collectors.retain(|name, _| name.len() <= TEXT);
    hello.labels = hello.labels.into_iter().take(LABELS).collect();
    hello.labels.values_mut().for_each(cut);
    hello.collectors = hello.collectors.into_iter().take(COLLECTORS).collect();
    hello.working.truncate(COLLECTORS);
    hello.addresses.truncate(ADDRESSES);
    hello.packs.truncate(PACKS);
    for pack in &mut hello.packs {
        cut(&mut pack.name);
        cut(&mut pack.version);
        pack.jobs.retain(|job| job.len() <= TEXT);
        pack.jobs.truncate(COLLECTORS);
    }
    hello.deployments.retain(|kept| kept.name.len() <= TEXT && kept.digest.len() <= TEXT);
    hello.deployments.truncate(DEPLOYMENTS);
    hello
}

/// The lines of one session. Dropped when the agent is gone, which is how its end is noticed.
struct Lines {
    desk: Desk,
    identity: NodeIdentity,
    session: Session,
    shutdown: Shutdown,
    /// When the agent may have been silent for too long.
    look: Pin<Box<Sleep>>,
    welcome: Option<Box<Down>>,
}

impl Lines {
    fn new(desk: Desk, identity: NodeIdentity, session: Session) -> Self {
        let look = Box::pin(tokio::time::sleep(NODE_GONE));
        let welcome = Down::Welcome {
            version: VERSION,
            node: identity.node.to_string(),
            cluster: identity.cluster_name.clone(),
            clock_ms: desk.engine.clock().now_ms(),
        };
        let shutdown = desk.engine.shutdown().clone();
        Self { desk, identity, session, shutdown, look, welcome: Some(Box::new(welcome)) }
    }

    fn stream(self) -> impl Stream<Item = Result<Bytes, Infallible>> {
        stream::unfold(self, |mut lines| async move { lines.next().await.map(|down| (down, lines)) }).map(|down| {
            let mut line = serde_json::to_vec(&down).expect("a line of plain values serialises");
            line.push(b'\n');
            Ok(Bytes::from(line))
        })
    }

    async fn next(&mut self) -> Option<Down> {
        if let Some(welcome) = self.welcome.take() {
            return Some(*welcome);
        }
        tokio::select! {
            biased;
            () = self.session.end.cancelled() => None,
            () = self.shutdown.stopping() => None,
            order = self.session.orders.recv() => order.map(|order| *order),
            () = &mut self.look => {
                // An agent that reads but sends no heartbeat hangs: it gets the chance to begin anew. To one that is well a line now and
                // then is enough, since it hears the coordinator by the answers to its heartbeats.
                let silence = self.desk.engine.roll().silence(&self.identity.node).unwrap_or_default();
                let left = NODE_GONE.checked_sub(silence).filter(|left| !left.is_zero())?;
                self.look.as_mut().reset(Instant::now() + left);
                Some(Down::Ping)
            }
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        if !self.desk.engine.leave(&self.identity.node, self.session.id) {
            return;
        }
        debug!(node = %self.identity.node, "session ends");
        let (auth, identity) = (self.desk.auth.clone(), self.identity.clone());
        // The runtime is gone when the whole process ends; then nobody needs to be told.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            let shutdown = self.shutdown.clone();
            let _in_runtime = runtime.enter();
            shutdown.spawn(async move { auth.left(&identity).await });
        }
    }
}
