//! How this dialect says no: `{"error_type", "messages"}`, below `/rest` inside `{"type", "value"}`.

use std::convert::Infallible;

use axum::Json;
use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use serde_json::json;

use crate::api::door::BadBody;
use crate::coordinator::verbs::Refusal;

/// Which of the two styles a path is answered in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// Below `/api`: plain.
    Api,
    /// Below `/rest`: wrapped.
    Rest,
}

impl Style {
    /// The style of a path.
    pub fn of(path: &str) -> Self {
        if path.starts_with("/rest") { Self::Rest } else { Self::Api }
    }

    /// An answer in this style.
    pub fn reply(self, status: StatusCode, value: &impl Serialize) -> Response {
        match self {
            Self::Api => (status, Json(value)).into_response(),
            Self::Rest => (status, Json(json!({ "value": value }))).into_response(),
        }
    }

    /// A refusal in this style.
    pub fn refuse(self, refusal: &Refusal) -> Fault {
        let (status, kind) = match refusal {
            Refusal::Unauthenticated => (401, "UNAUTHENTICATED"),
            Refusal::Forbidden => (403, "UNAUTHORIZED"),
            Refusal::NotFound(_) => (404, "NOT_FOUND"),
            Refusal::Invalid(_) => (400, "INVALID_ARGUMENT"),
            Refusal::Conflict(_) => (400, "NOT_ALLOWED_IN_CURRENT_STATE"),
            Refusal::Throttled(_) | Refusal::TooMany(_) | Refusal::Busy => (503, "SERVICE_UNAVAILABLE"),
            Refusal::Full => (507, "UNABLE_TO_ALLOCATE_RESOURCE"),
            Refusal::Internal => (500, "INTERNAL_SERVER_ERROR"),
        };
        Fault { retry_after: refusal.retry_after(), ..Fault::new(self, status, kind, &refusal.to_string()) }
    }

    /// A body that cannot be used, in this style.
    pub fn bad_body(self, bad: &BadBody) -> Fault {
        let status = if matches!(bad, BadBody::TooLarge) { 413 } else { 400 };
        Fault::new(self, status, "INVALID_REQUEST", &bad.to_string())
    }
}

impl<S: Sync> FromRequestParts<S> for Style {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _state: &S) -> Result<Self, Infallible> {
        Ok(Self::of(parts.uri.path()))
    }
}

/// An error as this dialect says it.
#[derive(Debug)]
pub struct Fault {
    style: Style,
    status: StatusCode,
    kind: &'static str,
    message: String,
    retry_after: Option<u64>,
}

impl Fault {
    /// A new one; `kind` is the dialect's word for it.
    pub fn new(style: Style, status: u16, kind: &'static str, message: &str) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { style, status, kind, message: message.to_owned(), retry_after: None }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let word = self.kind.to_ascii_lowercase();
        let body = json!({
            "error_type": self.kind,
            "messages": [{ "id": format!("sheaf.{word}"), "default_message": self.message, "args": [] }],
        });
        let mut answer = match self.style {
            Style::Api => (self.status, Json(body)).into_response(),
            Style::Rest => {
                let kind = format!("com.vmware.vapi.std.errors.{word}");
                (self.status, Json(json!({ "type": kind, "value": body }))).into_response()
            }
        };
        if self.status == StatusCode::UNAUTHORIZED {
            answer.headers_mut().insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Basic realm=\"sheaf\""));
        }
        if let Some(secs) = self.retry_after {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(secs));
        }
        answer
    }
}
