//! The audit log.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use serde::Deserialize;

use super::fault::Fault;
use super::session::principal;
use crate::api::door::Caller;
use crate::coordinator::verbs::{AuditQuery, Verbs};
use crate::protocol::control::AuditPage;

/// Records of one page, unless asked for fewer.
const PAGE: usize = 1000;

/// Query of a page.
#[derive(Deserialize)]
pub struct Wanted {
    /// RFC 3339.
    since: Option<jiff::Timestamp>,
    user: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

/// `GET audit?since=&user=&after=&limit=`.
pub async fn list(
    State(verbs): State<Verbs>,
    query: Result<Query<Wanted>, QueryRejection>,
    caller: Caller,
) -> Result<Json<AuditPage>, Fault> {
    let who = principal(&verbs, &caller).await?;
    let wanted = query?.0;
    let query = AuditQuery {
        since_ms: wanted.since.map(|since| since.as_millisecond()),
        user: wanted.user,
        after: wanted.after,
        limit: wanted.limit.unwrap_or(PAGE).clamp(1, PAGE),
    };
    let page = verbs.audit(&who, query).await?;
    Ok(Json(AuditPage { records: page.records, next: page.next }))
}
