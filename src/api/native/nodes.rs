//! Nodes.

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use serde::Deserialize;

use super::fault::Fault;
use super::session::principal;
use crate::api::door::Caller;
use crate::clock::rfc3339;
use crate::coordinator::verbs::{self, Verbs};
use crate::protocol::control::Node;
use crate::protocol::history::{History, POINTS};
use crate::protocol::questions::Wanted;

/// Seconds of a history, unless asked for more.
const SINCE: u64 = 2 * 3600;

/// Query of the lists that can be narrowed to a cluster.
#[derive(Deserialize)]
pub struct Narrow {
    /// Id or name.
    pub cluster: Option<String>,
}

/// `GET nodes`.
pub async fn list(
    State(verbs): State<Verbs>,
    query: Result<Query<Narrow>, QueryRejection>,
    caller: Caller,
) -> Result<Json<Vec<Node>>, Fault> {
    let who = principal(&verbs, &caller).await?;
    let nodes = verbs.nodes(&who, query?.0.cluster.as_deref()).await?;
    // A list has no vitals: ten thousand nodes' worth of them is no list.
    Ok(Json(nodes.into_iter().map(|node| Node { vitals: None, ..view(node) }).collect()))
}

/// `GET nodes/{name}`.
pub async fn show(
    State(verbs): State<Verbs>,
    name: Result<Path<String>, PathRejection>,
    caller: Caller,
) -> Result<Json<Node>, Fault> {
    let who = principal(&verbs, &caller).await?;
    Ok(Json(view(verbs.node(&who, &name?.0).await?)))
}

/// Query of a history.
#[derive(Deserialize)]
pub struct Since {
    /// The last seconds of it; two hours when absent.
    since_secs: Option<u64>,
    /// Points at most.
    points: Option<usize>,
}

/// `GET nodes/{name}/history?since_secs=&points=`.
pub async fn history(
    State(verbs): State<Verbs>,
    name: Result<Path<String>, PathRejection>,
    query: Result<Query<Since>, QueryRejection>,
    caller: Caller,
) -> Result<Json<History>, Fault> {
    let who = principal(&verbs, &caller).await?;
    let query = query?.0;
    let since_ms = query.since_secs.unwrap_or(SINCE).saturating_mul(1000);
    let wanted = Wanted { since_ms, points: query.points.unwrap_or(POINTS).clamp(1, POINTS) };
    Ok(Json(*verbs.node_history(&who, &name?.0, wanted).await?))
}

/// `DELETE nodes/{name}`.
pub async fn remove(
    State(verbs): State<Verbs>,
    name: Result<Path<String>, PathRejection>,
    caller: Caller,
) -> Result<StatusCode, Fault> {
    let who = principal(&verbs, &caller).await?;
    verbs.remove_node(&who, &name?.0).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn view(node: verbs::Node) -> Node {
    let (row, online) = (node.row, node.online);
    Node {
        name: row.name.into(),
        cluster: row.cluster_name,
        online: online.is_some(),
        since: online.as_ref().map(|online| rfc3339(online.since_ms)),
        last_seen: node.last_seen_ms.map(rfc3339),
        agent_version: row.about.agent_version,
        os: row.about.os,
        kernel: row.about.kernel,
        machine_id: row.about.machine_id,
        labels: row.about.labels,
        collectors: row.about.collectors,
        refuses: row.about.refuses,
        clock_offset_ms: online.as_ref().and_then(|online| online.clock_offset_ms),
        round_trip_ms: online.as_ref().and_then(|online| online.round_trip_ms),
        vitals: online.and_then(|online| online.last_vitals).map(|vitals| (*vitals).clone()),
    }
}
