//! A deployment's instances: at once as they stand in the state, or as their agents answer now, which is a task.

use axum::Json;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Value, json};

use super::deployments::refused;
use super::fault::Fault;
use super::{context, line, principal, redirect, value};
use crate::api::door::Caller;
use crate::coordinator::verbs::{InstanceRow, Probe, Standing, Verbs};

/// `GET /deployments/{name}/vms`.
pub async fn vms(
    state: State<Verbs>,
    caller: Caller,
    name: Path<String>,
    query: Query<Vec<(String, String)>>,
) -> Result<Response, Fault> {
    answer(state.0, caller, name.0, &query.0, Probe::Vms).await
}

/// `GET /deployments/{name}/instances`.
pub async fn instances(
    state: State<Verbs>,
    caller: Caller,
    name: Path<String>,
    query: Query<Vec<(String, String)>>,
) -> Result<Response, Fault> {
    answer(state.0, caller, name.0, &query.0, Probe::Instances).await
}

async fn answer(
    verbs: Verbs,
    caller: Caller,
    name: String,
    query: &[(String, String)],
    probe: Probe,
) -> Result<Response, Fault> {
    let who = principal(&verbs, &caller).await?;
    if value(query, "format") == Some("full") {
        let task = verbs.probe(&who, &name, probe, line::render, context(&caller)).await;
        return redirect(&verbs, &caller, task.map_err(|refusal| refused(&refusal, &name, &caller))?);
    }
    let rows = verbs.vms(&who, &name).await.map_err(|refusal| refused(&refusal, &name, &caller))?;
    Ok(Json(rows.iter().map(|placed| short(&placed.row, placed)).collect::<Vec<_>>()).into_response())
}

fn short(row: &InstanceRow, stands: &Standing) -> Value {
    let placed = &row.placed;
    json!({
        "agent_id": placed.node,
        "cid": placed.node,
        "job": placed.group,
        "index": placed.index,
        "id": placed.id.to_string(),
        "az": row.cluster_name,
        "ips": stands.addresses,
        "vm_created_at": null,
        "active": stands.online,
        "expects_vm": true,
    })
}
