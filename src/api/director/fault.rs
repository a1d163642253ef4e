//! How this dialect says no: `{"code", "description"}`; where the original has plain text, plain text.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use crate::api::door::BadBody;
use crate::coordinator::verbs::{ManifestError, Refusal};
use crate::report;

/// The director's numbers for what can go wrong here.
pub const TASK: u32 = 10_000;
pub const MISSING_FIELD: u32 = 40_001;
pub const BAD_REQUEST: u32 = 40_000;
pub const DEPLOYMENT: u32 = 70_000;
pub const INSTANCE: u32 = 70_010;
pub const BAD_MANIFEST: u32 = 440_001;
pub const RESOURCE: u32 = 100_001;
const UNAUTHORIZED: u32 = 600_000;
const UNKNOWN: u32 = 100;
/// Characters of a path or an id in an answer.
const BRIEF: usize = 200;

/// An error as this dialect says it.
#[derive(Debug)]
pub enum Fault {
    /// A number and a sentence.
    Coded(StatusCode, u32, String),
    /// Plain text.
    Text(StatusCode, String),
    /// The credentials are missing or wrong; the path.
    Unauthorized(String),
    /// Too much at the moment; seconds after which to come again.
    Later(StatusCode, u64, String),
}

impl Fault {
    /// With the director's number.
    pub fn new(status: StatusCode, code: u32, description: impl Into<String>) -> Self {
        Self::Coded(status, code, description.into())
    }

    /// A request that makes no sense.
    pub fn bad(description: impl Into<String>) -> Self {
        Self::new(StatusCode::BAD_REQUEST, BAD_REQUEST, description)
    }

    /// There is no such task.
    pub fn no_task(id: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, TASK, format!("Task {} not found", report::brief(id, BRIEF)))
    }

    /// There is no such deployment.
    pub fn no_deployment(name: &str) -> Self {
        let name = report::brief(name, BRIEF);
        Self::new(StatusCode::NOT_FOUND, DEPLOYMENT, format!("Deployment '{name}' doesn't exist"))
    }

    /// There is no such route.
    pub fn no_route(path: &str) -> Self {
        Self::Text(StatusCode::NOT_FOUND, format!("Endpoint '{}' not found.", report::brief(path, BRIEF)))
    }

    /// A refusal of a request for `path`.
    pub fn of(refusal: &Refusal, path: &str) -> Self {
        let said = refusal.to_string();
        if let Some(secs) = refusal.retry_after() {
            let status = match refusal {
                Refusal::Busy => StatusCode::SERVICE_UNAVAILABLE,
                _ => StatusCode::TOO_MANY_REQUESTS,
            };
            return Self::Later(status, secs, said);
        }
        match refusal {
            Refusal::Unauthenticated => Self::Unauthorized(report::brief(path, BRIEF)),
            Refusal::Forbidden => Self::new(StatusCode::FORBIDDEN, UNAUTHORIZED, said),
            Refusal::NotFound(_) => Self::new(StatusCode::NOT_FOUND, BAD_REQUEST, said),
            Refusal::Invalid(_) | Refusal::Conflict(_) => Self::bad(said),
            Refusal::Full => Self::new(StatusCode::INSUFFICIENT_STORAGE, UNKNOWN, said),
            _ => Self::new(StatusCode::INTERNAL_SERVER_ERROR, UNKNOWN, said),
        }
    }
}

impl From<ManifestError> for Fault {
    fn from(error: ManifestError) -> Self {
        let code = if matches!(error, ManifestError::NoName) { MISSING_FIELD } else { BAD_MANIFEST };
        Self::new(StatusCode::BAD_REQUEST, code, error.to_string())
    }
}

impl From<BadBody> for Fault {
    fn from(bad: BadBody) -> Self {
        let status =
            if matches!(bad, BadBody::TooLarge) { StatusCode::PAYLOAD_TOO_LARGE } else { StatusCode::BAD_REQUEST };
        Self::new(status, BAD_REQUEST, bad.to_string())
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        match self {
            Self::Coded(status, code, description) => {
                (status, Json(json!({ "code": code, "description": description }))).into_response()
            }
            Self::Text(status, text) => (status, text).into_response(),
            Self::Unauthorized(path) => {
                let challenge = HeaderValue::from_static("Basic realm=\"BOSH Director\"");
                let text = format!("Not authorized: '{path}'\n");
                (StatusCode::UNAUTHORIZED, [(header::WWW_AUTHENTICATE, challenge)], text).into_response()
            }
            Self::Later(status, secs, description) => {
                let after = [(header::RETRY_AFTER, secs.to_string())];
                (status, after, Json(json!({ "code": UNKNOWN, "description": description }))).into_response()
            }
        }
    }
}
