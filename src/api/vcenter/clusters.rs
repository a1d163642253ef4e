//! The lists by which clients of this dialect find a cluster's id.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Serialize;

use super::SESSION_HEADER;
use super::fault::{Fault, Style};
use crate::api::door::{self, Caller};
use crate::coordinator::verbs::{Cluster, Verbs};

/// A row of `GET …/clusters`.
#[derive(Serialize)]
struct Summary {
    cluster: String,
    cluster_name: String,
    #[serde(flatten)]
    status: Status,
}

/// Scripts look for clusters that are running and ready. One that is listed here can be asked for a bundle, and that is all
/// that these words can mean for us.
#[derive(Serialize)]
struct Status {
    config_status: &'static str,
    kubernetes_status: &'static str,
}

impl Status {
    const GOOD: Self = Self { config_status: "RUNNING", kubernetes_status: "READY" };
}

#[derive(Serialize)]
struct Summaries {
    items: Vec<Supervisor>,
}

#[derive(Serialize)]
struct Supervisor {
    supervisor: String,
    info: SupervisorInfo,
}

#[derive(Serialize)]
struct SupervisorInfo {
    name: String,
    #[serde(flatten)]
    status: Status,
}

/// `GET …/clusters`.
pub async fn list(style: Style, State(verbs): State<Verbs>, caller: Caller) -> Result<Response, Fault> {
    let row = |cluster: Cluster| Summary {
        cluster: cluster.row.id.to_string(),
        cluster_name: cluster.row.name,
        status: Status::GOOD,
    };
    let rows: Vec<Summary> = clusters(style, &verbs, &caller).await?.into_iter().map(row).collect();
    Ok(style.reply(StatusCode::OK, &rows))
}

/// `GET …/supervisors/summaries`.
pub async fn summaries(style: Style, State(verbs): State<Verbs>, caller: Caller) -> Result<Response, Fault> {
    let item = |cluster: Cluster| Supervisor {
        supervisor: cluster.row.id.to_string(),
        info: SupervisorInfo { name: cluster.row.name, status: Status::GOOD },
    };
    let items = clusters(style, &verbs, &caller).await?.into_iter().map(item).collect();
    Ok(style.reply(StatusCode::OK, &Summaries { items }))
}

async fn clusters(style: Style, verbs: &Verbs, caller: &Caller) -> Result<Vec<Cluster>, Fault> {
    let refuse = |refusal| style.refuse(&refusal);
    let who = door::principal(verbs, caller, &[SESSION_HEADER]).await.map_err(refuse)?;
    verbs.clusters(&who).await.map_err(refuse)
}
