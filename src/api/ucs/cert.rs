//! A kubeconfig for a fleet: a client certificate that is good for the days asked for, and where to use it.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::{Map, Value};

use super::TOKEN_HEADER;
use super::fault::{Code, Fault};
use crate::api::door::{self, Caller};
use crate::coordinator::verbs::{Place, Refusal, Verbs};

/// Bytes of an id in the body.
const ID: usize = 256;

/// What the body says.
struct Wanted {
    place: Place,
    days: u32,
}

/// `POST /v1/clustergroups/{clustergroupid}/cert`.
pub async fn create(
    State(verbs): State<Verbs>,
    fleet: Result<Path<String>, PathRejection>,
    caller: Caller,
    body: Body,
) -> Result<Response, Fault> {
    let refuse = |refusal: Refusal| Fault::of(&refusal, Code::Body);
    let who = door::principal(&verbs, &caller, &[TOKEN_HEADER]).await.map_err(refuse)?;
    if !is_json(&caller.headers) {
        return Err(Fault::new(Code::Header).because("Content-Type must be application/json."));
    }
    let body = door::bytes(body).await.map_err(|bad| Fault::body(&bad))?;
    let wanted = read(&body).map_err(|why| Fault::new(Code::Body).because(why))?;
    let fleet = fleet.map(|Path(id)| id).unwrap_or_default();
    let origin = caller.origin(&verbs).unwrap_or_default();
    let issued =
        verbs.issue_certificate(&who, &fleet, wanted.days, &origin, Some(&wanted.place)).await.map_err(refuse)?;
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, door::NO_STORE)], Json(issued.kubeconfig())).into_response())
}

/// The media type, whatever parameters follow it.
fn is_json(headers: &HeaderMap) -> bool {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or_default();
    value.split(';').next().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/json"))
}

fn read(body: &[u8]) -> Result<Wanted, &'static str> {
    let object: Map<String, Value> = serde_json::from_slice(body).map_err(|_| "A JSON object is expected.")?;
    let text = |name: &str, why: &'static str| match object.get(name) {
        Some(Value::String(text)) if (1..=ID).contains(&text.len()) => Ok(text.clone()),
        _ => Err(why),
    };
    let place = Place {
        project: text("projectID", "projectID is a string.")?,
        vpc: text("vpcID", "vpcID is a string.")?,
        subnet: text("subnetID", "subnetID is a string.")?,
    };
    let days = object.get("duration").and_then(Value::as_u64).and_then(|days| u32::try_from(days).ok());
    Ok(Wanted { place, days: days.ok_or("duration is a whole number of days, 1 to 1825.")? })
}
