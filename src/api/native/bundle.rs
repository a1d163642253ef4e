//! The bundle, streamed as it is made.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};

use super::fault::Fault;
use super::session::principal;
use crate::api::door::{self, Caller};
use crate::coordinator::verbs::{BundleRequest, Verbs};
use crate::protocol::control::{BUNDLE_HEADER, BundleEstimate, KEY_HEADER, NewBundle, NodeEstimate, TASK_HEADER};

/// `POST bundles`.
pub async fn create(State(verbs): State<Verbs>, caller: Caller, body: Body) -> Result<Response, Fault> {
    let who = principal(&verbs, &caller).await?;
    let wanted: NewBundle = door::json(body).await?;
    let kind = wanted.format.media_type();
    let download = verbs.start_bundle(&who, request(wanted)).await?;
    let (name, task) = (download.name.to_string(), download.task.to_string());
    let key = verbs.seal_public_key().to_string();
    let mut answer = Body::from_stream(download.body).into_response();
    for (header, text) in [
        (header::CONTENT_TYPE, kind),
        (HeaderName::from_static(TASK_HEADER), &task),
        (HeaderName::from_static(BUNDLE_HEADER), &name),
        (HeaderName::from_static(KEY_HEADER), &key),
    ] {
        if let Ok(value) = HeaderValue::from_str(text) {
            answer.headers_mut().insert(header, value);
        }
    }
    answer.headers_mut().insert(header::CACHE_CONTROL, door::NO_STORE);
    Ok(answer)
}

/// What is wanted of a bundle, in the verbs' words.
pub(super) fn request(wanted: NewBundle) -> BundleRequest {
    BundleRequest {
        cluster: wanted.cluster,
        nodes: wanted.nodes,
        collectors: wanted.collectors.into_iter().map(String::from).collect(),
        redact: wanted.redact,
        budgets: wanted.budgets,
        window: wanted.window,
        format: wanted.format,
        case: wanted.case,
        note: wanted.note,
    }
}

/// `POST bundles/estimate`.
pub async fn estimate(State(verbs): State<Verbs>, caller: Caller, body: Body) -> Result<Json<BundleEstimate>, Fault> {
    let who = principal(&verbs, &caller).await?;
    let wanted: NewBundle = door::json(body).await?;
    let parts = verbs.estimate_bundle(&who, request(wanted)).await?;
    let mut whole = BundleEstimate::default();
    for part in parts {
        let bytes = part.bytes();
        let mut row = NodeEstimate { node: part.node.to_string(), allowed: part.allowed, ..NodeEstimate::default() };
        match part.answer {
            Ok(estimate) => {
                row.left_out = bytes.saturating_sub(part.allowed);
                (row.cut_short, row.collectors) = (estimate.cut_short, estimate.collectors);
            }
            Err(problem) => {
                row.problem = Some(problem);
                whole.unknown += 1;
            }
        }
        whole.files = row.collectors.iter().fold(whole.files, |sum, row| sum.saturating_add(row.files));
        whole.bytes = whole.bytes.saturating_add(bytes);
        whole.left_out = whole.left_out.saturating_add(row.left_out);
        whole.nodes.push(row);
    }
    Ok(Json(whole))
}
