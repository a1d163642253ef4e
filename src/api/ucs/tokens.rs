//! Tokens for name and password, as Keystone v3 gives them. Which domain and which scope are asked for makes no difference here:
//! there is one of users, and what a user may see stands in the user's own scope.

use axum::Json;
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderName, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::api::door::{self, Caller};
use crate::clock::rfc3339;
use crate::coordinator::verbs::{Credential, Principal, Refusal, Verbs};
use crate::secret::Secret;

/// The header that carries the new token.
const SUBJECT: &str = "x-subject-token";

/// An error as Keystone says it.
pub struct Fault(StatusCode, String, Option<u64>);

impl From<Refusal> for Fault {
    fn from(refusal: Refusal) -> Self {
        let status = match &refusal {
            Refusal::Unauthenticated => StatusCode::UNAUTHORIZED,
            Refusal::Forbidden => StatusCode::FORBIDDEN,
            Refusal::Busy => StatusCode::SERVICE_UNAVAILABLE,
            Refusal::Throttled(_) | Refusal::TooMany(_) => StatusCode::TOO_MANY_REQUESTS,
            Refusal::Invalid(_) | Refusal::Conflict(_) => StatusCode::BAD_REQUEST,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
        let wait = refusal.retry_after();
        let message = match refusal {
            Refusal::Unauthenticated => "The username or password is wrong.".to_owned(),
            other => other.to_string(),
        };
        Self(status, message, wait)
    }
}

impl IntoResponse for Fault {
    fn into_response(self) -> Response {
        let title = self.0.canonical_reason().unwrap_or_default();
        let body = json!({ "error": { "code": self.0.as_u16(), "title": title, "message": self.1 } });
        let mut answer = (self.0, Json(body)).into_response();
        if let Some(secs) = self.2 {
            answer.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(secs));
        }
        answer
    }
}

/// `POST /v3/auth/tokens`.
pub async fn create(State(verbs): State<Verbs>, caller: Caller, body: Body) -> Result<Response, Fault> {
    let bad = |why: String| Fault(StatusCode::BAD_REQUEST, why, None);
    let given: Value = door::json(body).await.map_err(|error| match error {
        door::BadBody::TooLarge => Fault(StatusCode::PAYLOAD_TOO_LARGE, error.to_string(), None),
        other => bad(other.to_string()),
    })?;
    let (name, password) = read(&given).map_err(|why| bad(why.to_owned()))?;
    let who = verbs.authenticate(Credential::Basic(name, password), caller.from()).await?;
    let (token, expires_ms) = verbs.issue_token(&who).await?;
    let value = HeaderValue::from_str(token.expose()).map_err(|_| Refusal::Internal)?;
    let head = [(HeaderName::from_static(SUBJECT), value), (header::CACHE_CONTROL, door::NO_STORE)];
    Ok((StatusCode::CREATED, head, Json(described(&who, &given, verbs.now_ms(), expires_ms))).into_response())
}

fn read(given: &Value) -> Result<(String, Secret), &'static str> {
    let identity = &given["auth"]["identity"];
    let methods = identity["methods"].as_array().ok_or("`auth.identity.methods` is missing")?;
    if !methods.iter().any(|method| method == "password") {
        return Err("the only method here is `password`");
    }
    let user = &identity["password"]["user"];
    // A user is known by name here; clients that were told an id send the name as the id.
    let name = user["name"].as_str().or_else(|| user["id"].as_str()).ok_or("`user.name` is missing")?;
    let password = user["password"].as_str().ok_or("`user.password` is missing")?;
    Ok((name.to_owned(), Secret::new(password)))
}

/// What Keystone tells about a token besides.
fn described(who: &Principal, given: &Value, now_ms: i64, expires_ms: i64) -> Value {
    let domain = json!({ "id": "default", "name": "default" });
    let mut token = json!({
        "methods": ["password"],
        "issued_at": rfc3339(now_ms),
        "expires_at": rfc3339(expires_ms),
        "user": { "id": who.name, "name": who.name, "domain": domain },
        "roles": [{ "id": who.role.as_str(), "name": who.role.as_str() }],
        "catalog": [],
    });
    // A client that asked for a project reads its own words back.
    let project = &given["auth"]["scope"]["project"];
    if let Some(name) = project["name"].as_str().or_else(|| project["id"].as_str()) {
        let id = project["id"].as_str().unwrap_or(name);
        token["project"] = json!({ "id": id, "name": name, "domain": domain });
    } else {
        token["domain"] = domain;
    }
    json!({ "token": token })
}
