//! Logs of a deployment: collected as a task, whose result names what is then fetched as a .tgz.

use axum::body::Body;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::deployments::refused;
use super::fault::{Fault, INSTANCE, RESOURCE};
use super::{context, pieces, principal, redirect, tgz};
use crate::api::door::{Caller, NO_STORE};
use crate::coordinator::verbs::{LogsWanted, Refusal, Verbs};
use crate::id::BundleId;
use crate::report;
use crate::window::{Asked, Moment};

/// Anything, as a group or an id.
const ANY: &str = "*";

/// `GET /deployments/{name}/jobs/{group}/{id}/logs`.
pub async fn fetch(
    State(verbs): State<Verbs>,
    caller: Caller,
    Path((name, group, id)): Path<(String, String, String)>,
    Query(query): Query<Vec<(String, String)>>,
) -> Result<Response, Fault> {
    let who = principal(&verbs, &caller).await?;
    let mut wanted = LogsWanted {
        group: Some(group).filter(|group| group != ANY),
        instance: Some(id).filter(|id| id != ANY),
        filters: pieces(&query, "filters").into_iter().map(str::to_owned).collect(),
        window: Asked { since: moment(&query, "since")?, until: moment(&query, "until")? },
        ..LogsWanted::default()
    };
    let kinds = pieces(&query, "type");
    for kind in if kinds.is_empty() { vec!["job"] } else { kinds } {
        match kind {
            "job" => wanted.jobs = true,
            "agent" | "system" => wanted.own = true,
            other => return Err(Fault::bad(format!("there are no logs of the type `{}`", report::brief(other, 40)))),
        }
    }
    let task = verbs.deployment_logs(&who, &name, wanted, context(&caller)).await;
    let task = task.map_err(|refusal| match refusal {
        Refusal::Conflict(said) => Fault::new(StatusCode::NOT_FOUND, INSTANCE, said),
        other => refused(&other, &name, &caller),
    })?;
    redirect(&verbs, &caller, task)
}

/// An end of the window: `2h`, or RFC 3339.
fn moment(query: &[(String, String)], name: &str) -> Result<Option<Moment>, Fault> {
    let given = query.iter().find(|(key, value)| key == name && !value.is_empty());
    let bad = |error| Fault::bad(format!("`{name}`: {error}"));
    given.map(|(_, value)| value.parse().map_err(bad)).transpose()
}

/// `GET /resources/{id}`: a kept bundle, compressed in the way that these clients read.
pub async fn resource(State(verbs): State<Verbs>, caller: Caller, Path(id): Path<String>) -> Result<Response, Fault> {
    let who = principal(&verbs, &caller).await?;
    let absent =
        || Fault::new(StatusCode::NOT_FOUND, RESOURCE, format!("Resource '{}' not found", report::brief(&id, 80)));
    let kept: BundleId = id.parse().map_err(|_| absent())?;
    let part = verbs.read_stored(&who, kept, 0, None).await.map_err(|refusal| match refusal {
        Refusal::NotFound(_) => absent(),
        other => Fault::of(&other, caller.uri.path()),
    })?;
    let name = format!("attachment; filename=\"{}.tgz\"", part.row.name);
    let body = Body::from_stream(tgz::packed(part.row.format, part.pieces));
    let kind = "application/x-gzip".to_owned();
    let headers = [(header::CONTENT_TYPE, kind), (header::CONTENT_DISPOSITION, name)];
    Ok((headers, [(header::CACHE_CONTROL, NO_STORE)], body).into_response())
}
