//! Log-in, in the two ways that products with this API have had. Each token is a session's id.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::{Deserialize, Serialize};

use super::TOKEN_HEADER;
use super::fault::{Code, Fault};
use crate::api::door::{self, Caller};
use crate::clock::rfc3339;
use crate::coordinator::verbs::{Credential, Principal, Refusal, Verbs};
use crate::limits;
use crate::secret::Secret;

/// Body of both log-ins. Where a user comes from (`provider`, `authSource`) makes no difference here: there is one source.
#[derive(Deserialize)]
struct LogIn {
    #[serde(default)]
    username: String,
    #[serde(default = "no_password")]
    password: Secret,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct SessionReply<'a> {
    user_id: &'a str,
    session_id: &'a str,
    /// Seconds, here.
    ttl: u64,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct TokenReply<'a> {
    token: &'a str,
    /// Until when, milliseconds since 1970.
    validity: i64,
    expires_at: String,
    roles: [&'a str; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ExchangeReply<'a> {
    jwt_token: &'a str,
    validity: i64,
    expires_at: String,
}

/// `POST /api/v2/sessions`.
pub async fn create(State(verbs): State<Verbs>, caller: Caller, body: Body) -> Result<Response, Fault> {
    let (who, id) = log_in(&verbs, &caller, body).await?;
    Ok(unstored(SessionReply { user_id: &who.name, session_id: id.expose(), ttl: limits::SESSION.as_secs() }))
}

/// `POST /suite-api/api/auth/token/acquire`.
pub async fn acquire(State(verbs): State<Verbs>, caller: Caller, body: Body) -> Result<Response, Fault> {
    let (who, id) = log_in(&verbs, &caller, body).await?;
    let validity = until(&verbs, &id).await?;
    let expires_at = rfc3339(validity);
    Ok(unstored(TokenReply { token: id.expose(), validity, expires_at, roles: [who.role.as_str()] }))
}

/// `POST /suite-api/api/auth/token/exchange`: the operations token for one of this API.
pub async fn exchange(State(verbs): State<Verbs>, caller: Caller, body: Body) -> Result<Response, Fault> {
    // Which services the token is for makes no difference: there is one. The body is read so that the connection can go on.
    door::bytes(body).await?;
    let token = ops_token(&caller).ok_or_else(|| denied(&Refusal::Unauthenticated))?;
    let session = verbs.session(token.expose(), caller.from()).await.map_err(|refusal| denied(&refusal))?;
    let id = verbs.open_session(&session.principal).await?;
    let validity = until(&verbs, &id).await?;
    Ok(unstored(ExchangeReply { jwt_token: id.expose(), validity, expires_at: rfc3339(validity) }))
}

/// `POST /suite-api/api/auth/token/release`: ends the operations token.
pub async fn release(State(verbs): State<Verbs>, caller: Caller) -> Result<StatusCode, Fault> {
    let token = ops_token(&caller).ok_or_else(|| denied(&Refusal::Unauthenticated))?;
    verbs.close_session(token.expose(), caller.from()).await.map_err(|refusal| denied(&refusal))?;
    Ok(StatusCode::OK)
}

/// Whoever calls one of the operations on agent secrets.
pub async fn principal(verbs: &Verbs, caller: &Caller) -> Result<Principal, Fault> {
    Ok(door::principal(verbs, caller, &[TOKEN_HEADER]).await?)
}

async fn log_in(verbs: &Verbs, caller: &Caller, body: Body) -> Result<(Principal, Secret), Fault> {
    let given: LogIn = door::json(body).await?;
    let credential = Credential::Basic(given.username, given.password);
    let who = verbs.authenticate(credential, caller.from()).await.map_err(|refusal| denied(&refusal))?;
    let id = verbs.open_session(&who).await?;
    Ok((who, id))
}

/// `Authorization: OpsToken <token>`, with the older product's word for it, and the token alone in its own header.
fn ops_token(caller: &Caller) -> Option<Secret> {
    match door::scheme(&caller.headers) {
        Some((scheme, token)) => ["OpsToken", "vRealizeOpsToken", "Bearer"]
            .iter()
            .any(|word| scheme.eq_ignore_ascii_case(word))
            .then(|| Secret::new(token)),
        None => Some(Secret::new(caller.headers.get(TOKEN_HEADER)?.to_str().ok()?)),
    }
}

/// A log-in that fails is a 401 with the code that the dialect has for it; the 403 is for the operations.
fn denied(refusal: &Refusal) -> Fault {
    let fault = Fault::from(refusal.clone());
    if *refusal == Refusal::Unauthenticated { fault.status(401, Code::Field) } else { fault }
}

async fn until(verbs: &Verbs, id: &Secret) -> Result<i64, Fault> {
    let life = i64::try_from(limits::SESSION.as_millis()).unwrap_or(i64::MAX);
    Ok(verbs.session(id.expose(), None).await?.created_ms.saturating_add(life))
}

fn unstored(value: impl Serialize) -> Response {
    ([(header::CACHE_CONTROL, door::NO_STORE)], Json(value)).into_response()
}

fn no_password() -> Secret {
    Secret::new("")
}
