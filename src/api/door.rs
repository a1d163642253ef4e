//! What every room needs at its door: who is calling, what the body says, and by which name the caller knows us.
//!
//! Reads requests and gives plain values or a [`Refusal`]; which status and which words that becomes is each room's own affair.

use axum::body::{Body, Bytes};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::header::{AUTHORIZATION, HOST};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Uri};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};

use crate::coordinator::verbs::{Principal, Refusal, Session, Verbs};
use crate::limits;
use crate::net::body::{BodyError, capped};
use crate::report;
use crate::secret::Secret;

/// What a caller shows.
#[derive(Clone, Debug)]
pub enum Credential {
    /// A user's name and password.
    Basic(String, Secret),
    /// A session's id.
    Token(Secret),
}

impl Credential {
    /// The first of the named headers that is there, whose value is a session's id; else `Authorization`, Basic or Bearer.
    /// A header that is there and makes no sense is a wrong credential, not a missing one.
    pub fn read(headers: &HeaderMap, own: &[&str]) -> Option<Self> {
        if let Some(value) = own.iter().find_map(|name| headers.get(*name)) {
            return Some(Self::Token(Secret::new(value.to_str().unwrap_or_default())));
        }
        let (scheme, rest) = scheme(headers)?;
        if scheme.eq_ignore_ascii_case("basic") {
            let (user, password) = basic(rest).unwrap_or_default();
            return Some(Self::Basic(user, Secret::new(password)));
        }
        Some(Self::Token(Secret::new(if scheme.eq_ignore_ascii_case("bearer") { rest } else { "" })))
    }

    /// Whoever stands behind it.
    ///
    /// # Errors
    /// [`Refusal::Unauthenticated`] when it is not good.
    pub async fn principal(self, verbs: &Verbs) -> Result<Principal, Refusal> {
        match self {
            Self::Basic(user, password) => verbs.login(&user, &password).await,
            Self::Token(id) => verbs.session(id.expose()).await.map(|session| session.principal),
        }
    }
}

/// Whoever calls, by any credential.
///
/// # Errors
/// [`Refusal::Unauthenticated`] when there is none, or it is not good.
pub async fn principal(verbs: &Verbs, headers: &HeaderMap, own: &[&str]) -> Result<Principal, Refusal> {
    Credential::read(headers, own).ok_or(Refusal::Unauthenticated)?.principal(verbs).await
}

/// Checks name and password of the `Authorization: Basic` header and opens a session.
///
/// # Errors
/// [`Refusal::Unauthenticated`] when they are missing or wrong.
pub async fn log_in(verbs: &Verbs, headers: &HeaderMap) -> Result<(Principal, Secret), Refusal> {
    match Credential::read(headers, &[]) {
        Some(Credential::Basic(user, password)) => {
            let principal = verbs.login(&user, &password).await?;
            let id = verbs.open_session(&principal).await?;
            Ok((principal, id))
        }
        _ => Err(Refusal::Unauthenticated),
    }
}

/// The session that the caller shows, and its id.
///
/// # Errors
/// [`Refusal::Unauthenticated`] when the credential is missing, dead, or no session.
pub async fn session(verbs: &Verbs, headers: &HeaderMap, own: &[&str]) -> Result<(Session, Secret), Refusal> {
    match Credential::read(headers, own) {
        Some(Credential::Token(id)) => Ok((verbs.session(id.expose()).await?, id)),
        _ => Err(Refusal::Unauthenticated),
    }
}

/// Scheme and rest of the `Authorization` header; a value of one word is a scheme without rest.
pub fn scheme(headers: &HeaderMap) -> Option<(&str, &str)> {
    let value = headers.get(AUTHORIZATION)?.to_str().unwrap_or_default().trim();
    let (scheme, rest) = value.split_once(' ').unwrap_or((value, ""));
    Some((scheme, rest.trim_start()))
}

fn basic(encoded: &str) -> Option<(String, String)> {
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

/// Why a body is not what it should be.
#[derive(Debug, thiserror::Error)]
pub enum BadBody {
    /// Longer than [`limits::JSON_BODY`].
    #[error("the body is longer than {} bytes", limits::JSON_BODY)]
    TooLarge,
    /// It stood still or broke off.
    #[error("the body did not come whole")]
    Broken,
    /// It is no JSON, or not of the right shape; says where.
    #[error("{0}")]
    Json(String),
}

/// Reads a body whole, within [`limits::JSON_BODY`].
///
/// # Errors
/// When it is longer, slower, or breaks off.
pub async fn bytes(body: Body) -> Result<Bytes, BadBody> {
    capped(body, limits::JSON_BODY, limits::BODY_IDLE).await.map_err(|error| match error {
        BodyError::TooLarge(_) => BadBody::TooLarge,
        BodyError::Idle(_) | BodyError::Broken(_) => BadBody::Broken,
    })
}

/// Reads a body as a JSON object, whatever its `Content-Type` says.
///
/// # Errors
/// As [`bytes()`], and when it is no object of that shape.
pub async fn json<T: DeserializeOwned>(body: Body) -> Result<T, BadBody> {
    let bytes = bytes(body).await?;
    // An object first: serde would take an array for a struct's members in order.
    serde_json::from_slice::<Map<String, Value>>(&bytes)
        .and_then(|object| serde_json::from_value(Value::Object(object)))
        .map_err(|error| BadBody::Json(report::brief(&format!("the body is not as it should be: {error}"), 300)))
}

/// `https://` and the host by which the caller knows us; `None` when it did not say, or said nonsense.
pub fn origin(uri: &Uri, headers: &HeaderMap) -> Option<String> {
    // HTTP/2 has the name in the request's target, HTTP/1.1 in a header.
    let named = match uri.authority() {
        Some(authority) => authority.clone(),
        None => headers.get(HOST)?.to_str().ok()?.parse::<Authority>().ok()?,
    };
    // A user's name in front of the host would send the reader of our URL somewhere else.
    (!named.host().is_empty() && !named.as_str().contains('@')).then(|| format!("https://{named}"))
}

/// For answers that hold a credential.
pub const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (http::HeaderName::from_static(name), value.parse().expect("a value")))
            .collect()
    }

    #[test]
    fn a_rooms_own_header_comes_first() {
        let both = headers(&[("vmware-api-session-id", "a"), ("authorization", "Bearer b")]);
        assert!(
            matches!(Credential::read(&both, &["vmware-api-session-id"]), Some(Credential::Token(t)) if t.expose() == "a")
        );
        assert!(matches!(Credential::read(&both, &[]), Some(Credential::Token(t)) if t.expose() == "b"));
        assert!(Credential::read(&headers(&[]), &["x"]).is_none());
    }

    #[test]
    fn nonsense_is_a_wrong_credential() {
        for text in ["Basic", "Basic ???", "Basic bm9jb2xvbg==", "Digest x", ""] {
            match Credential::read(&headers(&[("authorization", text)]), &[]) {
                Some(Credential::Basic(user, _)) => assert_eq!(user, "", "{text}"),
                Some(Credential::Token(token)) => assert_eq!(token.expose(), "", "{text}"),
                None => panic!("{text:?} is something"),
            }
        }
    }

    #[test]
    fn our_name_is_what_the_caller_called() {
        let target = Uri::from_static("/x");
        for (host, expected) in [
            ("c.example:25555", Some("https://c.example:25555")),
            ("[::1]:1", Some("https://[::1]:1")),
            ("evil@c.example", None),
            ("a b", None),
            ("", None),
        ] {
            assert_eq!(origin(&target, &headers(&[("host", host)])).as_deref(), expected, "{host:?}");
        }
        assert_eq!(
            origin(&Uri::from_static("https://h2.example/x"), &headers(&[])).as_deref(),
            Some("https://h2.example")
        );
        assert_eq!(origin(&target, &headers(&[])), None);
    }
}
