//! How the native API says no: a status and a [`Problem`].

use axum::Json;
use axum::extract::rejection::{PathRejection, QueryRejection};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};

use crate::api::door::BadBody;
use crate::coordinator::verbs::Refusal;
use crate::protocol::problem::Problem;

/// An error as the native API says it.
#[derive(Debug)]
pub struct Fault {
    status: StatusCode,
    problem: Problem,
    retry_after: Option<u64>,
}

impl Fault {
    /// A new one.
    pub fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, problem: Problem::new(code, message), retry_after: None }
    }
}

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        let (status, code) = match &refusal {
            Refusal::Unauthenticated => (401, "unauthenticated"),
            Refusal::Forbidden => (403, "forbidden"),
            Refusal::NotFound(_) => (404, "not_found"),
            Refusal::Invalid(_) => (400, "invalid"),
            Refusal::Conflict(_) => (409, "conflict"),
            Refusal::Throttled(_) | Refusal::TooMany(_) => (429, "too_many"),
            Refusal::Busy => (503, "busy"),
            Refusal::Full => (507, "full"),
            Refusal::Internal => (500, "internal"),
        };
        Self { retry_after: refusal.retry_after(), ..Self::new(status, code, refusal.to_string()) }
    }
}

impl From<BadBody> for Fault {
    fn from(bad: BadBody) -> Self {
        let (status, code) = if matches!(bad, BadBody::TooLarge) { (413, "too_large") } else { (400, "bad_body") };
        Self::new(status, code, bad.to_string())
    }
}

impl From<QueryRejection> for Fault {
    fn from(bad: QueryRejection) -> Self {
        Self::new(400, "invalid", crate::report::brief(&bad.body_text(), 300))
    }
}

impl From<PathRejection> for Fault {
    fn from(bad: PathRejection) -> Self {
        Self::new(400, "invalid", crate::report::brief(&bad.body_text(), 300))
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let mut answer = (self.status, Json(self.problem)).into_response();
        if self.status == StatusCode::UNAUTHORIZED {
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"sheaf\""));
        }
        if let Some(secs) = self.retry_after {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(secs));
        }
        answer
    }
}
