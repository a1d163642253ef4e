//! How this dialect says no: `{"error_code", "error_msg"}`.

use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::api::door::BadBody;
use crate::coordinator::verbs::Refusal;

/// The dialect's error codes, as far as they fit us.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Code {
    /// A good credential that may not.
    Forbidden,
    /// Anything of our own.
    Internal,
    /// An id or a query value.
    Parameter,
    /// The body.
    Body,
    /// What was named is not there.
    NotFound,
    /// A header.
    Header,
    /// No credential, or none that is good.
    Unauthenticated,
}

impl Code {
    fn parts(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Forbidden => (StatusCode::FORBIDDEN, "UCS.00000004", "Request forbidden."),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "UCS.00000006", "Server internal error."),
            Self::Parameter => (StatusCode::BAD_REQUEST, "UCS.00000011", "Bad query parameter value."),
            Self::Body => (StatusCode::BAD_REQUEST, "UCS.00000012", "Invalid request body."),
            Self::NotFound => (StatusCode::NOT_FOUND, "UCS.00000013", "No requested resources found."),
            Self::Header => (StatusCode::BAD_REQUEST, "UCS.00000016", "Invalid header value."),
            Self::Unauthenticated => (StatusCode::UNAUTHORIZED, "UCS.00000018", "Authorization failed."),
        }
    }
}

/// An error as this dialect says it.
#[derive(Debug)]
pub struct Fault {
    status: StatusCode,
    code: &'static str,
    message: String,
    retry_after: Option<u64>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error_code: &'a str,
    error_msg: &'a str,
}

impl Fault {
    /// A new one.
    pub fn new(code: Code) -> Self {
        let (status, code, message) = code.parts();
        Self { status, code, message: message.to_owned(), retry_after: None }
    }

    /// The same with a reason after the dialect's own sentence.
    pub fn because(mut self, reason: &str) -> Self {
        self.message = format!("{} {reason}", self.message);
        self
    }

    /// The same with another status.
    pub fn status(mut self, status: u16) -> Self {
        self.status = StatusCode::from_u16(status).unwrap_or(self.status);
        self
    }

    /// The same with when to come again.
    fn later(mut self, refusal: &Refusal) -> Self {
        self.retry_after = refusal.retry_after();
        self
    }

    /// A refusal, where what makes no sense is the fault of `invalid`.
    pub fn of(refusal: &Refusal, invalid: Code) -> Self {
        match refusal {
            Refusal::Unauthenticated => Self::new(Code::Unauthenticated),
            Refusal::Forbidden => Self::new(Code::Forbidden),
            Refusal::NotFound(_) => Self::new(Code::NotFound),
            Refusal::Invalid(why) | Refusal::Conflict(why) => Self::new(invalid).because(why),
            Refusal::Busy => Self::new(Code::Internal).because(&refusal.to_string()).status(503).later(refusal),
            Refusal::Throttled(_) | Refusal::TooMany(_) => {
                Self::new(Code::Forbidden).because(&refusal.to_string()).status(429).later(refusal)
            }
            _ => Self::new(Code::Internal),
        }
    }

    /// A body that cannot be taken.
    pub fn body(bad: &BadBody) -> Self {
        let fault = Self::new(Code::Body).because(&bad.to_string());
        if matches!(bad, BadBody::TooLarge) { fault.status(413) } else { fault }
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let body = ErrorBody { error_code: self.code, error_msg: &self.message };
        let mut answer = (self.status, Json(body)).into_response();
        if let Some(secs) = self.retry_after {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(secs));
        }
        answer
    }
}
