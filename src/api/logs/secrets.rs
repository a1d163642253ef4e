//! Agent secrets: create, list, exchange, revoke. A secret is shown by create and by exchange alone.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Serialize;
use serde_json::{Map, Value};

use super::fault::{Code, Fault};
use super::paging::Paging;
use super::session::principal;
use crate::api::door::{self, Caller};
use crate::clock::rfc3339;
use crate::coordinator::verbs::{Refusal, SecretRow, Verbs};

#[derive(Serialize)]
struct CreateReply<'a> {
    id: &'a str,
    name: &'a str,
    secret: &'a str,
    status: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Row {
    id: String,
    name: String,
    status: &'static str,
    modification_time: String,
}

#[derive(Serialize)]
struct ExchangeReply<'a> {
    access_token: &'a str,
    name: &'a str,
    new_secret: &'a str,
    /// Milliseconds.
    ttl: u64,
}

#[derive(Serialize)]
struct RevokeReply {
    id: String,
    name: String,
    status: &'static str,
}

/// `POST /api/v2/agent/secrets`.
pub async fn create(State(verbs): State<Verbs>, caller: Caller, body: Body) -> Result<Response, Fault> {
    let who = principal(&verbs, &caller).await?;
    let given = object(body).await?;
    let name = text(&given, "name")?.ok_or_else(|| Fault::field("`name` is missing"))?;
    let cluster = text(&given, "cluster")?;
    let made = verbs.create_secret(&who, name, cluster).await?;
    let reply = CreateReply {
        id: &made.row.id,
        name: &made.row.name,
        secret: made.secret.expose(),
        status: made.row.status.as_str(),
    };
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, door::NO_STORE)], Json(reply)).into_response())
}

/// `GET /api/v2/agent/secrets`.
pub async fn list(
    State(verbs): State<Verbs>,
    Query(query): Query<Vec<(String, String)>>,
    caller: Caller,
) -> Result<Response, Fault> {
    let who = principal(&verbs, &caller).await?;
    let paging = Paging::read(&query)?;
    let rows = paging.apply(verbs.secrets(&who).await?);
    Ok(Json(rows.into_iter().map(row).collect::<Vec<_>>()).into_response())
}

/// `POST /api/v2/agent/secrets/exchange`: the secret is the credential, whatever else the request carries.
pub async fn exchange(State(verbs): State<Verbs>, caller: Caller, body: Body) -> Result<Response, Fault> {
    let given = object(body).await?;
    let secret = text(&given, "secret")?.ok_or_else(|| Fault::field("`secret` is missing"))?;
    let ttl = match given.get("ttl") {
        None | Some(Value::Null) => None,
        Some(value) => {
            let ttl = value.as_u64().ok_or_else(|| Fault::field("`ttl` is a whole number of milliseconds"))?;
            Some(ttl)
        }
    };
    let token = verbs.exchange_secret(secret, ttl, caller.from()).await.map_err(|refusal| match refusal {
        // The dialect has no 401 or 403 here.
        Refusal::Unauthenticated | Refusal::Forbidden => {
            Fault::new(400, Code::Agent, "the secret is not known, was replaced, or was revoked")
        }
        other => other.into(),
    })?;
    let reply = ExchangeReply {
        access_token: token.access_token.expose(),
        name: &token.name,
        new_secret: token.new_secret.expose(),
        ttl: token.ttl_ms,
    };
    Ok(([(header::CACHE_CONTROL, door::NO_STORE)], Json(reply)).into_response())
}

/// `POST /api/v2/agent/secrets/{secretName}/revoke`.
pub async fn revoke(
    State(verbs): State<Verbs>,
    name: Result<Path<String>, PathRejection>,
    caller: Caller,
) -> Result<Response, Fault> {
    let who = principal(&verbs, &caller).await?;
    // What is no text names no secret.
    let name = name.map(|Path(name)| name).unwrap_or_default();
    // Tokens issued before stay good until their time is over: ending them is the native API's `now`.
    let row = verbs.revoke_secret(&who, &name, false).await?;
    Ok(Json(RevokeReply { id: row.id, name: row.name, status: row.status.as_str() }).into_response())
}

fn row(row: SecretRow) -> Row {
    Row { id: row.id, name: row.name, status: row.status.as_str(), modification_time: rfc3339(row.modified_ms) }
}

async fn object(body: Body) -> Result<Map<String, Value>, Fault> {
    Ok(door::json(body).await?)
}

/// A member that is a text; `null` counts as absent.
fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Result<Option<&'a str>, Fault> {
    match object.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text)),
        Some(_) => Err(Fault::field(format!("`{name}` is a text"))),
    }
}
