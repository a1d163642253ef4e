//! Access info, in the form in which a file of it is good for Kubernetes and for `sheaf agent join`.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::fault::Fault;
use super::session::principal;
use crate::api::door::{self, Caller};
use crate::coordinator::verbs::{Approach, Verbs};
use crate::protocol::federation::NewAccessInfo;

/// `POST clusters/{id or name}/access-info`.
pub async fn take(
    State(verbs): State<Verbs>,
    cluster: Result<Path<String>, PathRejection>,
    caller: Caller,
    body: Body,
) -> Result<Response, Fault> {
    let who = principal(&verbs, &caller).await?;
    let wanted: NewAccessInfo = door::json(body).await?;
    let origin = caller.origin(&verbs);
    let approach = Approach {
        origin: origin.as_deref().unwrap_or_default(),
        vpcendpoint: wanted.vpcendpoint.as_deref(),
        region: wanted.region.as_deref(),
    };
    let manifests = verbs.take_access_info(&who, &cluster?.0, approach).await?.ok_or_else(|| {
        Fault::new(
            409,
            "downloaded",
            "the access info of this cluster was downloaded before; `--reset` revokes it and lets it be downloaded anew",
        )
    })?;
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": manifests });
    Ok(([(header::CACHE_CONTROL, door::NO_STORE)], Json(list)).into_response())
}

/// `POST clusters/{id or name}/access-info/reset`.
pub async fn reset(
    State(verbs): State<Verbs>,
    cluster: Result<Path<String>, PathRejection>,
    caller: Caller,
) -> Result<StatusCode, Fault> {
    let who = principal(&verbs, &caller).await?;
    verbs.reset_access_info(&who, &cluster?.0).await?;
    Ok(StatusCode::NO_CONTENT)
}
