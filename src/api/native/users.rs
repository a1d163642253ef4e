//! Users and their access keys.

use axum::Json;
use axum::body::Body;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use serde::Deserialize;

use super::fault::Fault;
use super::session::principal;
use crate::api::door::{self, Caller};
use crate::clock::rfc3339;
use crate::coordinator::verbs::{self, KeyRow, Role, UserRow, Verbs, WantedLimits, WantedUser};
use crate::protocol::control::{
    AccessKey, AccessKeyGrant, NewAccessKey, NewPassword, NewUser, User, UserChange, UserScope,
};
use crate::report;
use crate::secret::Secret;

type Named = Result<Path<String>, PathRejection>;

/// Query of the list of keys.
#[derive(Deserialize)]
pub struct Whose {
    user: Option<String>,
}

/// `GET users`.
pub async fn list(State(verbs): State<Verbs>, caller: Caller) -> Result<Json<Vec<User>>, Fault> {
    let who = principal(&verbs, &caller).await?;
    Ok(Json(verbs.users(&who).await?.into_iter().map(view).collect()))
}

/// `POST users`.
pub async fn create(State(verbs): State<Verbs>, caller: Caller, body: Body) -> Result<(StatusCode, Json<User>), Fault> {
    let who = principal(&verbs, &caller).await?;
    let wanted: NewUser = door::json(body).await?;
    let wanted = WantedUser {
        role: role(&wanted.role)?,
        name: wanted.name,
        password: Secret::new(wanted.password),
        limits: wanted.scope.map(limits),
    };
    Ok((StatusCode::CREATED, Json(view(verbs.create_user(&who, wanted).await?))))
}

/// `GET users/{name}`.
pub async fn show(State(verbs): State<Verbs>, name: Named, caller: Caller) -> Result<Json<User>, Fault> {
    let who = principal(&verbs, &caller).await?;
    Ok(Json(view(verbs.user(&who, &name?.0).await?)))
}

/// `PATCH users/{name}`.
pub async fn change(State(verbs): State<Verbs>, name: Named, caller: Caller, body: Body) -> Result<Json<User>, Fault> {
    let who = principal(&verbs, &caller).await?;
    let wanted: UserChange = door::json(body).await?;
    let limits = match (wanted.unlimited, wanted.scope) {
        (true, Some(_)) => return Err(Fault::new(400, "invalid", "`scope` and `unlimited` do not go together")),
        (true, None) => Some(None),
        (false, scope) => scope.map(|scope| Some(limits(scope))),
    };
    let role = wanted.role.as_deref().map(role).transpose()?;
    let change = verbs::UserChange { role, limits, disabled: wanted.disabled };
    Ok(Json(view(verbs.change_user(&who, &name?.0, change).await?)))
}

/// `DELETE users/{name}`.
pub async fn delete(State(verbs): State<Verbs>, name: Named, caller: Caller) -> Result<StatusCode, Fault> {
    let who = principal(&verbs, &caller).await?;
    verbs.delete_user(&who, &name?.0).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `POST users/{name}/password`.
pub async fn password(
    State(verbs): State<Verbs>,
    name: Named,
    caller: Caller,
    body: Body,
) -> Result<StatusCode, Fault> {
    let who = principal(&verbs, &caller).await?;
    let wanted: NewPassword = door::json(body).await?;
    let (password, current) = (Secret::new(wanted.password), wanted.current.map(Secret::new));
    verbs.change_password(&who, &name?.0, &password, current.as_ref(), wanted.revoke_keys).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// `GET keys?user=`.
pub async fn keys(
    State(verbs): State<Verbs>,
    query: Result<Query<Whose>, QueryRejection>,
    caller: Caller,
) -> Result<Json<Vec<AccessKey>>, Fault> {
    let who = principal(&verbs, &caller).await?;
    Ok(Json(verbs.keys(&who, query?.0.user.as_deref()).await?.into_iter().map(key).collect()))
}

/// `POST users/{name}/keys`.
pub async fn create_key(
    State(verbs): State<Verbs>,
    name: Named,
    caller: Caller,
    body: Body,
) -> Result<Response, Fault> {
    let who = principal(&verbs, &caller).await?;
    let wanted: NewAccessKey = door::json(body).await?;
    let (row, secret) = verbs.create_key(&who, &name?.0, wanted.name.as_deref()).await?;
    let grant = AccessKeyGrant { id: row.id, name: row.name, user: row.user, secret: secret.expose().to_owned() };
    Ok((StatusCode::CREATED, [(header::CACHE_CONTROL, door::NO_STORE)], Json(grant)).into_response())
}

/// `DELETE keys/{id}`.
pub async fn revoke_key(State(verbs): State<Verbs>, id: Named, caller: Caller) -> Result<StatusCode, Fault> {
    let who = principal(&verbs, &caller).await?;
    verbs.revoke_key(&who, &id?.0).await?;
    Ok(StatusCode::NO_CONTENT)
}

fn role(word: &str) -> Result<Role, Fault> {
    let unknown = || format!("there is no role `{}`; there are admin, operator and viewer", report::brief(word, 40));
    Role::parse(word).ok_or_else(|| Fault::new(400, "invalid", unknown()))
}

fn limits(scope: UserScope) -> WantedLimits {
    WantedLimits { fleets: scope.fleets, clusters: scope.clusters }
}

fn view(row: UserRow) -> User {
    let scope = row.limits.map(|limits| UserScope {
        fleets: limits.fleets.iter().map(ToString::to_string).collect(),
        clusters: limits.clusters.iter().map(ToString::to_string).collect(),
    });
    User {
        id: row.name.clone(),
        name: row.name,
        role: row.role.as_str().to_owned(),
        disabled: row.disabled,
        scope,
        created_at: rfc3339(row.created_ms),
    }
}

fn key(row: KeyRow) -> AccessKey {
    AccessKey {
        id: row.id,
        name: row.name,
        user: row.user,
        created_at: rfc3339(row.created_ms),
        last_used: row.used_ms.map(rfc3339),
    }
}
