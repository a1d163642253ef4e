//! How this dialect says no: `{"errorCode", "errorDetails", "errorMessage"}`.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::api::door::BadBody;
use crate::coordinator::verbs::Refusal;

/// Those of the dialect's error codes that fit us.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub enum Code {
    /// The call as such.
    #[serde(rename = "API_ERROR")]
    Api,
    /// An agent secret.
    #[serde(rename = "AGENT_ERROR")]
    Agent,
    /// One member of the body or the query.
    #[serde(rename = "FIELD_ERROR")]
    Field,
    /// The body is no JSON.
    #[serde(rename = "JSON_FORMAT_ERROR")]
    JsonFormat,
    /// Too long.
    #[serde(rename = "LIMIT_ERROR")]
    Limit,
    /// A value that makes no sense.
    #[serde(rename = "VALIDATION_ERROR")]
    Validation,
    /// Credentials.
    #[serde(rename = "SECURITY_ERROR")]
    Security,
    /// Too much at once, or no room.
    #[serde(rename = "RESOURCE_EXHAUSTED")]
    Exhausted,
    /// Anything else.
    #[serde(rename = "INTERNAL_SERVER_ERROR")]
    Internal,
}

/// An error as this dialect says it.
#[derive(Debug)]
pub struct Fault {
    status: StatusCode,
    code: Code,
    message: String,
    retry_after: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ErrorBody<'a> {
    error_code: Code,
    error_details: serde_json::Map<String, serde_json::Value>,
    error_message: &'a str,
}

impl Fault {
    /// A new one.
    pub fn new(status: u16, code: Code, message: impl Into<String>) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self { status, code, message: message.into(), retry_after: None }
    }

    /// A member that is missing or wrong.
    pub fn field(message: impl Into<String>) -> Self {
        Self::new(400, Code::Field, message)
    }

    /// The same with another code for clients that look at it.
    pub fn status(mut self, status: u16, code: Code) -> Self {
        self.status = StatusCode::from_u16(status).unwrap_or(self.status);
        self.code = code;
        self
    }
}

/// As the operations on agent secrets say it: 400 and 403 are all that their clients read.
impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        let (status, code) = match &refusal {
            Refusal::Unauthenticated | Refusal::Forbidden => (403, Code::Security),
            Refusal::NotFound(_) | Refusal::Conflict(_) => (400, Code::Agent),
            Refusal::Invalid(_) => (400, Code::Validation),
            Refusal::TooMany(_) => (429, Code::Exhausted),
            Refusal::Throttled(_) | Refusal::Busy => (503, Code::Exhausted),
            Refusal::Full => (507, Code::Exhausted),
            Refusal::Internal => (500, Code::Internal),
        };
        Self { retry_after: refusal.retry_after(), ..Self::new(status, code, refusal.to_string()) }
    }
}

impl From<BadBody> for Fault {
    fn from(bad: BadBody) -> Self {
        let (status, code) = match bad {
            BadBody::TooLarge => (413, Code::Limit),
            BadBody::Broken | BadBody::Json(_) => (400, Code::JsonFormat),
        };
        Self::new(status, code, bad.to_string())
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let body =
            ErrorBody { error_code: self.code, error_details: serde_json::Map::new(), error_message: &self.message };
        let mut answer = (self.status, Json(body)).into_response();
        if let Some(secs) = self.retry_after {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(secs));
        }
        answer
    }
}
